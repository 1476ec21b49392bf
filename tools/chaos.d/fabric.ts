/** The processes of a fabric, kept running as a supervisor would: what ends is started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Supervised } from "./supervised.ts";

const GOALSTATE = join(import.meta.dirname, "../../bin/goalstate");
/** Before a process that ended by itself is started again. */
const AGAIN_MS = 300;
const STOP_MS = 15_000;

export interface FabricOptions {
  /** Where `fabric/` (the data folder) and `logs/` go. */
  readonly folder: string;
  readonly nodes: readonly string[];
  readonly ttlSeconds: number;
  /** `apart`: control and each node are started here; `up`: `goalstate up` starts the nodes. */
  readonly manner: "apart" | "up";
  readonly say: (text: string) => void;
}

/** One process that is kept running. */
export interface Kept {
  readonly name: string;
  /** Undefined between its end and its next start. */
  readonly pid: number | undefined;
  /** It has said that it is ready since it was started last. */
  readonly isReady: boolean;
  /** Ends with exit code that nobody asked for. */
  readonly ownEnds: number;
  /** Sends SIGKILL; it is started again after `downMs`. */
  kill(downMs: number): void;
  /** The longest time, in milliseconds, from an end to `ready` since this was last called; counting while it lasts. */
  takeDowntime(): number;
}

/** A running fabric. Disposing it ends its processes; what they made on the machine stays. */
export interface Fabric extends AsyncDisposable {
  /** The data folder. */
  readonly data: string;
  readonly control: Kept;
  readonly nodes: ReadonlyMap<string, Kept>;
}

/** Starts control and nodes apart. */
export function startFabric(options: FabricOptions): Fabric {
  const { folder, ttlSeconds } = options;
  const data = join(folder, "fabric");
  const logs = join(folder, "logs");
  mkdirSync(logs, { recursive: true });
  const config = join(folder, "up.yaml");
  const fd = openSync(config, "w");
  writeSync(fd, `nodeTtlSeconds: ${ttlSeconds}\nhypervisor: netns\n`);
  const listed = options.nodes.map((name) => `{ name: ${name}, cpus: 32, memoryMib: 65536 }`);
  if (options.manner === "up") writeSync(fd, `nodes: [${listed.join(", ")}]\n`);
  closeSync(fd);
  const keep = (name: string, args: readonly string[], before?: Keeper) => {
    const command = [GOALSTATE, ...args, "--data", data];
    return new Keeper(name, command, join(logs, `${name}.log`), options.say, before?.wasReady);
  };
  if (options.manner === "up") {
    const up = keep("up", ["up", "--config", config]);
    const nodes = options.nodes.map((node) => new Supervised(node, data));
    return {
      ...{ data, control: up, nodes: new Map(nodes.map((node) => [node.name, node])) },
      [Symbol.asyncDispose]: async () => {
        await up.end();
        for (const node of nodes) node[Symbol.dispose]();
      },
    };
  }
  const control = keep("control", ["control", "--config", config]);
  const nodes = options.nodes.map((node, index) => {
    const args = [
      ...["node", node, "--address", `100.127.0.${index + 1}/24`, "--hypervisor", "netns"],
      ...["--ttl", String(ttlSeconds), "--cpus", "32", "--memory-mib", "65536"],
    ];
    return keep(node, args, control); // its data folder must be there
  });
  return {
    data,
    control,
    nodes: new Map(nodes.map((node) => [node.name, node])),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(nodes.map((node) => node.end()));
      await control.end();
    },
  };
}

class Keeper implements Kept {
  readonly name: string;
  readonly #command: readonly string[];
  readonly #log: string;
  readonly #say: (text: string) => void;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #child: ChildProcess | undefined;
  #isReady = false;
  #ownEnds = 0;
  #downMs: number | undefined;
  #downSinceMs: number | undefined = performance.now();
  #longestMs = 0;

  readonly #firstReady = Promise.withResolvers<void>();

  constructor(
    name: string,
    command: readonly string[],
    log: string,
    say: (text: string) => void,
    after: Promise<void> = Promise.resolve(),
  ) {
    this.name = name;
    this.#command = command;
    this.#log = log;
    this.#say = say;
    this.#running = after.then(() => this.#run());
  }

  /** Resolves when it is ready for the first time. */
  get wasReady(): Promise<void> {
    return this.#firstReady.promise;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  get ownEnds(): number {
    return this.#ownEnds;
  }

  kill(downMs: number): void {
    if (this.#child === undefined) return;
    this.#downMs = downMs;
    this.#child.kill("SIGKILL");
  }

  takeDowntime(): number {
    const now = this.#downSinceMs === undefined ? 0 : performance.now() - this.#downSinceMs;
    const longest = Math.max(this.#longestMs, now);
    this.#longestMs = 0;
    return longest;
  }

  async end(): Promise<void> {
    this.#stop.abort();
    this.#firstReady.resolve(); // whoever waits for it ends too
    this.#child?.kill("SIGTERM");
    const late = setTimeout(() => this.#child?.kill("SIGKILL"), STOP_MS);
    await this.#running;
    clearTimeout(late);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const how = await this.#runOnce();
      this.#isReady = false;
      this.#downSinceMs ??= performance.now();
      if (signal.aborted) return;
      const asked = this.#downMs;
      this.#downMs = undefined;
      if (asked === undefined) {
        this.#ownEnds += 1;
        this.#say(`    ${this.name} ended by itself (${how})`);
      }
      await delay(asked ?? AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #runOnce(): Promise<string> {
    const log = openSync(this.#log, "a");
    const [program = "", ...args] = this.#command;
    writeSync(log, `--- ${new Date().toISOString()} start\n`);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", log] });
    this.#child = child;
    child.stdout?.on("data", (part: Buffer) => {
      writeSync(log, part);
      if (!part.includes("ready")) return;
      this.#isReady = true;
      this.#firstReady.resolve();
      if (this.#downSinceMs === undefined) return;
      this.#longestMs = Math.max(this.#longestMs, performance.now() - this.#downSinceMs);
      this.#downSinceMs = undefined;
    });
    const how = await new Promise<string>((resolve) => {
      child.on("close", (code, signal) => resolve(String(code ?? signal)));
      child.on("error", (error) => resolve(error.message));
    });
    writeSync(log, `--- ${new Date().toISOString()} ended: ${how}\n`);
    closeSync(log);
    this.#child = undefined;
    return how;
  }
}
