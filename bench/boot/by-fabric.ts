/** The guest as a user of the fabric boots it: `up` runs, and `deploy` is started. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { openSocketPath } from "../../src/net/socket-path.ts";
import { type FabricStore, openRemoteStore } from "../../src/store/index.ts";
import { createBootTrace } from "../../src/trace/index.ts";
import { ROOT } from "../dhcp/processes.ts";
import type { Boot } from "./milestones.ts";

const GOALSTATE = join(ROOT, "bin/goalstate");
const READY_TIMEOUT_MS = 60_000;
const LOOK_MS = 200;
const TENANT = `tenant: byfabric
vnet: { name: net, addressSpace: 10.77.0.0/24 }
stop: { agentSeconds: 0, acpiSeconds: 0 }
roles: [{ name: web, size: { cpus: 1, memoryMib: 768 } }]
`;

/** A fabric of one node. */
export class ByFabric implements AsyncDisposable {
  readonly #folder: string;
  readonly #up: ChildProcess;
  #store: (FabricStore & AsyncDisposable) | undefined;

  static async open(folder: string): Promise<ByFabric> {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "tenant.yaml"), TENANT);
    const made = new ByFabric(folder);
    try {
      await made.#awaitReady();
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(folder: string) {
    this.#folder = folder;
    this.#up = spawn(GOALSTATE, ["up", "--hypervisor", "qemu", "--data", this.#data], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  }

  /** From the start of the command to the milestone `ready`. The tenant is deleted afterwards. */
  async boot(): Promise<Boot> {
    const beganMs = Date.now();
    await this.#run("deploy", join(this.#folder, "tenant.yaml"));
    const store = this.#store!;
    try {
      for (;;) {
        const timeline = await createBootTrace({ store, now: Date.now }).timeline("byfabric.web_0");
        const times = new Map<string, number>(timeline.map((row) => [row.milestone, row.atMs]));
        if (times.has("ready")) return { beganMs, times };
        if (Date.now() - beganMs > READY_TIMEOUT_MS) {
          throw new Error(`not Ready; it reached ${[...times.keys()]}`);
        }
        await sleep(LOOK_MS);
      }
    } finally {
      await this.#run("delete", "byfabric", "--wait");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store?.[Symbol.asyncDispose]();
    if (this.#up.exitCode === null && this.#up.signalCode === null) {
      const closed = once(this.#up, "close");
      this.#up.kill();
      await closed;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #data(): string {
    return join(this.#folder, "data");
  }

  async #awaitReady(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#up.on("error", reject);
    this.#up.on("close", (code) => reject(new Error(`goalstate up ended with ${code}`)));
    createInterface(this.#up.stdout!).on("line", (line) => {
      if (line === "ready") resolve();
    });
    promise.catch(() => undefined); // awaited here; afterwards we end it
    await promise;
    this.#store = openRemoteStore({ openPath: () => openSocketPath(this.#data, "store.sock") });
  }

  async #run(...args: string[]): Promise<void> {
    await promisify(execFile)(GOALSTATE, [...args, "--data", this.#data]);
  }
}
