/** Reads the trace of requests back, also while it is being written. */
import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { type TraceLine, TraceLineSchema } from "../../wireserver/index.ts";
import type { ExchangeDocument } from "./trace-document.ts";
import { listTraceFiles, TRACE_FOLDER } from "./trace-writer.ts";

const CHUNK_BYTES = 1024 * 1024;

/** Folders with a trace in a data folder: its own, and those of its nodes. */
export function listTraceFolders(data: string): string[] {
  const nodes = join(data, "nodes");
  return [data, ...listNames(nodes).map((name) => join(nodes, name))]
    .map((folder) => join(folder, TRACE_FOLDER))
    .filter((folder) => listTraceFiles(folder).length > 0);
}

function listNames(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // no fabric with nodes
  }
}

/** What was read of a folder. */
export interface TraceNews {
  /** In the order in which they ended. */
  readonly exchanges: readonly ExchangeDocument[];
  /** Exchanges of any container that were dropped because too much was going on. */
  readonly dropped: number;
  /** Lines that are none; a file whose writer was killed ends in half a one. */
  readonly unreadable: number;
}

type Named = Extract<TraceLine, { id: number }>;
type ExchangeLine = Extract<TraceLine, { t: "x" }>;

/** The exchanges of a container in one folder. */
export class TraceReader {
  readonly #folder: string;
  readonly #container: string;
  readonly #mark: string;
  #file = "";
  #offset = 0;
  #rest = Buffer.alloc(0);
  /** Lines by their number, as they were written: most belong to other containers. */
  readonly #names = new Map<number, string>();
  #exchanges: ExchangeDocument[] = [];
  #dropped = 0;
  #unreadable = 0;

  constructor(folder: string, container: string) {
    this.#folder = folder;
    this.#container = container;
    this.#mark = `"c":${JSON.stringify(container)}`;
  }

  /** All that was written since the last time. */
  read(): TraceNews {
    this.#exchanges = [];
    this.#dropped = 0;
    this.#unreadable = 0;
    for (const file of listTraceFiles(this.#folder).filter((name) => name >= this.#file)) {
      if (file !== this.#file) this.#begin(file);
      this.#readFile();
    }
    return {
      exchanges: this.#exchanges,
      dropped: this.#dropped,
      unreadable: this.#unreadable,
    };
  }

  #begin(file: string): void {
    if (this.#rest.length > 0) this.#unreadable += 1;
    this.#file = file;
    this.#offset = 0;
    this.#rest = Buffer.alloc(0);
    this.#names.clear();
  }

  #readFile(): void {
    const file = this.#open();
    if (file === undefined) return;
    try {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      for (;;) {
        const length = readSync(file, chunk, 0, CHUNK_BYTES, this.#offset);
        if (length === 0) return;
        this.#offset += length;
        this.#readLines(Buffer.concat([this.#rest, chunk.subarray(0, length)]));
      }
    } finally {
      closeSync(file);
    }
  }

  /** Undefined: it was the oldest, and is gone by now. */
  #open(): number | undefined {
    try {
      return openSync(join(this.#folder, this.#file), "r");
    } catch (error) {
      const isGone = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (isGone) return undefined;
      throw error;
    }
  }

  #readLines(bytes: Buffer): void {
    const end = bytes.lastIndexOf(0x0a) + 1;
    this.#rest = Buffer.from(bytes.subarray(end));
    for (const line of bytes.toString("utf8", 0, end).split("\n")) {
      if (line !== "") this.#readLine(line);
    }
  }

  /** Written by us, so that what it is shows at its beginning; what is used is checked. */
  #readLine(line: string): void {
    const named = /^\{"t":"([qrb])"(?:.*),"id":(\d+)\}$/.exec(line);
    if (named !== null) {
      this.#names.set(Number(named[2]), line);
      return;
    }
    const isOthers = line.startsWith('{"t":"x"') && !line.includes(this.#mark);
    if (isOthers) return;
    const parsed = parseLine(line);
    if (parsed?.t === "x" && parsed.c === this.#container) this.#addExchange(parsed);
    else if (parsed?.t === "d") this.#dropped += parsed.n;
    else if (parsed?.t !== "x") this.#unreadable += 1;
  }

  #addExchange(line: ExchangeLine): void {
    const request = this.#find("q", line.q);
    if (request === undefined) {
      this.#unreadable += 1;
      return;
    }
    const { method, url, http, headers } = request;
    const response = line.r === undefined ? undefined : this.#find("r", line.r);
    this.#exchanges.push({
      container: line.c,
      service: line.s,
      address: line.a,
      time: new Date(line.at).toISOString(),
      waitMs: line.w,
      durationMs: line.d,
      request: {
        method,
        url,
        httpVersion: http,
        headers: pairs(headers),
        body: bodyOf(line.qb),
      },
      ...(response !== undefined && {
        response: {
          status: response.status,
          headers: pairs(response.headers),
          body: this.#body(line.rb),
        },
      }),
      ...(line.f !== undefined && { fault: line.f }),
      ...(line.x !== undefined && { refusal: line.x }),
    });
  }

  #body(id: number | undefined): ExchangeDocument["request"]["body"] {
    return bodyOf(id === undefined ? undefined : this.#find("b", id));
  }

  #find<T extends Named["t"]>(t: T, id: number): Extract<Named, { t: T }> | undefined {
    const text = this.#names.get(id);
    const line = text === undefined ? undefined : parseLine(text);
    return line?.t === t ? (line as Extract<Named, { t: T }>) : undefined;
  }
}

function bodyOf(
  body: Pick<Extract<Named, { t: "b" }>, "bytes" | "sha256" | "text"> | undefined,
): ExchangeDocument["request"]["body"] {
  if (body === undefined) return { bytes: 0 };
  const { bytes, sha256, text } = body;
  return {
    bytes,
    ...(sha256 !== undefined && { sha256 }),
    ...(text !== undefined && { text }),
  };
}

function parseLine(text: string): TraceLine | undefined {
  try {
    return TraceLineSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function pairs(headers: readonly string[]): { name: string; value: string }[] {
  return Array.from({ length: Math.floor(headers.length / 2) }, (_, index) => ({
    name: headers[2 * index] ?? "",
    value: headers[2 * index + 1] ?? "",
  }));
}
