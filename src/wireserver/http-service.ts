/** What the three services that face guests have in common: bounds, callers, refusals, and no surprises. */

import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  type preParsingHookHandler,
  type RouteShorthandOptions,
} from "fastify";
import type { WireService } from "../model/playbook.ts";
import { findCaller, requireCaller } from "./caller.ts";
import { answerFast, type FastRoute } from "./fast-path.ts";
import { changeAnswer, endConnection, HeldRequests, inject } from "./faults/inject.ts";
import {
  HEADER_BYTES_MAX,
  IDLE_TIMEOUT_MS,
  KEEP_ALIVE_TIMEOUT_MS,
  limitConnections,
  limitRequests,
  REQUEST_TIMEOUT_MS,
  refuseUnparsed,
  SLOWNESS_CHECK_MS,
} from "./limits.ts";
import { type ErrorBody, refusalOf, refuse, wireCodeOf } from "./refusal.ts";
import type { RequestBudget } from "./request-budget.ts";
import { createDroppedBody } from "./store/dropped-body.ts";
import { type ExchangeNotes, recordExchanges } from "./trace/record-exchanges.ts";
import type {
  RefusalReason,
  WireContainer,
  WireDirectory,
  WireObserver,
} from "./wire-container.ts";
import type {
  InjectedAnswer,
  WireArtifacts,
  WireFaults,
  WireRecorder,
  WireVault,
} from "./wire-host.ts";

const CALLER = "caller";
const INJECTED = "injected";
const REFUSED = "refused";

/** What every service that faces guests is made of. */
export interface GuestServiceOptions {
  readonly directory: WireDirectory;
  readonly observer: WireObserver;
  /** Absent: all answers are right. */
  readonly faults?: WireFaults;
  /** Absent: nothing is recorded. */
  readonly recorder?: WireRecorder;
  /** Absent: VMs have no certificates. */
  readonly vault?: WireVault;
  /** Absent: no package can be read. */
  readonly artifacts?: WireArtifacts;
  /** Open connections of one caller; absent: 64. */
  readonly connectionsOfCallerMax?: number;
  /** Of each caller's address; absent: it may ask as often as it likes. */
  readonly budget?: RequestBudget;
  /** Absent: silent. */
  readonly logger?: FastifyBaseLogger;
}

/** Where long bodies are taken. */
interface Uploads {
  readonly path: string;
  readonly bytesMax: number;
  /** True: only counted, nothing is kept. */
  readonly isDropped?: boolean;
}

/** A route's work: the caller is already known, what it throws becomes the answer. */
export type GuestHandler = (
  caller: WireContainer,
  request: FastifyRequest,
  reply: FastifyReply,
) => FastifyReply | Promise<FastifyReply>;

/**
 * Makes an HTTP service for guests. It does not listen: the caller does `await app.ready()` and then
 * `app.server.listen({ fd })` with a socket that was opened in the right network namespace.
 *
 * @param handle - gets every request, of any method and path; it answers 404 by throwing ERR_WIRE_NOT_FOUND
 */
export function createGuestService(
  options: GuestServiceOptions & {
    readonly service: WireService;
    readonly bodyBytesMax: number;
    /** Where longer bodies are taken: a `PUT` to this path, in the router's notation. */
    readonly uploads?: Uploads;
    readonly errorBody: ErrorBody;
    readonly fast?: FastRoute;
    readonly handle: GuestHandler;
  },
): FastifyInstance {
  const { directory, observer, errorBody } = options;
  const app = fastify({
    ...(options.logger === undefined ? {} : { loggerInstance: options.logger }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.bodyBytesMax,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionTimeout: IDLE_TIMEOUT_MS,
    http: {
      connectionsCheckingInterval: SLOWNESS_CHECK_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
    },
    clientErrorHandler: (error, socket) => refuseUnparsed(error, socket, observer),
    frameworkErrors: (error, _request, reply) => answerRefusal(error, reply, errorBody),
  });
  acceptAnyBodyAsBytes(app);
  // Before the body is read: nobody but a container may make this process hold anything.
  app.decorateRequest(CALLER, null);
  app.decorateRequest(INJECTED, null);
  app.decorateRequest(REFUSED, null);
  app.addHook("onRequest", async (request) => {
    request.setDecorator(CALLER, requireCaller(directory, request.ip));
  });
  // Guests ask under several spellings of one path, and the query decides; see `wire-query.ts`.
  const answer: GuestHandler =
    options.faults === undefined
      ? options.handle
      : withFaults(app, { ...options, faults: options.faults });
  // After the hook that changes answers: what was sent is recorded.
  if (options.recorder !== undefined) {
    recordExchanges(app, options.recorder, options.service, notesOf);
  }
  const handle = (request: FastifyRequest, reply: FastifyReply) =>
    answer(request.getDecorator<WireContainer>(CALLER), request, reply);
  app.all("/*", handle);
  const { uploads } = options;
  if (uploads !== undefined) app.put(uploads.path, uploadRoute(uploads), handle);
  if (options.fast !== undefined) answerFast(app, options.fast, options);
  limitConnections(app, options);
  limitRequests(app, options);
  app.setNotFoundHandler((request, reply) =>
    answerRefusal(refuse("ERR_WIRE_NOT_FOUND", notFoundText(request)), reply, errorBody),
  );
  app.setErrorHandler((thrown, request, reply) => {
    const refusal = refusalOf(thrown);
    request.setDecorator(REFUSED, refusal.reason ?? null);
    if (refusal.reason !== undefined) observer.refused(request.ip, refusal.reason);
    if (refusal.status >= 500) request.log.error({ err: thrown }, "request failed");
    return answerRefusal(thrown, reply, errorBody);
  });
  return app;
}

function uploadRoute({ bytesMax, isDropped = false }: Uploads): RouteShorthandOptions {
  const drop: preParsingHookHandler = (_request, _reply, payload, done) => {
    done(null, payload.pipe(createDroppedBody(bytesMax)));
  };
  return { bodyLimit: bytesMax, ...(isDropped && { preParsing: drop }) };
}

function notesOf(request: FastifyRequest): ExchangeNotes {
  return {
    container: request.getDecorator<WireContainer | null>(CALLER)?.name,
    fault: request.getDecorator<InjectedAnswer | null>(INJECTED)?.fault,
    refusal: request.getDecorator<RefusalReason | null>(REFUSED) ?? undefined,
  };
}

/** The handler, behind the playbooks of the containers that call it. */
function withFaults(
  app: FastifyInstance,
  {
    directory,
    faults,
    service,
    errorBody,
    handle,
  }: Pick<GuestServiceOptions, "directory"> & {
    readonly faults: WireFaults;
    readonly service: WireService;
    readonly errorBody: ErrorBody;
    readonly handle: GuestHandler;
  },
): GuestHandler {
  const held = new HeldRequests();
  app.server.on("connection", (socket) => {
    const caller = findCaller(directory, socket.remoteAddress ?? "");
    if (caller !== undefined && faults.refuses(caller.name, service)) {
      endConnection(socket, "reset");
    }
  });
  app.addHook("onSend", (request, reply, payload, done) => {
    const injected = request.getDecorator<InjectedAnswer | null>(INJECTED);
    done(null, injected === null ? payload : changeAnswer(injected.step, reply, payload));
  });
  return (caller, request, reply) => {
    const { method, url } = request;
    const answer = () => handle(caller, request, reply);
    const injected = faults.next(caller.name, { service, method, url });
    if (injected === undefined) return answer();
    request.setDecorator(INJECTED, injected);
    const error = (status: number) => {
      const message = "the service is not available";
      const body = errorBody.render({ status, wireCode: wireCodeOf(status), message });
      return { type: errorBody.type, body };
    };
    return inject(injected.step, { request, reply, held, answer, error });
  };
}

/** The text of the refusal of a path or query that nothing serves. */
export function notFoundText(request: FastifyRequest): string {
  return `nothing is served for ${request.method} ${request.url.slice(0, 200)}`;
}

/** Guests send XML under several media types, and some none; so a body is bytes, and its reader decides. */
function acceptAnyBodyAsBytes(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
}

/** The body of a request; empty if it has none. */
export function bodyBytes(request: FastifyRequest): Uint8Array {
  return request.body instanceof Uint8Array ? request.body : new Uint8Array();
}

/**
 * The body of a request as text.
 *
 * @throws FabricError ERR_WIRE_REQUEST_MALFORMED if it is not UTF-8
 */
export function bodyText(request: FastifyRequest): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bodyBytes(request));
  } catch (cause) {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", "the body is not UTF-8", cause);
  }
}

function answerRefusal(thrown: unknown, reply: FastifyReply, body: ErrorBody): FastifyReply {
  const refusal = refusalOf(thrown);
  return reply.code(refusal.status).type(body.type).send(body.render(refusal));
}
