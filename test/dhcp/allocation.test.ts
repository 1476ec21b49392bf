/** What an attacker can send at any rate costs no memory, not even for a moment. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { countIgnoredOptions } from "../../src/dhcp/ignored-options.ts";
import { createDhcpCounters, createDhcpRequest, readRequest } from "../../src/dhcp/index.ts";
import { DISCOVER, END, payload, put, times } from "./malformed.ts";

const MESSAGES: readonly (readonly [string, Uint8Array])[] = [
  ["a plain one", payload([...DISCOVER, 55, 2, 1, 3, 61, 3, 1, 2, 3, END])],
  [
    "one of which much is ignored",
    payload([
      ...DISCOVER,
      12,
      0,
      50,
      1,
      9,
      54,
      0,
      55,
      0,
      57,
      0,
      60,
      0,
      61,
      0,
      77,
      0,
      80,
      1,
      1,
      81,
      0,
    ]),
  ],
  [
    "one with repeated options and both fields full of them",
    payload(
      [
        ...DISCOVER,
        52,
        1,
        3,
        ...times(20, 61).flatMap((code) => [code, 2, 1, 2]),
        12,
        1,
        65,
        12,
        1,
        66,
      ],
      put(44, ...times(64, 0)),
      put(108, 55, 2, 1, 3, 12, 1, 67, END),
    ),
  ],
  [
    "a relayed one",
    payload([...DISCOVER, 82, 9, 1, 1, 7, 5, 4, 10, 0, 0, 0, END], put(24, 10, 0, 0, 9)),
  ],
  ["one with 129 options", payload([...DISCOVER, ...times(129, 200).flatMap((code) => [code, 0])])],
  ["one that is cut", payload([...DISCOVER, 12, 9, 65])],
  ["one without a message type", payload([12, 1, 65, END])],
];

const READS = 40_000;
/** Less than one octet a message; V8 and the test's own runner allocate a little meanwhile. */
const BYTES_MAX = READS / 2;

test.each(MESSAGES)("readRequest() of %s, and counting, allocate nothing", (_name, bytes) => {
  const request = createDhcpRequest();
  const counters = createDhcpCounters();
  const view = new DataView(bytes.buffer);
  const read = (count: number) => {
    for (let index = 0; index < count; index++) {
      readRequest(bytes, view, 0, bytes.length, request);
      countIgnoredOptions(counters.ignoredOptions, request.ignored);
    }
  };
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  read(10_000);
  const growths = [1, 2, 3].map(() => {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    read(READS);
    return process.memoryUsage().heapUsed - before;
  });
  expect(Math.min(...growths)).toBeLessThan(BYTES_MAX);
});
