/** Prints the exchanges of a container: as a table, as lines of JSON, or as an archive. */
import { closeSync, openSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import packageJson from "../../../package.json" with { type: "json" };
import { FabricError } from "../../model/errors.ts";
import { chooseFabricFolder } from "../control/running-fabrics.ts";
import type { Look } from "../look.ts";
import { harOf } from "./har.ts";
import type { ExchangeDocument } from "./trace-document.ts";
import { listTraceFolders, TraceReader } from "./trace-reader.ts";

const FOLLOW_MS = 300;
const URL_WIDTH = 72;

/** What the command takes from its surroundings. */
export interface RequestsCommandOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
  readonly warn: (line: string) => void;
  readonly signal: AbortSignal;
}

/** The options as commander gives them. */
export interface RequestsArguments extends Look {
  /** Seconds. */
  readonly since?: number;
  readonly har?: boolean;
  readonly output?: string;
  readonly follow?: boolean;
}

/**
 * Runs the command. Files are read where they are, so it works for a fabric that does not run any more, too.
 *
 * @throws FabricError ERR_USAGE_REQUESTS if options contradict each other or the file cannot be written
 */
export async function showRequests(
  container: string,
  args: RequestsArguments,
  options: RequestsCommandOptions,
): Promise<void> {
  assertOptions(args);
  const data = args.data ?? (await chooseFabricFolder(undefined, options.environment));
  const afterMs = args.since === undefined ? 0 : Date.now() - args.since * 1000;
  const source = new Source(data, container, afterMs);
  using out = openOutput(args.output, options.print);
  const first = source.read(options.warn);
  if (args.har === true) {
    out.print(JSON.stringify(harOf(first, packageJson.version), undefined, 2));
    return;
  }
  const render = args.json === true ? (one: ExchangeDocument) => JSON.stringify(one) : lineOf;
  if (args.json !== true) out.print(HEAD);
  for (const exchange of first) out.print(render(exchange));
  while (args.follow === true && !options.signal.aborted) {
    await delay(FOLLOW_MS, undefined, { signal: options.signal }).catch(() => undefined);
    for (const exchange of source.read(options.warn)) out.print(render(exchange));
  }
}

function assertOptions({ har, json, follow }: RequestsArguments): void {
  if (har === true && json === true) {
    throw new FabricError("ERR_USAGE_REQUESTS", "--har and --json exclude each other");
  }
  if (har === true && follow === true) {
    throw new FabricError(
      "ERR_USAGE_REQUESTS",
      "An archive has an end: leave out --follow or --har",
    );
  }
}

/** All traces of a data folder, merged by time; folders of nodes may appear later. */
class Source {
  readonly #readers = new Map<string, TraceReader>();
  readonly #data: string;
  readonly #container: string;
  readonly #after: string;

  constructor(data: string, container: string, afterMs: number) {
    this.#data = data;
    this.#container = container;
    this.#after = new Date(afterMs).toISOString();
  }

  read(warn: (line: string) => void): ExchangeDocument[] {
    for (const folder of listTraceFolders(this.#data)) {
      if (!this.#readers.has(folder)) {
        this.#readers.set(folder, new TraceReader(folder, this.#container));
      }
    }
    const news = [...this.#readers.values()].map((reader) => reader.read());
    const dropped = news.reduce((sum, each) => sum + each.dropped, 0);
    if (dropped > 0) warn(`${dropped} exchanges are missing: more came than could be written`);
    return news
      .flatMap(({ exchanges }) => exchanges)
      .filter(({ time }) => time >= this.#after)
      .sort((a, b) => (a.time < b.time ? -1 : Number(a.time > b.time)));
  }
}

interface Output extends Disposable {
  readonly print: (line: string) => void;
}

function openOutput(path: string | undefined, print: (line: string) => void): Output {
  if (path === undefined) return { print, [Symbol.dispose]: () => undefined };
  let file: number;
  try {
    // It may hold what a guest keeps from others.
    file = openSync(path, "w", 0o600);
  } catch (cause) {
    throw new FabricError("ERR_USAGE_REQUESTS", `Cannot write ${path}`, { cause });
  }
  return {
    print: (line) => void writeSync(file, `${line}\n`),
    [Symbol.dispose]: () => closeSync(file),
  };
}

const HEAD = "TIME                      STATUS    WAIT   BYTES  REQUEST";

/** Fixed widths: with --follow, lines are printed as they come. */
function lineOf(exchange: ExchangeDocument): string {
  const { time, response, request, waitMs, service, fault, refusal } = exchange;
  const { method, url } = request;
  const status = String(response?.status ?? "none").padStart(6);
  const wait = `${waitMs.toFixed(waitMs < 100 ? 1 : 0)} ms`.padStart(8);
  const bytes = String(response?.body.bytes ?? 0).padStart(7);
  const place = service === "wireServer" ? "" : `${service} `;
  const path = url.length > URL_WIDTH ? `${url.slice(0, URL_WIDTH)}...` : url;
  const notes = [
    ...(fault === undefined ? [] : [`fault ${fault}`]),
    ...(refusal === undefined ? [] : [refusal]),
  ];
  const note = notes.length === 0 ? "" : `  [${notes.join(", ")}]`;
  return `${time}  ${status}${wait}${bytes}  ${place}${method} ${path}${note}`;
}
