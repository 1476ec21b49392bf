/**
 * Which blocks of our own source ran, from V8's precise coverage. Reading it takes milliseconds and slows the code down, so
 * it is read once for a batch of inputs, and only in the first part of a run; a batch that reached something new is run
 * again in halves until the inputs that did are found.
 */

import { Session } from "node:inspector/promises";

const OURS = /\/src\/(dhcp|net|wds|nm|model)\//;

export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();

  /** Blocks that were reached so far. */
  get blocks(): number {
    return this.#seen.size;
  }

  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post("Profiler.enable");
    const mode = { callCount: true, detailed: true };
    await this.#session.post("Profiler.startPreciseCoverage", mode);
  }

  /** Blocks that ran since the last call and never before. Does not remember them. */
  async takeNew(): Promise<string[]> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage");
    const found: string[] = [];
    for (const { url, functions } of result) {
      if (!OURS.test(url)) continue;
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          if (count === 0) continue;
          const block = `${url}:${startOffset}-${endOffset}`;
          if (!this.#seen.has(block)) found.push(block);
        }
      }
    }
    return found;
  }

  remember(blocks: readonly string[]): void {
    for (const block of blocks) this.#seen.add(block);
  }

  async stop(): Promise<void> {
    await this.#session.post("Profiler.stopPreciseCoverage");
    this.#session.disconnect();
  }
}
