/** Writes exchanges as lines, and hands the lines on in batches. */
import type { WireBody, WireExchange, WireRecorder } from "../wire-host.ts";
import type { TraceLine } from "./trace-lines.ts";

/** A file is ended after so many bytes: many times what the goal states of thousands of containers take in it. */
export const TRACE_FILE_BYTES_MAX = 64 * 1024 * 1024;
/** Lines that wait for who takes them; what is more is dropped and counted. */
export const TRACE_PENDING_BYTES_MAX = 1024 * 1024;
/** Heads and bodies that a file names; with more, it is ended. */
const NAMES_MAX = 50_000;
/** The batch is handed on before it is longer. */
const BATCH_BYTES = 64 * 1024;
const BATCH_MS = 500;
/** Of what a container uploads again and again, the text is kept so often. */
const UPLOAD_TEXT_MS = 60_000;

/** Lines of one file. */
export interface TraceBatch {
  readonly text: string;
  /** True: a file begins with them. */
  readonly begins: boolean;
}

/** A line that others name by its number, which it has not yet. */
type Unnamed<T> = T extends { readonly id: number } ? Omit<T, "id"> : never;

/** What {@link TraceRecorder} needs. */
export interface TraceRecorderOptions {
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Calls back once after so many milliseconds; returns what stops it. */
  readonly startTimer: (milliseconds: number, callback: () => void) => () => void;
  /** Takes a batch; false if it cannot now, and it is then offered again. */
  readonly take: (batch: TraceBatch) => boolean;
  /** Default {@link TRACE_FILE_BYTES_MAX}. */
  readonly fileBytesMax?: number;
}

/** A {@link WireRecorder} that bounds what it holds. */
export class TraceRecorder implements WireRecorder {
  readonly now: () => number;
  readonly #options: TraceRecorderOptions;
  readonly #names = new Map<string, number>();
  /** When the text of an upload was kept last, by container and path. */
  readonly #uploads = new Map<string, number>();
  #lines: string[] = [];
  #pendingBytes = 0;
  #fileBytes = 0;
  #begins = true;
  #dropped = 0;
  #stopTimer: (() => void) | undefined;

  constructor(options: TraceRecorderOptions) {
    this.#options = options;
    this.now = options.now;
  }

  record(exchange: WireExchange): void {
    const { container } = exchange;
    if (container === undefined) return;
    if (this.#pendingBytes > TRACE_PENDING_BYTES_MAX) {
      this.#dropped += 1;
      return;
    }
    if (this.#isFileFull()) this.flush();
    // It could not be handed on: what is in the file keeps its names.
    if (this.#dropped > 0) {
      this.#push({ t: "d", n: this.#dropped });
      this.#dropped = 0;
    }
    this.#push(this.#lineOf(container, exchange));
    if (this.#pendingBytes >= BATCH_BYTES) this.flush();
    else this.#stopTimer ??= this.#options.startTimer(BATCH_MS, () => this.flush());
  }

  /** Hands on what there is, if it is taken. */
  flush(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    if (this.#lines.length === 0) return;
    const batch = { text: this.#lines.join(""), begins: this.#begins };
    if (!this.#options.take(batch)) {
      this.#stopTimer = this.#options.startTimer(BATCH_MS, () => this.flush());
      return;
    }
    this.#lines = [];
    this.#pendingBytes = 0;
    if (this.#isFileFull()) this.#beginNames();
    else this.#begins = false;
  }

  /** What comes next is in a file of its own; what waits is lost. */
  beginFile(): void {
    this.#lines = [];
    this.#pendingBytes = 0;
    this.#beginNames();
  }

  #beginNames(): void {
    this.#begins = true;
    this.#fileBytes = 0;
    this.#names.clear();
    this.#uploads.clear();
  }

  #isFileFull(): boolean {
    const { fileBytesMax = TRACE_FILE_BYTES_MAX } = this.#options;
    return this.#fileBytes >= fileBytesMax || this.#names.size >= NAMES_MAX;
  }

  #lineOf(container: string, exchange: WireExchange): TraceLine {
    const { request, response, service, address, startedMs, waitMs, durationMs } = exchange;
    const { method, url, httpVersion, headers, body } = request;
    const q = this.#name({ t: "q", method, url, http: httpVersion, headers: [...headers] });
    const qb = body.bytes > 0 ? { qb: this.#thinned(container, exchange) } : {};
    const answer = response && {
      r: this.#name({ t: "r", status: response.status, headers: [...response.headers] }),
      ...(response.body.bytes > 0 && { rb: this.#nameBody(response.body) }),
    };
    return {
      t: "x",
      c: container,
      at: round(startedMs),
      s: service,
      a: address,
      q,
      ...qb,
      ...answer,
      w: round(waitMs),
      d: round(durationMs),
      ...(exchange.fault !== undefined && { f: exchange.fault }),
      ...(exchange.refusal !== undefined && { x: exchange.refusal }),
    };
  }

  /** The request's body; without its text, if it is an upload as there was one a moment ago. */
  #thinned(container: string, { request, startedMs }: WireExchange): WireBody {
    const { method, url, body } = request;
    if (method !== "PUT" || body.text === undefined) return body;
    const key = `${container} ${url.replace(/\?.*/, "")}`;
    const keptMs = this.#uploads.get(key);
    if (keptMs !== undefined && startedMs - keptMs < UPLOAD_TEXT_MS) {
      const { text: _text, ...others } = body;
      return others;
    }
    if (this.#uploads.size >= NAMES_MAX) this.#uploads.clear();
    this.#uploads.set(key, startedMs);
    return body;
  }

  #nameBody({ bytes, sha256, text }: WireBody): number {
    const line = {
      t: "b" as const,
      bytes,
      ...(sha256 !== undefined && { sha256 }),
      ...(text !== undefined && { text }),
    };
    return this.#name(line, sha256 === undefined ? undefined : `b${sha256}`);
  }

  /** The number of a head or a body, which is written if it has none. */
  #name(line: Unnamed<TraceLine>, key = JSON.stringify(line)): number {
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const id = this.#names.size;
    this.#names.set(key, id);
    this.#push({ ...line, id } as TraceLine);
    return id;
  }

  #push(line: TraceLine): void {
    const text = `${JSON.stringify(line)}\n`;
    this.#lines.push(text);
    this.#pendingBytes += text.length;
    this.#fileBytes += text.length;
  }
}

/** To a hundredth of a millisecond: more digits say nothing. */
function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}
