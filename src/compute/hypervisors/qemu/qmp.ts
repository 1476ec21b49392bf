/**
 * A client of the QEMU Machine Protocol over a stream: one JSON object a line. QEMU greets, we negotiate, then each
 * command is matched with its reply by `id`, and events come in between.
 *
 * @see QEMU docs/interop/qmp-spec
 */

import type { Duplex } from "node:stream";
import { FabricError } from "../../../model/errors.ts";

const LINE_BYTES_MAX = 4 * 1024 * 1024;

/** Something that happened in QEMU, for example `SHUTDOWN`. */
export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What one line from QEMU means. */
export type QmpMessage =
  | { readonly kind: "greeting" }
  | { readonly kind: "event"; readonly event: QmpEvent }
  | { readonly kind: "return"; readonly id: unknown; readonly value: unknown }
  | { readonly kind: "error"; readonly id: unknown; readonly text: string }
  | { readonly kind: "malformed"; readonly reason: string };

interface Waiting {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A negotiated connection. Dispose it to close the stream. */
export class QmpClient {
  readonly #stream: Duplex;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onEvent: (event: QmpEvent) => void;
  readonly #greeted = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<void>();
  #nextId = 1;
  #pending = "";
  #closed: FabricError | undefined;

  private constructor(stream: Duplex, onEvent: (event: QmpEvent) => void) {
    this.#stream = stream;
    this.#onEvent = onEvent;
    // Whoever opens the client awaits this only after the negotiation began.
    this.#greeted.promise.catch(() => {});
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => this.#receive(text));
    stream.on("error", (cause) => this.#fail("the connection broke", cause));
    stream.on("close", () => this.#fail("QEMU closed the connection"));
    stream.on("end", () => this.#fail("QEMU closed the connection"));
  }

  /**
   * Waits for the greeting and negotiates.
   *
   * @param stream - connected to QEMU's monitor; owned by the client from now on
   * @throws FabricError ERR_QMP_CLOSED, ERR_QMP_COMMAND; ERR_QMP_TIMEOUT when `signal` aborts
   */
  static async open(options: {
    readonly stream: Duplex;
    readonly onEvent: (event: QmpEvent) => void;
    readonly signal: AbortSignal;
  }): Promise<QmpClient> {
    const client = new QmpClient(options.stream, options.onEvent);
    try {
      await untilAborted(client.#greeted.promise, "greeting", options.signal);
      await client.execute("qmp_capabilities", {}, options.signal);
      return client;
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Runs a command and returns what QEMU returned.
   *
   * @throws FabricError ERR_QMP_COMMAND if QEMU refuses, ERR_QMP_CLOSED, ERR_QMP_TIMEOUT when `signal` aborts
   */
  async execute(
    command: string,
    args: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<unknown> {
    if (this.#closed !== undefined) throw this.#closed;
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { command, resolve, reject });
    this.#stream.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return await untilAborted(promise, command, signal);
    } finally {
      this.#waiting.delete(id);
    }
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** Resolves when the connection has ended, from whichever side, and all that was sent on it was handled. */
  get closed(): Promise<void> {
    return this.#over.promise;
  }

  /** Closes the stream; commands that wait fail with ERR_QMP_CLOSED. */
  [Symbol.dispose](): void {
    this.#fail("closed by us");
    this.#stream.destroy();
  }

  #receive(text: string): void {
    const lines = (this.#pending + text).split("\n");
    this.#pending = lines.pop() ?? "";
    for (const line of lines) {
      if (line.trim() !== "" && this.#closed === undefined) this.#handle(decodeQmpLine(line));
    }
    if (this.#pending.length > LINE_BYTES_MAX) this.#fail("QEMU sent a line without an end");
  }

  #handle(message: QmpMessage): void {
    switch (message.kind) {
      case "greeting":
        this.#greeted.resolve();
        break;
      case "event":
        this.#onEvent(message.event);
        break;
      case "return":
        this.#waitingFor(message.id)?.resolve(message.value);
        break;
      case "error": {
        const waiting = this.#waitingFor(message.id);
        const what = `QEMU refused ${waiting?.command}: ${message.text}`;
        waiting?.reject(new FabricError("ERR_QMP_COMMAND", what));
        break;
      }
      case "malformed":
        this.#fail(message.reason);
        break;
    }
  }

  #waitingFor(id: unknown): Waiting | undefined {
    return typeof id === "number" ? this.#waiting.get(id) : undefined;
  }

  #fail(reason: string, cause?: unknown): void {
    if (this.#closed !== undefined) return;
    this.#closed = new FabricError("ERR_QMP_CLOSED", `Cannot talk to QEMU: ${reason}`, { cause });
    this.#over.resolve();
    this.#greeted.reject(this.#closed);
    for (const waiting of this.#waiting.values()) waiting.reject(this.#closed);
    this.#waiting.clear();
    this.#stream.destroy();
  }
}

/** Decodes one line. Never throws. */
export function decodeQmpLine(line: string): QmpMessage {
  const message = parseObject(line);
  if (message === undefined) {
    return { kind: "malformed", reason: `QEMU sent "${line.slice(0, 80)}", not a JSON object` };
  }
  if ("QMP" in message) return { kind: "greeting" };
  if (typeof message["event"] === "string") {
    return { kind: "event", event: { name: message["event"], data: asRecord(message["data"]) } };
  }
  if ("return" in message) return { kind: "return", id: message["id"], value: message["return"] };
  if ("error" in message) {
    const { desc } = asRecord(message["error"]);
    return { kind: "error", id: message["id"], text: String(desc ?? "without a reason") };
  }
  return { kind: "malformed", reason: `QEMU sent an unknown message "${line.slice(0, 80)}"` };
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function asRecord(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function untilAborted<T>(promise: Promise<T>, what: string, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void =>
    aborted.reject(
      new FabricError("ERR_QMP_TIMEOUT", `Gave up waiting for QEMU's reply: ${what}`, {
        cause: signal.reason,
      }),
    );
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    // The loser of the race may still fail, with nobody left to hear it.
    promise.catch(() => {});
  }
}
