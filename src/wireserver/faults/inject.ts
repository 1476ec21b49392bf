/** Does to an answer what a playbook says: the one place where answers are made wrong on purpose. */

import type { Socket } from "node:net";
import { finished, Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { FaultStep } from "../../model/playbook.ts";
import { changeBody, changesBody } from "./change-body.ts";

/** A guest that is not answered is let go after this; no client waits so long. */
const HANG_MS_MAX = 300_000;
/** Requests of a service that are not answered, or late, at one time; what is more is cut off at once. */
export const HELD_REQUESTS_MAX = 256;
/** What was sent before a cut is given so long to leave. */
const CUT_MS = 20;

/** The requests that a service holds. */
export class HeldRequests {
  #count = 0;

  /** Waits, or until the caller is gone. False: there are too many, nothing was waited for. */
  async hold(request: FastifyRequest, milliseconds: number): Promise<boolean> {
    if (this.#count >= HELD_REQUESTS_MAX) return false;
    this.#count += 1;
    const gone = new AbortController();
    const stopListening = finished(request.raw.socket, () => gone.abort());
    try {
      await delay(milliseconds, undefined, { signal: gone.signal, ref: false });
    } catch {
      // the caller is gone
    } finally {
      stopListening();
      this.#count -= 1;
    }
    return true;
  }
}

/** What an injected answer needs of its service. */
export interface InjectOptions {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly held: HeldRequests;
  /** The right answer; what it does is done. */
  readonly answer: () => FastifyReply | Promise<FastifyReply>;
  /** The service's own way to write an error of this status. */
  readonly error: (status: number) => { readonly type: string; readonly body: string };
}

/** Answers a request as the step says. */
export async function inject(step: FaultStep, options: InjectOptions): Promise<FastifyReply> {
  const { request, reply, held, answer } = options;
  if (step.delayMs !== undefined && !(await held.hold(request, step.delayMs))) {
    return cutOff(request, reply, "reset");
  }
  if (step.connection === "hang") {
    reply.hijack();
    await held.hold(request, HANG_MS_MAX);
    return cutOff(request, reply, "reset");
  }
  if (step.connection !== undefined) {
    return cutOff(request, reply, step.connection === "close" ? "close" : "reset");
  }
  return step.status === undefined && step.body === undefined
    ? answer()
    : answerInstead(step, options);
}

function answerInstead(
  { status = 200, body }: FaultStep,
  { reply, error }: InjectOptions,
): FastifyReply {
  reply.code(status);
  // 204 and 304 have no body, by RFC 9110 section 6.4.1.
  if (status === 204 || status === 304) return reply.send();
  const own = status < 400 ? { type: "text/plain; charset=utf-8", body: "" } : error(status);
  return reply.type(own.type).send(body ?? own.body);
}

function cutOff(
  request: FastifyRequest,
  reply: FastifyReply,
  how: "reset" | "close",
): FastifyReply {
  reply.hijack();
  endConnection(request.raw.socket, how);
  return reply;
}

/** RST, or FIN. */
export function endConnection(socket: Socket, how: "reset" | "close"): void {
  if (how === "reset" && typeof socket.resetAndDestroy === "function") socket.resetAndDestroy();
  else socket.destroy();
}

/** The answer on its way out: what the step changes in it. */
export function changeAnswer(step: FaultStep, reply: FastifyReply, payload: unknown): unknown {
  for (const [name, value] of Object.entries(step.headers ?? {})) {
    if (value === null) reply.removeHeader(name);
    else reply.header(name, value);
  }
  const changed = changesBody(step) ? changePayload(step, reply, payload) : payload;
  return step.cutAfterBytes === undefined ? changed : cutBody(step.cutAfterBytes, reply, changed);
}

function changePayload(step: FaultStep, reply: FastifyReply, payload: unknown): unknown {
  const isText = typeof payload === "string" || Buffer.isBuffer(payload);
  if (!isText) return payload;
  const text = changeBody(payload.toString(), step);
  reply.removeHeader("content-length");
  return text;
}

/** As many bytes as wanted under a length that says more; a stream without a length is cut in its chunks. */
function cutBody(bytesMax: number, reply: FastifyReply, payload: unknown): unknown {
  const isStream = payload instanceof Readable;
  const whole = isStream ? undefined : Buffer.from(payload === undefined ? "" : String(payload));
  // An empty body is cut too: the caller waits for a byte that never comes.
  if (whole !== undefined) reply.header("content-length", Math.max(whole.length, bytesMax + 1));
  const source = whole === undefined ? (payload as Readable) : [whole];
  return Readable.from(firstBytes(source, bytesMax, () => reply.raw.flushHeaders()));
}

async function* firstBytes(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  bytesMax: number,
  sendHead: () => void,
): AsyncGenerator<Uint8Array> {
  sendHead(); // else the error below would become an answer of its own
  let left = bytesMax;
  for await (const chunk of source) {
    if (left > 0) yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) break;
  }
  await delay(CUT_MS);
  throw new Error("cut off by a playbook");
}
