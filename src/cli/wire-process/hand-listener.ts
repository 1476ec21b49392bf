/** Gives a listening socket to another process, and keeps it. */
import type { ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import { duplicateDescriptor } from "../../net/libc.ts";
import type { Order } from "./messages.ts";

/**
 * Hands it over; resolves when it is on its way, or when the process is gone.
 *
 * Node sends only servers that listen, so for a moment this process would accept connections too. What it does accept
 * goes the same way.
 *
 * @param fd - stays open, and is the caller's
 */
export async function handListener(
  child: ChildProcess,
  fd: number,
  listen: Order,
  connection: Order,
): Promise<void> {
  const server = createServer({ pauseOnConnect: true });
  server.on("connection", (socket) => {
    socket.on("error", () => socket.destroy());
    send(child, connection, socket).catch(() => socket.destroy());
  });
  const closed = Promise.withResolvers<void>();
  server.on("error", closed.reject);
  server.listen({ fd: duplicateDescriptor(fd) });
  await send(child, listen, server).catch(() => undefined); // its end is seen by others
  server.close(() => closed.resolve());
  await closed.promise;
}

function send(
  child: ChildProcess,
  message: Order,
  handle: Parameters<ChildProcess["send"]>[1],
): Promise<void> {
  return new Promise((resolve, reject) => {
    child.send(message, handle, (error) => (error === null ? resolve() : reject(error)));
  });
}
