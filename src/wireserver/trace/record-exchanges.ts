/** Looks at each exchange of a service on its way, for the trace. */
import { createHash } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { FaultEndpoint, WireService } from "../../model/playbook.ts";
import { endpointOf } from "../faults/fault-endpoint.ts";
import type { WireBody, WireExchange, WireRecorder } from "../wire-host.ts";
import { BODY_TEXT_BYTES_MAX } from "./trace-lines.ts";

/** Documents that hold keys, passwords or protected settings: their text is never kept. */
const SECRET: ReadonlySet<FaultEndpoint> = new Set<FaultEndpoint>([
  "certificates",
  "remoteAccessInfo",
  "extensionsConfig",
  "fullConfig",
  "vmSettings",
  "extensionArtifact",
  "artifact",
  "hostPluginLog",
]);
const NO_BODY: WireBody = { bytes: 0 };

/** What is known of an exchange beside its request and its reply. */
export interface ExchangeNotes {
  /** Undefined for a caller that is no container: it is not recorded. */
  readonly container: string | undefined;
  readonly fault: string | undefined;
  readonly refusal: string | undefined;
}

/** Adds the hooks; call it after all others that change an answer. */
export function recordExchanges(
  app: FastifyInstance,
  recorder: WireRecorder,
  service: WireService,
  notesOf: (request: FastifyRequest) => ExchangeNotes,
): void {
  const payloads = new WeakMap<
    FastifyRequest,
    { readonly payload: unknown; readonly atMs: number }
  >();
  app.addHook("onRequest", (request, reply, done) => {
    const startedMs = recorder.now();
    // The connection's end ends an exchange as well.
    reply.raw.once("close", () => {
      const notes = notesOf(request);
      if (notes.container === undefined) return;
      const endedMs = recorder.now();
      const sent = payloads.get(request);
      const times = { startedMs, sentMs: sent?.atMs ?? endedMs, endedMs };
      recorder.record(
        exchangeOf({ service, request, reply, notes, times, payload: sent?.payload }),
      );
    });
    done();
  });
  app.addHook("onSend", (request, _reply, payload, done) => {
    payloads.set(request, { payload, atMs: recorder.now() });
    done(null, payload);
  });
}

interface Seen {
  readonly service: WireService;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly notes: ExchangeNotes;
  readonly times: { readonly startedMs: number; readonly sentMs: number; readonly endedMs: number };
  readonly payload: unknown;
}

function exchangeOf({ service, request, reply, notes, times, payload }: Seen): WireExchange {
  const { container, fault, refusal } = notes;
  const { method, url, ip, raw } = request;
  const endpoint = endpointOf({ service, method, url });
  const head = reply.raw.headersSent ? headOf(reply.raw) : undefined;
  return {
    ...(container !== undefined && { container }),
    service,
    address: ip,
    startedMs: times.startedMs,
    waitMs: times.sentMs - times.startedMs,
    durationMs: times.endedMs - times.startedMs,
    request: {
      method,
      url,
      httpVersion: raw.httpVersion,
      headers: raw.rawHeaders,
      body: recordedBody(request.body, endpoint === "hostPluginLog", raw.headers["content-length"]),
    },
    ...(head !== undefined && {
      response: {
        ...head,
        body: recordedBody(payload, SECRET.has(endpoint), reply.getHeader("content-length")),
      },
    }),
    ...(fault !== undefined && { fault }),
    ...(refusal !== undefined && { refusal }),
  };
}

/** Status and headers exactly as they were sent, those of Node among them. */
export function headOf(response: ServerResponse): { status: number; headers: string[] } {
  // Undocumented, but there since Node 0.x and read by many; without it, what was set is told.
  const text: unknown = Reflect.get(response, "_header");
  if (typeof text !== "string") {
    const headers = Object.entries(response.getHeaders()).flatMap(([name, value]) => [
      name,
      String(value),
    ]);
    return { status: response.statusCode, headers };
  }
  const headers = text
    .trimEnd()
    .split("\r\n")
    .slice(1)
    // It differs each second, and says nothing: when it was is known.
    .filter((line) => !line.startsWith("Date: "))
    .flatMap((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    });
  return { status: response.statusCode, headers };
}

/**
 * What is kept of a body.
 *
 * @param payload - text or bytes; of a stream only its length is known
 */
export function recordedBody(payload: unknown, isSecret: boolean, length?: unknown): WireBody {
  if (payload === undefined || payload === null || payload === "") return NO_BODY;
  const isWhole = typeof payload === "string" || payload instanceof Uint8Array;
  if (!isWhole) return { bytes: Number(length ?? 0) || 0 };
  const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
  if (bytes.length === 0) return NO_BODY;
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const isKept = !isSecret && bytes.length <= BODY_TEXT_BYTES_MAX;
  const text = isKept ? textOf(payload) : undefined;
  return { bytes: bytes.length, sha256, ...(text !== undefined && { text }) };
}

/** Undefined if it is no UTF-8. */
function textOf(payload: string | Uint8Array): string | undefined {
  if (typeof payload === "string") return payload;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    return undefined;
  }
}
