/** A fabric in one process: the real managers over the store on disk, and simulated nodes. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ComputeManager } from "../../src/compute/index.ts";
import { parseSubnet } from "../../src/model/ipv4-address.ts";
import { parseTenant, type TenantDescription } from "../../src/model/tenant.ts";
import { EndpointManager, NetworkManager } from "../../src/nm/index.ts";
import { type LocalStore, openSqliteStore, startCompaction } from "../../src/store/index.ts";
import { createBootTrace } from "../../src/trace/index.ts";
import { type SimulatedNode, startSimulatedNode } from "./simulated-node.ts";

/** Containers of a tenant; the tenants are all alike. */
export const TENANT_CONTAINERS = 50;
const FAULT_DOMAINS = 5;
/** Nothing was written for so long: nobody has work. */
const QUIET_MS = 150;

/** What {@link openSimulatedFabric} needs. */
export interface SimulatedFabricOptions {
  readonly nodes: number;
  readonly createMs: number;
  readonly guestMs: number;
}

/** The managers of a control process. */
interface Managers extends AsyncDisposable {
  readonly manager: ComputeManager;
}

/** See the file's comment. */
export class SimulatedFabric implements AsyncDisposable {
  readonly store: LocalStore;
  readonly nodes: SimulatedNode[] = [];
  /** What must not happen and did. */
  readonly errors: string[] = [];
  readonly #folder: string;
  readonly #compaction: Disposable;
  #managers: Managers | undefined;
  #ready = 0;
  #waiting: { readonly count: number; readonly resolve: () => void } | undefined;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "goalstate-bench-fabric-"));
    this.store = openSqliteStore({ path: join(this.#folder, "fabric.sqlite") });
    this.#compaction = startCompaction({ store: this.store });
  }

  get manager(): ComputeManager {
    return this.#managers!.manager;
  }

  /** Octets of the store's file and log. */
  get storeBytes(): number {
    const path = join(this.#folder, "fabric.sqlite");
    const sizes = [path, `${path}-wal`].map((file) => statSync(file, { throwIfNoEntry: false }));
    return sizes.reduce((sum, stat) => sum + (stat?.size ?? 0), 0);
  }

  /** Starts the managers; resolves when they know everything. */
  async startManagers(): Promise<void> {
    const { store } = this;
    const stop = new AbortController();
    const trace = createBootTrace({ store, now: Date.now, onError: (e) => this.#note("trace", e) });
    const manager = new ComputeManager({
      ...{ store, trace, fabricId: "bench", nodeGraceMs: 10_000 },
      network: new NetworkManager({ store, vips: parseSubnet("10.200.0.0/16") }),
      clock: {
        now: Date.now,
        startTimer: (milliseconds, callback) => {
          const timer = setTimeout(callback, milliseconds);
          return () => clearTimeout(timer);
        },
      },
      onError: (what, error) => this.#note(what, error),
    });
    const endpoints = new EndpointManager({ store, onError: (what, e) => this.#note(what, e) });
    const running = Promise.all([manager.run(stop.signal), endpoints.run(stop.signal)]);
    running.catch((error: unknown) => this.#note("managers", error));
    this.#managers = {
      manager,
      [Symbol.asyncDispose]: async () => {
        stop.abort();
        await running.catch(() => undefined); // it was noted
        await trace.settled();
      },
    };
    await manager.whenDeleted("no-such-tenant"); // which is at once, once it knows
  }

  async stopManagers(): Promise<void> {
    await this.#managers?.[Symbol.asyncDispose]();
    this.#managers = undefined;
  }

  async startNodes({ nodes, createMs, guestMs }: SimulatedFabricOptions): Promise<void> {
    const started = Array.from({ length: nodes }, (_, index) =>
      startSimulatedNode({
        ...{ store: this.store, createMs, guestMs },
        node: `node-${index}`,
        faultDomain: `fd-${index % FAULT_DOMAINS}`,
        runDirectory: join(this.#folder, `node-${index}`),
        onReady: () => this.#onReady(),
        onError: (what, error) => this.#note(what, error),
      }),
    );
    this.nodes.push(...(await Promise.all(started)));
  }

  /** Submits tenants of {@link TENANT_CONTAINERS} containers each. */
  async deploy(tenants: readonly string[]): Promise<void> {
    await Promise.all(
      tenants.map((tenant) => this.manager.submit(describeTenant(tenant), this.#folder)),
    );
  }

  /** Resolves when nothing is left of them. */
  async remove(tenants: readonly string[]): Promise<void> {
    await Promise.all(tenants.map((tenant) => this.manager.deleteTenant(tenant)));
    await Promise.all(tenants.map((tenant) => this.manager.whenDeleted(tenant)));
  }

  /** Resolves after so many more reports Ready, counted from the call. */
  whenReady(count: number): Promise<void> {
    this.#ready = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting = { count, resolve };
    return promise;
  }

  /** Resolves when nothing has been written for a while. */
  async whenQuiet(): Promise<void> {
    for (let rev = -1; rev !== this.store.rev; ) {
      rev = this.store.rev;
      await sleep(QUIET_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopManagers();
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
    this.#compaction[Symbol.dispose]();
    await this.store[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true });
  }

  #onReady(): void {
    this.#ready += 1;
    if (this.#ready === this.#waiting?.count) this.#waiting.resolve();
  }

  #note(what: string, error: unknown): void {
    process.stderr.write(`${what}: ${error instanceof Error ? error.stack : error}\n`);
    this.errors.push(`${what}: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
  }
}

function describeTenant(tenant: string): TenantDescription {
  const site = { name: "site", protocol: "http", port: 8080, public: 80 };
  return parseTenant(
    {
      tenant,
      vnet: { name: "net", addressSpace: "10.20.0.0/16" },
      roles: [
        { name: "web", instances: 20, endpoints: [site] },
        { name: "worker", instances: TENANT_CONTAINERS - 20 },
      ],
    },
    tenant,
  );
}
