/** Keeps a client of a shared store connected: connects, greets, and begins again when the connection ends. */
import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { errorText, FabricError } from "../../model/errors.ts";
import { Link, unavailable } from "./link.ts";
import type { StoreSocketPath } from "./socket-path.ts";

/** Wait before a connection is tried again; doubles with each try. */
const BACKOFF_MIN_MS = 20;
const BACKOFF_MAX_MS = 1000;

/** A connection that lasted so long begins the back-off anew when it ends. */
const STABLE_MS = 5000;

/** Calls that may wait for a connection. */
export const WAITING_CALLS_MAX = 65_536;

/** Told of each change, for logs: `away` comes with the reason. */
export type ConnectionObserver = (state: "connected" | "away", because?: Error) => void;

interface ConnectorOptions {
  readonly openPath: () => StoreSocketPath;
  readonly waitMs: number;
  readonly silenceMs: number;
  readonly onConnection: ConnectionObserver;
  readonly onLost: (lease: string) => void;
  /** Called with each new connection, before any call is sent over it. If it rejects, the connection is given up. */
  readonly prepare: (link: Link) => Promise<void>;
}

/** A connection that is ready for calls, and the revision that the store had when it was made. */
export interface ReadyLink {
  readonly link: Link;
  readonly rev: number;
}

interface Waiter {
  readonly resolve: (ready: ReadyLink) => void;
  readonly reject: (error: Error) => void;
}

/** The connection of one client. */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #session = randomUUID();
  readonly #waiters = new Set<Waiter>();
  #current: ReadyLink | undefined;
  /** The connection that is being made, or is {@link Connector.current}. */
  #link: Link | undefined;
  #retry: NodeJS.Timeout | undefined;
  #backoffMs = BACKOFF_MIN_MS;
  /** Why there is no connection. */
  #because = new Error("it has not answered yet");
  #isClosed = false;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#connect();
  }

  /** The connection, if there is one now. */
  get current(): ReadyLink | undefined {
    return this.#current;
  }

  /**
   * The connection when there is one, for a call.
   *
   * @throws FabricError `ERR_STORE_UNAVAILABLE` after the time that calls wait, `ERR_STORE_CLOSED`
   */
  wait(): Promise<ReadyLink> {
    if (this.#waiters.size >= WAITING_CALLS_MAX) return Promise.reject(unavailable(this.#because));
    return new Promise((resolve, reject) => {
      const { waitMs } = this.#options;
      const timer = setTimeout(() => give(() => reject(unavailable(this.#because))), waitMs);
      const give = (settle: () => void) => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        settle();
      };
      const waiter: Waiter = {
        resolve: (ready) => give(() => resolve(ready)),
        reject: (error) => give(() => reject(error)),
      };
      this.#waitWith(waiter);
    });
  }

  /**
   * The connection when there is one, however long it takes; undefined when the signal aborts.
   *
   * @throws FabricError `ERR_STORE_CLOSED`
   */
  waitLong(signal: AbortSignal): Promise<ReadyLink | undefined> {
    return new Promise((resolve, reject) => {
      if (signal.aborted || (this.#current !== undefined && !this.#isClosed)) {
        resolve(this.#current);
        return;
      }
      const settle = (settleWith: () => void) => {
        signal.removeEventListener("abort", onAbort);
        this.#waiters.delete(waiter);
        settleWith();
      };
      const onAbort = () => settle(() => resolve(undefined));
      const waiter: Waiter = {
        resolve: (ready) => settle(() => resolve(ready)),
        reject: (error) => settle(() => reject(error)),
      };
      signal.addEventListener("abort", onAbort);
      this.#waitWith(waiter);
    });
  }

  /** Waits until all calls were answered, at most `waitMs`, and ends for good. */
  async close(error: FabricError, waitMs: number): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#retry);
    for (const { reject } of [...this.#waiters]) reject(error);
    this.#link?.stopWatches();
    if (this.#current !== undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, waitMs);
      await Promise.race([this.#current.link.idle(), promise]);
      clearTimeout(timer);
    }
    this.#link?.end(error);
  }

  #waitWith(waiter: Waiter): void {
    if (this.#isClosed) waiter.reject(new FabricError("ERR_STORE_CLOSED", "The store is closed"));
    else this.#waiters.add(waiter);
  }

  #connect(): void {
    const { silenceMs, onLost } = this.#options;
    let link: Link;
    try {
      const address = this.#options.openPath();
      const socket = connect(address.path);
      const release = () => address[Symbol.dispose]();
      socket.once("connect", release);
      socket.once("close", release);
      link = new Link({ socket, session: this.#session, silenceMs, onLost });
    } catch (error) {
      this.#onEnd(asError(error));
      return;
    }
    this.#link = link;
    this.#prepare(link).catch((error: unknown) => link.end(asError(error)));
    void link.ended.then((because) => this.#onEnd(because));
  }

  async #prepare(link: Link): Promise<void> {
    const rev = await link.welcomed;
    await this.#options.prepare(link);
    if (this.#isClosed) return;
    const ready = { link, rev };
    this.#current = ready;
    const stable = setTimeout(() => {
      this.#backoffMs = BACKOFF_MIN_MS;
    }, STABLE_MS).unref();
    void link.ended.then(() => clearTimeout(stable));
    this.#options.onConnection("connected");
    for (const { resolve } of [...this.#waiters]) resolve(ready);
  }

  #onEnd(because: Error): void {
    const wasConnected = this.#current !== undefined;
    this.#current = undefined;
    this.#link = undefined;
    this.#because = because;
    if (this.#isClosed) return;
    if (wasConnected) this.#options.onConnection("away", because);
    this.#retry = setTimeout(() => this.#connect(), this.#backoffMs);
    this.#backoffMs = Math.min(2 * this.#backoffMs, BACKOFF_MAX_MS);
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(errorText(thrown));
}
