/**
 * The control socket: how later commands look inside a running fabric. HTTP over a unix socket in the data folder, which
 * only the user who started the fabric may open. What it answers is given as routes, one module per subject.
 */
import { lstatSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import fastify, { type FastifyInstance, type FastifyReply, LogController } from "fastify";
import type { Logger } from "pino";
import { errorText, FabricError } from "../../model/errors.ts";
import { openSocketPath } from "../../net/socket-path.ts";
import { TXN_BYTES_MAX } from "../../store/index.ts";
import { CONTROL_SOCKET } from "./control-client.ts";

const REQUEST_TIMEOUT_MS = 60_000;
/** A tenant's description, which must fit one transaction of the store. */
const BODY_BYTES_MAX = TXN_BYTES_MAX;
/** Commands of one user; each holds one connection for one answer. */
const CONNECTIONS_MAX = 64;
/** The socket is made with mode 0600, in one step. */
const UMASK = 0o177;

/** Adds routes; paths begin with `/v1/` and a subject, as in `/v1/dhcp/counters`. */
export type ControlRoutes = (app: FastifyInstance) => void;

/** What {@link openControlServer} needs. */
export interface ControlServerOptions {
  /** The data folder, whose lock this process holds: a socket in it was left by a process that is gone. */
  readonly folder: string;
  readonly routes: readonly ControlRoutes[];
  readonly log: Logger;
}

/**
 * Listens on the control socket. Disposing closes it and removes the file.
 *
 * @throws FabricError ERR_CONTROL_SOCKET if the socket cannot be made
 */
export async function openControlServer(options: ControlServerOptions): Promise<AsyncDisposable> {
  const { folder, routes, log } = options;
  const app = createControlApp(routes, log);
  await app.ready();
  await using opened = new AsyncDisposableStack();
  opened.defer(() => app.close());
  try {
    removeStale(join(folder, CONTROL_SOCKET));
    const { path } = opened.use(openSocketPath(folder, CONTROL_SOCKET));
    await listen(app, path);
  } catch (cause) {
    const message = `Cannot make the control socket ${join(folder, CONTROL_SOCKET)}`;
    throw new FabricError("ERR_CONTROL_SOCKET", message, { cause });
  }
  // fastify closes only servers that it started itself; libuv removes the file.
  opened.defer(() => {
    app.server.closeAllConnections();
    return new Promise<void>((resolve) => app.server.close(() => resolve()));
  });
  const kept = opened.move();
  return { [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Makes the service without a socket. */
export function createControlApp(routes: readonly ControlRoutes[], log: Logger): FastifyInstance {
  const app = fastify({
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
  });
  app.server.maxConnections = CONNECTIONS_MAX;
  app.setNotFoundHandler((request, reply) =>
    answerError(reply, 404, `this fabric serves nothing for ${request.method} ${request.url}`),
  );
  app.setErrorHandler((thrown, request, reply) => {
    const code = thrown instanceof FabricError ? thrown.code : undefined;
    if (thrown instanceof FabricError && thrown.isUsage) {
      return answerError(reply, 400, errorText(thrown), code);
    }
    log.error({ err: thrown, path: request.url }, "control request failed");
    return answerError(reply, 500, errorText(thrown), code);
  });
  for (const add of routes) add(app);
  return app;
}

function answerError(
  reply: FastifyReply,
  status: number,
  message: string,
  code?: string,
): FastifyReply {
  return reply.code(status).send({ message, ...(code !== undefined && { code }) });
}

/** Anything but a socket is somebody's file, and stays; listening then fails and says so. */
function removeStale(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSocket() === true) unlinkSync(path);
}

/** Binding happens inside listen(), so that the mode holds for this file only. */
function listen(app: FastifyInstance, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    app.server.once("error", reject);
    const before = process.umask(UMASK);
    try {
      app.server.listen({ path }, resolve);
    } finally {
      process.umask(before);
    }
  });
}
