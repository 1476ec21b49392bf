/** The wire server's own process: started, told, heard, and started again when it ends. */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { killProcesses } from "../../compute/index.ts";
import type { Playbook } from "../../model/playbook.ts";
import type {
  TraceBatch,
  WireArtifacts,
  WireAttester,
  WireInstance,
  WireVault,
} from "../../wireserver/index.ts";
import { bundleWireProcess, isWireProcess, launchWireProcess } from "./launch.ts";
import { LogAllowance } from "./log-allowance.ts";
import type { Order, SharedContainer } from "./messages.ts";
import { ServedVnet, type ServedVnetOptions } from "./served-vnet.ts";
import { Session, type SessionContext } from "./session.ts";

/** After the first end it is started again at once. */
const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 10_000;
/** One that ran this long starts the back-off anew. */
const STABLE_MS = 30_000;
const OUTPUT_CHARACTERS_MAX = 4_000;

/** What {@link startWireProcess} needs. */
export interface WireProcessOptions {
  /** Tells it from those of other nodes on this machine; one that an earlier node process of the name left is killed. */
  readonly label: string;
  /** Where its code is written, as `wire-process.mjs`. */
  readonly folder: string;
  readonly vault: WireVault;
  readonly attester: WireAttester;
  /** What documents point to. */
  readonly artifacts: WireArtifacts;
  /** Takes lines of the trace of requests; false: they are lost. Must not throw. */
  readonly takeTrace: (batch: TraceBatch) => boolean;
  readonly log: Logger;
}

/** A VNET that is served. Disposing it resolves when its sockets are closed everywhere. */
export interface WireVnet extends AsyncDisposable {
  /** What each container's documents list. */
  setInstances(instances: readonly WireInstance[]): void;
  /** Answers a container from now on, or tells what changed. */
  setContainer(shared: SharedContainer): void;
  /** Answers it no more. */
  forget(name: string): void;
}

/** See {@link startWireProcess}. */
export interface WireProcess extends AsyncDisposable {
  /** Undefined while none runs. */
  readonly pid: number | undefined;
  /** How often it was started again. */
  readonly restarts: number;
  /** Resolves when it serves for the first time. */
  readonly ready: Promise<void>;
  /**
   * Listens on the platform's addresses in a VNET's namespace.
   *
   * @throws FabricError ERR_NET_ADDRESS_IN_USE, ERR_NET_NAMESPACE, ERR_NET_SYSTEM_CALL
   */
  openVnet(options: ServedVnetOptions): WireVnet;
  /** Begins a playbook; undefined: ends it. One that a wire process did not live to finish begins anew in the next. */
  setFault(container: string, playbook: Playbook | undefined): void;
}

/** Starts it, and keeps it running until it is disposed. */
export async function startWireProcess(options: WireProcessOptions): Promise<WireProcess> {
  const { label, folder, log } = options;
  // Stuck, it may not have noticed that its node ended; and it would hold the sockets.
  await killProcesses(({ args }) => isWireProcess(args, label));
  const code = join(folder, "wire-process.mjs");
  return new Keeper(options, code, log.child({ process: "wire" }));
}

class Keeper implements WireProcess {
  readonly #vnets = new Map<number, ServedVnet>();
  readonly #faults = new Map<string, Playbook>();
  readonly #context: SessionContext;
  readonly #code: string;
  readonly #label: string;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  readonly #ready = Promise.withResolvers<void>();
  readonly #running: Promise<void>;
  readonly #allowance = new LogAllowance(() => performance.now());
  #session: Session | undefined;
  #pid: number | undefined;
  #restarts = 0;
  #lastId = 0;

  constructor(
    { label, vault, attester, artifacts, takeTrace }: WireProcessOptions,
    code: string,
    log: Logger,
  ) {
    this.#code = code;
    this.#label = label;
    this.#log = log;
    const mayLog = () => this.#allowance.take();
    this.#context = {
      vnets: this.#vnets,
      faults: this.#faults,
      vault,
      attester,
      artifacts,
      takeTrace,
      mayLog,
      log,
    };
    this.#running = this.#run();
  }

  get pid(): number | undefined {
    return this.#pid;
  }

  get restarts(): number {
    return this.#restarts;
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  openVnet(options: ServedVnetOptions): WireVnet {
    this.#lastId += 1;
    const vnet = new ServedVnet(this.#lastId, options);
    this.#vnets.set(vnet.id, vnet);
    this.#session?.open(vnet);
    const tell = (orders: readonly Order[]) => {
      if (vnet.isOpen) for (const order of orders) this.#session?.send(order);
    };
    return {
      setInstances: (instances) => tell(vnet.setInstances(instances)),
      setContainer: (shared) => tell(vnet.setContainer(shared)),
      forget: (name) => tell(vnet.forget(name)),
      [Symbol.asyncDispose]: async () => {
        if (!this.#vnets.delete(vnet.id)) return;
        vnet[Symbol.dispose]();
        await this.#session?.close(vnet.id);
      },
    };
  }

  setFault(container: string, playbook: Playbook | undefined): void {
    if (playbook === undefined) this.#faults.delete(container);
    else this.#faults.set(container, playbook);
    this.#session?.setFault(container, playbook);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#session?.stop();
    await this.#running;
    for (const vnet of this.#vnets.values()) vnet[Symbol.dispose]();
    this.#vnets.clear();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let backoffMs = 0;
    await this.#bundle();
    while (!signal.aborted) {
      const startedMs = performance.now();
      const how = await this.#runOnce();
      if (signal.aborted) return;
      if (performance.now() - startedMs > STABLE_MS) backoffMs = 0;
      this.#restarts += 1;
      const { restarts } = this;
      this.#log.error({ how, backoffMs, restarts }, "the wire process ended; it is started again");
      await delay(backoffMs, undefined, { signal }).catch(() => undefined);
      backoffMs = Math.min(Math.max(backoffMs * 2, BACKOFF_MS), BACKOFF_MAX_MS);
    }
  }

  /** Until then, guests wait. */
  async #bundle(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await bundleWireProcess(this.#code);
        return;
      } catch (err) {
        this.#log.error({ err }, "the code of the wire process cannot be written");
        await delay(BACKOFF_MAX_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #runOnce(): Promise<string> {
    const child = launchWireProcess(this.#code, this.#label);
    const session = new Session(child, this.#context);
    this.#pid = child.pid;
    for (const output of [child.stdout, child.stderr]) {
      output?.on("data", (part: Buffer) => this.#onOutput(part));
    }
    session.ready.then(
      () => {
        this.#session = session;
        this.#ready.resolve();
      },
      () => undefined,
    );
    if (this.#stop.signal.aborted) void session.stop();
    else this.#stop.signal.addEventListener("abort", () => void session.stop(), { once: true });
    await session.ended;
    if (this.#session === session) this.#session = undefined;
    this.#pid = undefined;
    return String(child.exitCode ?? child.signalCode ?? "not started");
  }

  #onOutput(part: Buffer): void {
    if (!this.#allowance.take()) return;
    const text = part.toString("utf8").trim().slice(0, OUTPUT_CHARACTERS_MAX);
    this.#log.warn({ text }, "the wire process wrote");
  }
}
