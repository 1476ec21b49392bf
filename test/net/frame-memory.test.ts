import { describe, expect, test } from "vitest";
import { parseMac } from "../../src/model/mac-address.ts";
import type { ReceivedFrame } from "../../src/net/frame-socket.ts";
import { createMemoryFrameSocket } from "../../src/net/memory-frame-socket.ts";

const open = () =>
  createMemoryFrameSocket({ hardwareAddress: parseMac("00:0d:3a:00:00:01"), ifindex: 4 });
const octetsOf = (frame: ReceivedFrame) => [
  ...frame.bytes.subarray(frame.offset, frame.offset + frame.length),
];

describe("the memory frame socket", () => {
  test("delivers in order, first what came before anybody listened", async () => {
    await using socket = open();
    const stop = new AbortController();
    const seen: unknown[] = [];
    socket.inject(Uint8Array.of(1));
    const done = socket.receive((frame) => {
      seen.push([octetsOf(frame), frame.ifindex, frame.vlanId]);
    }, stop.signal);
    socket.inject(Uint8Array.of(2, 3), { ifindex: 9, vlanId: 5 });
    expect(seen).toEqual([
      [[1], 4, 0],
      [[2, 3], 9, 5],
    ]);
    stop.abort();
    await done;
    socket.inject(Uint8Array.of(4));
    expect(seen.length).toBe(2);
  });

  test("overwrites a frame as soon as its handler is done", async () => {
    await using socket = open();
    let kept: ReceivedFrame | undefined;
    const done = socket.receive((frame) => {
      kept = frame;
    }, AbortSignal.abort());
    await done;
    const stop = new AbortController();
    const second = socket.receive((frame) => {
      kept = frame;
    }, stop.signal);
    socket.inject(Uint8Array.of(1, 2));
    expect(kept && octetsOf(kept)).toEqual([0xee, 0xee]);
    stop.abort();
    await second;
  });

  test("drops and counts what nobody reads", async () => {
    await using socket = open();
    for (let index = 0; index < 1030; index++) socket.inject(Uint8Array.of(1));
    expect(socket.counters.droppedByKernel).toBe(6);
  });

  test("hands out a zero-filled buffer, and none when it is out of them", async () => {
    await using socket = open();
    socket.reserve()?.bytes.fill(7);
    expect(socket.reserve()?.bytes.every((octet) => octet === 0)).toBe(true);
    socket.commit(2, 8);
    expect(socket.sent).toEqual([{ bytes: new Uint8Array(2), ifindex: 8 }]);
    socket.transmitBuffersLeft = 0;
    expect(socket.reserve()).toBeUndefined();
    expect(socket.counters).toMatchObject({ transmitted: 1, transmitFailed: 1 });
  });

  test("ends the receiver when disposed; twice is harmless", async () => {
    const socket = open();
    const done = socket.receive(() => {}, new AbortController().signal);
    await socket[Symbol.asyncDispose]();
    await socket[Symbol.asyncDispose]();
    await done;
  });
});
