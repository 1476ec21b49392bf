/** One HTTP GET as downloads need it: redirects bounded, silence bounded, bytes as the server stores them. */

import { errorText, FabricError } from "../../model/errors.ts";
import { displayUrl } from "../../model/image.ts";

const REDIRECTS_MAX = 5;
const REDIRECT_STATUSES: readonly number[] = [301, 302, 303, 307, 308];
/** Fewer bytes than this within the time for a stall are a stall too: else a byte now and then would hold us for ever. */
const STALL_BYTES_MIN = 1024;

/** An answer whose body may be read; dispose it to drop the connection. */
export interface HttpAnswer extends Disposable {
  readonly status: number;
  readonly headers: Headers;
  /** Ends with an error after a stall or a cut connection. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** The connection failed in a way that another try may mend. */
export class ConnectionFailure extends Error {}

/**
 * Asks for `url`.
 *
 * @param stallMs - how long the server may be silent, before its answer and within it
 * @throws ConnectionFailure; FabricError ERR_IMAGE_DOWNLOAD for a redirect that is not followed; the signal's reason
 */
export async function httpGet(
  url: string,
  options: {
    readonly headers: Readonly<Record<string, string>>;
    readonly stallMs: number;
    readonly signal: AbortSignal;
  },
): Promise<HttpAnswer> {
  const guard = new StallGuard(options.stallMs);
  const signal = AbortSignal.any([options.signal, guard.signal]);
  try {
    const response = await follow(url, { headers: options.headers, signal });
    guard.heard(STALL_BYTES_MIN);
    return {
      status: response.status,
      headers: response.headers,
      body: readBody(response, guard, options.signal),
      [Symbol.dispose]: () => guard.end(),
    };
  } catch (error) {
    const failure = failureOf(error, guard, options.signal);
    guard.end();
    throw failure;
  }
}

async function follow(
  first: string,
  request: { headers: Readonly<Record<string, string>>; signal: AbortSignal },
): Promise<Response> {
  let url = new URL(first);
  for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects += 1) {
    const response = await fetch(url, { ...request, redirect: "manual" });
    const location = response.headers.get("location");
    if (!REDIRECT_STATUSES.includes(response.status) || location === null) return response;
    await response.body?.cancel();
    url = redirectTarget(url, location, first);
  }
  throw refusedRedirect(first, `it was redirected more than ${REDIRECTS_MAX} times`);
}

function redirectTarget(from: URL, location: string, first: string): URL {
  const target = URL.canParse(location, from) ? new URL(location, from) : undefined;
  if (target === undefined || !/^https?:$/.test(target.protocol)) {
    throw refusedRedirect(first, "it was redirected to something that is no http(s) URL");
  }
  if (from.protocol === "https:" && target.protocol === "http:") {
    throw refusedRedirect(first, `it was redirected from https to ${displayUrl(target.href)}`);
  }
  return target;
}

function refusedRedirect(url: string, reason: string): FabricError {
  return new FabricError("ERR_IMAGE_DOWNLOAD", `Cannot download ${displayUrl(url)}: ${reason}`);
}

async function* readBody(
  response: Response,
  guard: StallGuard,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  guard.resume();
  try {
    for await (const chunk of response.body ?? []) {
      guard.heard(chunk.length);
      yield chunk;
      guard.resume();
    }
  } catch (error) {
    throw failureOf(error, guard, signal);
  }
}

/** What a failed fetch means. undici says "fetch failed" or "terminated" and has the reason as the cause. */
function failureOf(error: unknown, guard: StallGuard, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof FabricError) return error;
  if (guard.signal.aborted) return new ConnectionFailure(errorText(guard.signal.reason));
  return new ConnectionFailure(errorText(error), { cause: error });
}

/** Aborts when too little was heard for too long. */
class StallGuard {
  readonly #controller = new AbortController();
  readonly #stallMs: number;
  #timer: NodeJS.Timeout | undefined;
  #heardBytes = 0;

  constructor(stallMs: number) {
    this.#stallMs = stallMs;
    this.#arm();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Stops the clock while the reader works; {@link resume} starts it again. */
  heard(lengthBytes: number): void {
    this.#heardBytes += lengthBytes;
    if (this.#heardBytes < STALL_BYTES_MIN) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  resume(): void {
    if (this.#timer === undefined && !this.#controller.signal.aborted) this.#arm();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#controller.abort(new Error("The download was ended"));
  }

  #arm(): void {
    this.#heardBytes = 0;
    const error = new Error(`the server was silent for ${this.#stallMs / 1000} s`);
    this.#timer = setTimeout(() => this.#controller.abort(error), this.#stallMs);
  }
}
