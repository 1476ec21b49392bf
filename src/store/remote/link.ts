/** One connection to a shared store, on the side of the client, from its greeting to its end. */
import type { Socket } from "node:net";
import { FabricError } from "../../model/errors.ts";
import type { WatchItem } from "../fabric-store.ts";
import { FrameStream } from "./frame-stream.ts";
import {
  type Call,
  PROTOCOL_VERSION,
  READS,
  receivedError,
  type ServerMessage,
} from "./protocol.ts";

/** Calls that may wait for their answers. */
export const CALLS_MAX = 16_384;

/** Longest time between two pings; a lease with a short time to live asks for more. */
const PING_MS = 1000;

interface Pending {
  readonly kind: Call["kind"];
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A watch that waits for the page that it pulled. */
interface Puller {
  readonly resolve: (page: readonly WatchItem[] | undefined) => void;
  readonly reject: (error: Error) => void;
}

interface LinkOptions {
  readonly socket: Socket;
  readonly session: string;
  /** A connection on which nothing was heard for so long, pings notwithstanding, is broken. */
  readonly silenceMs: number;
  /** A lease of this client is gone. */
  readonly onLost: (lease: string) => void;
}

/** Requests and watches over one socket. */
export class Link {
  /** Resolves to the store's revision when the server has greeted; rejects if it refuses, or the link ends before. */
  readonly welcomed: Promise<number>;
  /** Resolves to the reason when the connection is over. */
  readonly ended: Promise<Error>;
  readonly #socket: Socket;
  readonly #stream: FrameStream;
  readonly #options: LinkOptions;
  readonly #calls = new Map<number, Pending>();
  readonly #pullers = new Map<number, Puller>();
  readonly #welcome = Promise.withResolvers<number>();
  readonly #end = Promise.withResolvers<Error>();
  readonly #silence: NodeJS.Timeout;
  #pings: NodeJS.Timeout;
  #pingMs = PING_MS;
  #heardCount = 0;
  #nextId = 1;
  #endedBy: Error | undefined;
  #takesWatches = true;
  #onIdle: (() => void) | undefined;

  constructor(options: LinkOptions) {
    const { socket, session, silenceMs } = options;
    this.#options = options;
    this.#socket = socket;
    this.#stream = new FrameStream(socket);
    this.welcomed = this.#welcome.promise;
    this.welcomed.catch(() => undefined);
    this.ended = this.#end.promise;
    this.#silence = setTimeout(() => this.#onSilence(), silenceMs).unref();
    this.#pings = this.#startPings();
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("error", (error) => this.end(error));
    socket.once("close", () => this.end(new Error("the connection to the store ended")));
    this.#stream.send({ kind: "hello", version: PROTOCOL_VERSION, session });
  }

  /** Pings at least three times in each `ttlMs`, from now on. */
  pingWithin(ttlMs: number): void {
    const pingMs = Math.floor(ttlMs / 3);
    if (pingMs >= this.#pingMs) return;
    this.#pingMs = pingMs;
    clearInterval(this.#pings);
    this.#pings = this.#startPings();
  }

  /**
   * The answer to a call.
   *
   * @throws FabricError as the store; `ERR_STORE_UNAVAILABLE` if the connection ended and nothing was changed,
   * `ERR_STORE_UNCERTAIN` if it ended and something may have been
   */
  call(call: Call): Promise<unknown> {
    if (this.#endedBy !== undefined) return Promise.reject(unavailable(this.#endedBy));
    if (this.#calls.size >= CALLS_MAX) {
      return Promise.reject(unavailable(new Error(`${CALLS_MAX} calls wait for an answer`)));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { kind: call.kind, resolve, reject });
      this.#stream.send({ ...call, id });
    });
  }

  /** Resolves when every call was answered, or the link is over. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve;
      this.#checkIdle();
    });
  }

  /** Pages of a watch, each pulled when it is asked for. Ends when the signal aborts or the link is over. */
  async *pages(
    prefix: string,
    from: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly WatchItem[], void, undefined> {
    if (!this.#takesWatches) return;
    const id = this.#nextId++;
    this.#stream.send({ kind: "watch", id, prefix, from });
    let isOver = false;
    const onAbort = () => this.#takePuller(id)?.resolve(undefined);
    signal.addEventListener("abort", onAbort);
    try {
      while (true) {
        const page = await this.#page(id, signal);
        if (page === undefined) return;
        yield page;
        if (this.#takesWatches) this.#stream.send({ kind: "pull", id });
      }
    } catch (error) {
      isOver = true; // the server ended it
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
      if (!isOver && this.#endedBy === undefined) this.#stream.send({ kind: "unwatch", id });
    }
  }

  /** Watches deliver nothing more and end with the link; calls go on. */
  stopWatches(): void {
    this.#takesWatches = false;
  }

  /** Ends the connection; whatever waits for an answer is told. */
  end(because: Error): void {
    if (this.#endedBy !== undefined) return;
    this.#endedBy = because;
    clearInterval(this.#pings);
    clearTimeout(this.#silence);
    this.#stream.close();
    this.#socket.destroy();
    for (const { kind, reject } of this.#calls.values()) {
      reject(READS.has(kind) ? unavailable(because) : uncertain(because));
    }
    this.#calls.clear();
    this.stopWatches();
    for (const { resolve } of this.#pullers.values()) resolve(undefined);
    this.#pullers.clear();
    this.#welcome.reject(because);
    this.#end.resolve(because);
    this.#onIdle?.();
  }

  #startPings(): NodeJS.Timeout {
    return setInterval(() => this.#stream.send({ kind: "ping" }), this.#pingMs).unref();
  }

  #page(id: number, signal: AbortSignal): Promise<readonly WatchItem[] | undefined> {
    return new Promise((resolve, reject) => {
      if (signal.aborted || !this.#takesWatches) return resolve(undefined);
      this.#pullers.set(id, { resolve, reject });
    });
  }

  #onData(chunk: Buffer): void {
    this.#heardCount++;
    this.#silence.refresh();
    try {
      for (const message of this.#stream.receive(chunk)) this.#handle(message as ServerMessage);
    } catch (cause) {
      this.end(new Error("the store's server does not keep to the protocol", { cause }));
    }
    this.#checkIdle();
  }

  #handle(message: ServerMessage): void {
    switch (message.kind) {
      case "answer":
        this.#take(message.id)?.resolve(message.result);
        break;
      case "items":
        if (this.#takesWatches) this.#takePuller(message.id)?.resolve(message.items);
        break;
      case "failure": {
        const waiting = this.#take(message.id) ?? this.#takePuller(message.id);
        waiting?.reject(receivedError(message.error));
        break;
      }
      case "welcome":
        this.#welcome.resolve(message.rev);
        break;
      case "refused":
        this.end(receivedError(message.error));
        break;
      case "lost":
        // After the answer that granted it, if both came at once, has reached its caller.
        setImmediate(() => this.#options.onLost(message.lease));
        break;
      case "pong":
        break;
      default:
        message satisfies never;
    }
  }

  #take(id: number): Pending | undefined {
    const pending = this.#calls.get(id);
    this.#calls.delete(id);
    return pending;
  }

  #takePuller(id: number): Puller | undefined {
    const puller = this.#pullers.get(id);
    this.#pullers.delete(id);
    return puller;
  }

  #checkIdle(): void {
    if (this.#calls.size === 0) this.#onIdle?.();
  }

  /**
   * If this process stood still, the timer may fire before what came meanwhile was read; sockets are read between timers
   * and immediates.
   */
  #onSilence(): void {
    const heardBefore = this.#heardCount;
    setImmediate(() => {
      if (this.#heardCount !== heardBefore) return;
      this.end(new Error(`the store said nothing for ${this.#options.silenceMs} ms`));
    });
  }
}

/** The error for a call of which nothing was done. */
export function unavailable(cause: Error): FabricError {
  const text = "The store is away; nothing was done, try again";
  return new FabricError("ERR_STORE_UNAVAILABLE", text, { cause });
}

function uncertain(cause: Error): FabricError {
  return new FabricError("ERR_STORE_UNCERTAIN", "Cannot tell if a write was kept", { cause });
}
