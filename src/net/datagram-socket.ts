/** Whole UDP datagrams to and from other hosts, by the kernel's routes; tests put a fake in its place. */

import { createSocket, type Socket } from "node:dgram";
import { closeSync } from "node:fs";
import { FabricError } from "../model/errors.ts";
import { formatIpv4, type Ipv4Address, parseIpv4 } from "../model/ipv4-address.ts";
import type { BpfInstruction } from "./bpf.ts";
import { openDatagramSocketFd } from "./sockets.ts";

/** Datagrams that wait for the kernel; later ones are refused. */
export const DATAGRAMS_QUEUED_MAX = 1024;

/** Called once per datagram; `bytes` is the handler's to keep. Must not throw. */
export type DatagramHandler = (bytes: Uint8Array, source: Ipv4Address, sourcePort: number) => void;

/** A bound UDP socket. Dispose it to close it; disposing twice is harmless. */
export interface DatagramSocket extends AsyncDisposable {
  readonly counters: DatagramSocketCounters;
  /** Hands every datagram to `handler` until `signal` aborts (then it resolves) or the socket fails (rejects). */
  receive(handler: DatagramHandler, signal: AbortSignal): Promise<void>;
  /** Sends a copy of `bytes`. @returns false if too many wait already */
  send(bytes: Uint8Array, address: Ipv4Address, port: number): boolean;
}

export interface DatagramSocketCounters {
  received: number;
  transmitted: number;
  /** Datagrams that the kernel refused, for instance without a route. */
  transmitFailed: number;
}

/**
 * Opens a UDP socket in the calling thread's namespace. What it sends may be fragmented, so that a message is not lost
 * on a path with a small MTU.
 *
 * @param filter - the datagrams to keep, which it sees from the UDP header on
 * @throws FabricError ERR_NET_ADDRESS_IN_USE naming address and port, ERR_NET_SYSTEM_CALL if the address is no own one
 */
export async function openDatagramSocket(
  address: Ipv4Address,
  port: number,
  filter: readonly BpfInstruction[],
): Promise<DatagramSocket> {
  const fd = openDatagramSocketFd(address, port, filter);
  const socket = createSocket("udp4");
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ fd, exclusive: true }, () => {
        socket.removeListener("error", reject);
        resolve();
      });
    });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return wrap(socket, `${formatIpv4(address)}:${port}`);
}

function wrap(socket: Socket, name: string): DatagramSocket {
  const counters = { received: 0, transmitted: 0, transmitFailed: 0 };
  const closed = Promise.withResolvers<void>();
  closed.promise.catch(() => undefined); // nobody may be receiving when it fails
  let isClosed = false;
  socket.on("error", (cause) => {
    const message = `The UDP socket ${name} failed`;
    closed.reject(new FabricError("ERR_NET_DATAGRAM", message, { cause }));
  });
  return {
    counters,
    async receive(handler, signal) {
      if (signal.aborted || isClosed) return;
      const aborted = Promise.withResolvers<void>();
      signal.addEventListener("abort", () => aborted.resolve(), { once: true });
      const onMessage = (bytes: Buffer, from: { address: string; port: number }) => {
        counters.received++;
        handler(bytes, parseIpv4(from.address), from.port);
      };
      socket.on("message", onMessage);
      try {
        await Promise.race([aborted.promise, closed.promise]);
      } finally {
        socket.removeListener("message", onMessage);
      }
    },
    send(bytes, address, port) {
      if (isClosed || socket.getSendQueueCount() >= DATAGRAMS_QUEUED_MAX) return false;
      socket.send(Buffer.from(bytes), port, formatIpv4(address), (error) => {
        if (error === null) counters.transmitted++;
        else counters.transmitFailed++;
      });
      return true;
    },
    async [Symbol.asyncDispose]() {
      if (isClosed) return;
      isClosed = true;
      await new Promise<void>((resolve) => socket.close(() => resolve()));
      closed.resolve();
    },
  };
}
