/** What a guest may take of a service before anything of its request is looked at: connections, time, and how often. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { type ErrorBody, refusalOf, refuse } from "./refusal.ts";
import type { RequestBudget } from "./request-budget.ts";
import type { WireObserver } from "./wire-container.ts";

/** A guest that is slower than this is cut off; clients give up after 10 s themselves. */
export const REQUEST_TIMEOUT_MS = 10_000;
/** How often the slow ones are looked for. */
export const SLOWNESS_CHECK_MS = 1_000;
export const KEEP_ALIVE_TIMEOUT_MS = 5_000;
/** Nothing moves on the connection: longer than any answer may be delayed on purpose. */
export const IDLE_TIMEOUT_MS = 130_000;
/** All header lines together; a transport certificate takes 2 KiB. */
export const HEADER_BYTES_MAX = 16 * 1024;
/** Header lines of one request; agents send some ten. */
export const HEADERS_MAX = 64;
/** Open connections of all callers to one service. */
export const CONNECTIONS_MAX = 8_192;
/** Open connections of one caller to one service; an agent has one or two. */
export const CONNECTIONS_OF_CALLER_MAX = 64;
/** Requests of one caller to wire server and host plugin together: some ten times what an agent asks while it starts. */
export const WIRE_REQUESTS = { perSecond: 50, atOnce: 500 };

/** Resets connections that are one too many of their caller, before the HTTP parser gets them. */
export function limitConnections(
  app: FastifyInstance,
  {
    observer,
    connectionsOfCallerMax = CONNECTIONS_OF_CALLER_MAX,
  }: { readonly observer: WireObserver; readonly connectionsOfCallerMax?: number },
): void {
  const open = new Map<string, number>();
  const { server } = app;
  const usual = server.listeners("connection");
  server.maxConnections = CONNECTIONS_MAX;
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress;
    if (address === undefined) return void socket.destroy(); // it is gone already
    const count = open.get(address) ?? 0;
    if (count >= connectionsOfCallerMax) {
      socket.resetAndDestroy();
      observer.refused(address, "too-many-connections");
      return;
    }
    open.set(address, count + 1);
    socket.once("close", () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
    for (const listener of usual) listener.call(server, socket);
  });
}

/** What every request has to pass, also one that is answered fast. */
export function limitRequests(
  app: FastifyInstance,
  options: {
    readonly observer: WireObserver;
    readonly errorBody: ErrorBody;
    /** By the caller's address; absent: as often as it likes. */
    readonly budget?: RequestBudget | undefined;
  },
): void {
  const { observer, errorBody, budget } = options;
  const { server } = app;
  const usual = server.listeners("request");
  server.removeAllListeners("request");
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const address = request.socket.remoteAddress ?? "";
    const error = faultOf(request, budget?.take(address) !== false);
    if (error === undefined) {
      for (const listener of usual) listener.call(server, request, response);
      return;
    }
    const refusal = refusalOf(error);
    const body = errorBody.render(refusal);
    response.writeHead(refusal.status, { "content-type": errorBody.type, connection: "close" });
    response.end(body);
    if (refusal.reason !== undefined) observer.refused(address, refusal.reason);
  });
}

function faultOf({ rawHeaders }: IncomingMessage, isInBudget: boolean): Error | undefined {
  if (!isInBudget) return refuse("ERR_WIRE_RATE_LIMIT", "too many requests; ask again later");
  if (rawHeaders.length <= 2 * HEADERS_MAX) return undefined;
  return refuse("ERR_WIRE_REQUEST_MALFORMED", `more than ${HEADERS_MAX} header lines`);
}

/** Answers what is no HTTP, or comes too slowly, and ends the connection: what follows on it cannot be told apart any more. */
export function refuseUnparsed(
  error: Error & { readonly code?: string },
  socket: Socket,
  observer: WireObserver,
): void {
  const address = socket.remoteAddress;
  const { code = "" } = error;
  // A guest that resets its connection did nothing wrong.
  if (code === "ECONNRESET" || address === undefined || !socket.writable) {
    socket.destroy();
    return;
  }
  const isSlow = code.endsWith("_REQUEST_TIMEOUT");
  const isLong = code === "HPE_HEADER_OVERFLOW";
  const status = isSlow ? "408 Request Timeout" : isLong ? "431 Too Large" : "400 Bad Request";
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  socket.once("finish", () => socket.destroy());
  observer.refused(address, isSlow ? "too-slow" : "malformed-request");
}
