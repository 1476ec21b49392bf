/** A node process that `goalstate up` keeps running: found among all processes, and heard of by its log. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { listProcesses } from "../../src/compute/index.ts";
import type { Kept } from "./fabric.ts";

const LOOK_MS = 100;
const READY = /^node .* ready$/gm;

/** See the file's comment. Disposing it ends what still runs. */
export class Supervised implements Kept, Disposable {
  readonly name: string;
  /** It is `up` that sees them. */
  readonly ownEnds = 0;
  readonly #data: string;
  readonly #timer: NodeJS.Timeout;
  #readyBefore = 0;
  #keepDownUntilMs = 0;
  #downSinceMs: number | undefined = performance.now();
  #longestMs = 0;

  constructor(name: string, data: string) {
    this.name = name;
    this.#data = data;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  get pid(): number | undefined {
    const isOurs = (args: readonly string[]) => {
      const at = args.indexOf("node");
      return at > 0 && args[at + 1] === this.name && args.includes(this.#data);
    };
    return listProcesses().find(({ args }) => isOurs(args))?.pid;
  }

  get isReady(): boolean {
    return this.#downSinceMs === undefined;
  }

  kill(downMs: number): void {
    this.#readyBefore = this.#countReady();
    this.#downSinceMs ??= performance.now();
    this.#keepDownUntilMs = performance.now() + downMs;
    this.#send();
  }

  takeDowntime(): number {
    const now = this.#downSinceMs === undefined ? 0 : performance.now() - this.#downSinceMs;
    const longest = Math.max(this.#longestMs, now);
    this.#longestMs = 0;
    return longest;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#send();
  }

  #look(): void {
    if (this.#downSinceMs === undefined) return;
    if (performance.now() < this.#keepDownUntilMs) {
      this.#send();
      this.#readyBefore = this.#countReady();
      return;
    }
    if (this.#countReady() <= this.#readyBefore) return;
    this.#longestMs = Math.max(this.#longestMs, performance.now() - this.#downSinceMs);
    this.#downSinceMs = undefined;
  }

  #send(): void {
    const { pid } = this;
    if (pid === undefined) return;
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // it ended meanwhile
    }
  }

  #countReady(): number {
    try {
      const log = readFileSync(join(this.#data, "nodes", this.name, "node.log"), "utf8");
      return [...log.matchAll(READY)].length;
    } catch {
      return 0; // it was not started yet
    }
  }
}
