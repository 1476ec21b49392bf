/** One client of a shared store, on the side of the store. */
import type { Socket } from "node:net";
import { FabricError } from "../../model/errors.ts";
import type { ListResult, WatchItem } from "../fabric-store.ts";
import type { LocalStore } from "../local-store.ts";
import { FrameStream } from "./frame-stream.ts";
import { HeldLeases } from "./held-leases.ts";
import {
  type ClientMessage,
  PROTOCOL_VERSION,
  READS,
  type Request,
  sentError,
} from "./protocol.ts";

/** Requests of one client that are worked on at a time; the next ones stay in its socket. */
export const REQUESTS_MAX = 1024;

/** Of these, calls that change nothing: their answers may be long, and none is made before there is room for it. */
export const READS_MAX = 16;

/** Octets that may wait for one client to read them, before its next requests stay in its socket. */
export const WAITING_BYTES_MAX = 4 * 1024 * 1024;

/** Watches of one client. */
export const WATCHES_MAX = 10_000;

/** Keys that are listed in one answer; the client asks on. */
export const LIST_KEYS_MAX = 1000;

/** Octets of values after which an answer to a list ends; the client asks on. */
export const LIST_BYTES_MAX = 4 * 1024 * 1024;

interface ServedWatch {
  readonly pages: AsyncIterator<readonly WatchItem[]>;
  readonly stop: AbortController;
}

interface ServedConnectionOptions {
  readonly store: LocalStore;
  readonly socket: Socket;
  readonly onFault: (error: Error) => void;
  /** Called before anything is done for the client. */
  readonly onHello: (session: string) => void;
}

/** Answers one client until it goes, or breaks the rules. */
export class ServedConnection {
  readonly #store: LocalStore;
  readonly #socket: Socket;
  readonly #stream: FrameStream;
  readonly #options: ServedConnectionOptions;
  readonly #leases: HeldLeases;
  readonly #watches = new Map<number, ServedWatch>();
  /** Ends of watches that are under way. */
  readonly #ending = new Set<Promise<unknown>>();
  /** Received, and not yet begun. */
  #backlog: { readonly kind: string }[] = [];
  /** What is before it in the backlog was begun. */
  #backlogStart = 0;
  #requestCount = 0;
  #readCount = 0;
  #session: string | undefined;
  #closed = false;

  constructor(options: ServedConnectionOptions) {
    const { store, socket } = options;
    this.#options = options;
    this.#store = store;
    this.#socket = socket;
    this.#stream = new FrameStream(socket);
    this.#leases = new HeldLeases(store, (lease) => this.#onLost(lease));
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => this.#work());
    socket.on("error", () => undefined); // "close" follows, and says all there is to say
    socket.once("close", () => this.close());
  }

  /** Which client it is; undefined before it said so. */
  get session(): string | undefined {
    return this.#session;
  }

  /** Ends the connection. The client's leases are let go, its watches end. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const id of [...this.#watches.keys()]) this.#unwatch(id);
    this.#leases.letGo();
    this.#backlog = [];
    this.#stream.close();
    this.#socket.destroy();
  }

  #fault(error: unknown): void {
    if (this.#closed) return;
    this.#options.onFault(error instanceof Error ? error : new Error(String(error)));
    this.close();
  }

  #onData(chunk: Buffer): void {
    this.#leases.heard();
    try {
      for (const message of this.#stream.receive(chunk)) this.#backlog.push(message);
    } catch (error) {
      this.#fault(error);
    }
    this.#work();
  }

  #isBusy(): boolean {
    const isFull = this.#requestCount >= REQUESTS_MAX || this.#readCount >= READS_MAX;
    return isFull || this.#stream.waitingBytes > WAITING_BYTES_MAX;
  }

  /** Begins what can be begun. A client whose messages must wait is not read from. */
  #work(): void {
    while (this.#backlogStart < this.#backlog.length && !this.#closed && !this.#isBusy()) {
      try {
        this.#handle(this.#backlog[this.#backlogStart++] as ClientMessage);
      } catch (error) {
        this.#fault(error);
      }
    }
    if (this.#closed) return;
    if (this.#backlogStart < this.#backlog.length) {
      this.#socket.pause();
      return;
    }
    this.#backlog = [];
    this.#backlogStart = 0;
    if (this.#isBusy()) this.#socket.pause();
    else this.#socket.resume();
  }

  #handle(message: ClientMessage): void {
    if (message.kind === "hello") {
      this.#hello(message.version, message.session);
      return;
    }
    if (this.#session === undefined) throw new TypeError("a client must say hello first");
    if (message.kind === "ping") {
      this.#stream.send({ kind: "pong" });
      return;
    }
    if (!Number.isSafeInteger(message.id)) throw new TypeError("a request must have a number");
    switch (message.kind) {
      case "watch":
        this.#watch(message.id, message.prefix, message.from);
        break;
      case "pull":
        this.#pull(message.id);
        break;
      case "unwatch":
        this.#unwatch(message.id);
        break;
      default:
        this.#answer(message);
    }
  }

  #hello(version: number, session: string): void {
    if (version !== PROTOCOL_VERSION) {
      const text = `this store speaks version ${PROTOCOL_VERSION} of its protocol, not ${version}`;
      this.#stream.send({ kind: "refused", error: { message: `${text}: start both anew` } });
      this.#stream.flush();
      this.#socket.end();
      return;
    }
    this.#session = String(session);
    this.#options.onHello(this.#session);
    this.#stream.send({ kind: "welcome", rev: this.#store.rev });
  }

  #answer(request: Exclude<Request, { kind: "watch" }>): void {
    const { id } = request;
    const isRead = READS.has(request.kind);
    this.#requestCount++;
    if (isRead) this.#readCount++;
    this.#call(request)
      .then(
        (result) => this.#stream.sendText(`{"kind":"answer","id":${id},"result":${result}}`),
        (error: unknown) => this.#fail(id, error),
      )
      .finally(() => {
        this.#requestCount--;
        if (isRead) this.#readCount--;
        if (this.#backlog.length > 0 || this.#socket.isPaused()) this.#work();
      })
      .catch((error: unknown) => this.#fault(error));
  }

  /** A store that takes no more calls is not the client's affair: for it, the store is away, until another one serves. */
  #fail(id: number, error: unknown): void {
    const { refusal } = this.#store;
    if (refusal !== undefined && error === refusal) this.#fault(error);
    else this.#stream.send({ kind: "failure", id, error: sentError(error) });
  }

  /** The result as JSON. */
  async #call(request: Exclude<Request, { kind: "watch" }>): Promise<string> {
    const store = this.#store;
    switch (request.kind) {
      case "get": {
        const { key, rev } = request;
        return JSON.stringify(await store.get(key, rev === undefined ? {} : { rev }));
      }
      case "list": {
        const { prefix, rev, after, limit = LIST_KEYS_MAX } = request;
        const most = Math.min(limit, LIST_KEYS_MAX);
        return listText(
          await store.list(prefix, {
            limit: most,
            ...(rev !== undefined && { rev }),
            ...(after !== undefined && { after }),
          }),
        );
      }
      case "txn":
        return JSON.stringify(await store.txn(request.transaction));
      case "lease":
        return JSON.stringify({ id: await this.#leases.hold(request.ttlMs, request.lease) });
      case "revoke":
        await this.#leases.revoke(request.lease);
        return "null";
      case "compact":
        await store.compact(request.upTo);
        return "null";
      case "status":
        await Promise.all(this.#ending);
        return JSON.stringify(await store.status());
      default:
        throw new TypeError(`no such request: ${JSON.stringify(request satisfies never)}`);
    }
  }

  #onLost(lease: string): void {
    if (this.#closed) return;
    const { refusal } = this.#store;
    // The store is closed or broken; the lease is in its file and may be taken up again.
    if (refusal !== undefined) this.#fault(refusal);
    else this.#stream.send({ kind: "lost", lease });
  }

  #watch(id: number, prefix: string, from: number): void {
    if (this.#watches.size >= WATCHES_MAX) {
      const text = `A client may have ${WATCHES_MAX} watches`;
      this.#fail(id, new FabricError("ERR_STORE_TOO_LARGE", text));
      return;
    }
    const stop = new AbortController();
    const pages = this.#store.watchPages(prefix, { from, signal: stop.signal });
    this.#watches.set(id, { pages: pages[Symbol.asyncIterator](), stop });
    this.#pull(id);
  }

  /** One page for one pull: what a slow reader has not asked for stays in the history. */
  #pull(id: number): void {
    const watch = this.#watches.get(id);
    if (watch === undefined) return; // it ended meanwhile, and the client is being told
    watch.pages
      .next()
      .then(
        ({ done, value }) => {
          if (done !== true) this.#stream.send({ kind: "items", id, items: value });
        },
        (error: unknown) => {
          this.#watches.delete(id);
          this.#fail(id, error);
        },
      )
      .catch((error: unknown) => this.#fault(error));
  }

  #unwatch(id: number): void {
    const watch = this.#watches.get(id);
    if (watch === undefined) return;
    this.#watches.delete(id);
    watch.stop.abort();
    const ended = Promise.resolve(watch.pages.return?.()).catch(() => undefined);
    this.#ending.add(ended);
    void ended.finally(() => this.#ending.delete(ended));
  }
}

/** A list as JSON, cut where it is long enough. */
function listText({ rev, kvs, more }: ListResult): string {
  const parts: string[] = [];
  let bytes = 0;
  for (const kv of kvs) {
    if (bytes >= LIST_BYTES_MAX) break;
    const text = JSON.stringify(kv);
    bytes += text.length;
    parts.push(text);
  }
  const goesOn = more || parts.length < kvs.length;
  return `{"rev":${rev},"kvs":[${parts.join(",")}],"more":${goesOn}}`;
}
