/**
 * Answers from bytes that are there already, before the framework's routes and hooks: a node is asked for goal states
 * all the time. What is decided for other requests is decided here too: who calls, whether its answers are made wrong on
 * purpose, what is recorded.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import type { WireService } from "../model/playbook.ts";
import { findCaller } from "./caller.ts";
import { headOf } from "./trace/record-exchanges.ts";
import type { WireContainer, WireDirectory } from "./wire-container.ts";
import type { WireFaults, WireRecorder } from "./wire-host.ts";

/** An answer with status 200. */
export interface FastAnswer {
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: Buffer;
  /** The body, where it is ASCII: head and body then are one write, which costs a third less than two parts. */
  readonly ascii?: string;
  /** Hexadecimal SHA-256 of the body. */
  readonly sha256: string;
}

/** What is answered fast. */
export interface FastRoute {
  /** Of a `GET`: path and query exactly as clients send them; another spelling takes the usual way. */
  readonly urls: ReadonlySet<string>;
  /** Undefined: the usual way. */
  answer(caller: WireContainer, request: IncomingMessage): FastAnswer | undefined;
}

interface FastOptions {
  readonly service: WireService;
  readonly directory: WireDirectory;
  readonly faults?: WireFaults;
  readonly recorder?: WireRecorder;
}

/** Puts the route before everything else that the service does with a request. */
export function answerFast(app: FastifyInstance, route: FastRoute, options: FastOptions): void {
  const usual = app.server.listeners("request");
  app.server.removeAllListeners("request");
  app.server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    if (isAnswered(route, options, request, response)) return;
    for (const listener of usual) listener.call(app.server, request, response);
  });
}

function isAnswered(
  route: FastRoute,
  { service, directory, faults, recorder }: FastOptions,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  if (request.method !== "GET" || !route.urls.has(request.url ?? "")) return false;
  const startedMs = recorder?.now() ?? 0;
  const caller = findCaller(directory, request.socket.remoteAddress ?? "");
  if (caller === undefined || faults?.isOn(caller.name) === true) return false;
  const answer = tryAnswer(route, caller, request);
  if (answer === undefined) return false;
  response.writeHead(200, answer.headers as string[]);
  response.end(answer.ascii ?? answer.body, "latin1");
  if (recorder !== undefined)
    recordFast({ service, recorder, caller, answer, startedMs }, request, response);
  return true;
}

/** What fails here fails again on the usual way, where it is logged and becomes a status. */
function tryAnswer(
  route: FastRoute,
  caller: WireContainer,
  request: IncomingMessage,
): FastAnswer | undefined {
  try {
    return route.answer(caller, request);
  } catch {
    return undefined;
  }
}

function recordFast(
  {
    service,
    recorder,
    caller,
    answer,
    startedMs,
  }: {
    readonly service: WireService;
    readonly recorder: WireRecorder;
    readonly caller: WireContainer;
    readonly answer: FastAnswer;
    readonly startedMs: number;
  },
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { method = "", url = "", httpVersion, rawHeaders, socket } = request;
  const waitMs = recorder.now() - startedMs;
  const { body, sha256 } = answer;
  const address = socket.remoteAddress ?? "";
  response.once("close", () => {
    recorder.record({
      container: caller.name,
      ...{ service, address, startedMs, waitMs, durationMs: recorder.now() - startedMs },
      request: { method, url, httpVersion, headers: rawHeaders, body: { bytes: 0 } },
      response: {
        ...headOf(response),
        body: { bytes: body.length, sha256, text: body.toString() },
      },
    });
  });
}
