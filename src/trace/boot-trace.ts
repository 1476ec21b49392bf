/**
 * Records which steps a boot has reached. The store keeps every milestone once per boot; memory
 * keeps one bit per milestone, so that telling it again (each DHCP reply does) costs a Map look-up.
 */
import { z } from "zod";
import { MILESTONES, type Milestone, milestoneIndex } from "../model/milestone.ts";
import type { FabricStore, KeyValue, Operation } from "../store/index.ts";
import { deleteKeys, readDocument } from "../store/index.ts";
import {
  bootPrefix,
  containerPrefix,
  findTraceKey,
  TRACE_PREFIX,
  traceKey,
} from "./milestone-keys.ts";

/** Boots of one container that stay in the store; older ones are deleted when a new one starts. */
export const BOOTS_KEPT = 5;

/** Most keys deleted at once, so that the transaction stays within the store's limit. */
const DELETES_MAX = 80;

/** What was seen that proves the milestone: addresses, identifiers, versions. */
export type Evidence = Readonly<Record<string, string | number>>;

/** One step of one boot. */
export interface TimelineEntry {
  readonly milestone: Milestone;
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number;
  /** Since the boot started. */
  readonly sinceStartMs: number;
  readonly evidence: Evidence;
}

/** A milestone and what proves it. */
export interface Reached {
  readonly milestone: Milestone;
  readonly evidence: Evidence;
}

/** A step as {@link BootTrace.follow} gives it. */
export interface FollowedMilestone extends TimelineEntry {
  readonly container: string;
  /** 1 for the first boot of the container. */
  readonly boot: number;
}

/** Options of {@link createBootTrace}. */
export interface BootTraceOptions {
  readonly store: FabricStore;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Told when a milestone cannot be persisted; it is tried again when it is reached again. */
  readonly onError?: (error: unknown, container: string) => void;
}

/** See {@link createBootTrace}. */
export interface BootTrace {
  /**
   * Opens a new boot: all milestones can be reached again. From the call on, {@link
   * BootTrace.reach} means the new boot; the promise says its number (or undefined, after
   * `onError`) once it is stored.
   *
   * @param reached - milestones that it begins with, stored with it in one write
   */
  startBoot(container: string, reached?: readonly Reached[]): Promise<number | undefined>;
  /**
   * Takes up a boot that another process started: from the call on, {@link BootTrace.reach} means this one. Of the
   * present boot's number, it does nothing. Resolves when memory knows what the boot has reached; a failure goes to
   * `onError`.
   */
  joinBoot(container: string, boot: number): Promise<void>;
  /** The furthest milestone of the present boot, as far as memory knows. */
  furthest(container: string): Milestone | undefined;
  /**
   * Records a milestone of the present boot, in the background. A repeat does nothing. Never
   * throws.
   */
  reach(container: string, milestone: Milestone, evidence: Evidence): void;
  /**
   * True if {@link BootTrace.reach} would do nothing: lets a hot path skip building the evidence.
   */
  hasReached(container: string, milestone: Milestone): boolean;
  /** The present boot so far, in order of time. Rejects as the store. */
  timeline(container: string): Promise<readonly TimelineEntry[]>;
  /**
   * Milestones from now on, of one container or of all, until `signal` aborts. Fails as
   * FabricStore.watch.
   */
  follow(container: string | undefined, signal: AbortSignal): AsyncIterable<FollowedMilestone>;
  /**
   * Drops what memory knows of a container that this process has no more to do with: if it comes back, it may be
   * another one of this name, whose boots are numbered from 1 again.
   */
  leave(container: string): void;
  /** Drops what memory knows of a container that was deleted, and deletes its milestones. */
  forget(container: string): Promise<void>;
  /** Resolves when everything reached so far is stored or was reported to `onError`. */
  settled(): Promise<void>;
}

/** The boot in memory. `stored` is known later: after a restart it must be read first. */
interface Boot {
  /** Bit n is set if MILESTONES[n] was reached. */
  reached: number;
  /** Absent until it is known. */
  number?: number;
  readonly stored: Promise<StoredBoot | undefined>;
}

interface StoredBoot {
  readonly number: number;
  readonly startedAtMs: number;
}

const milestoneSchema = z.strictObject({
  atMs: z.number(),
  sinceStartMs: z.number(),
  evidence: z.record(z.string(), z.union([z.string(), z.number()])),
});

/**
 * Creates the recorder over `store`. After a restart it continues the boots that the store knows.
 *
 * @example
 * const onError = (err: unknown) => log.warn({ err }, "milestone not stored");
 * const trace = createBootTrace({ store, now: Date.now, onError });
 * trace.reach("web_0", "dhcp-ack", { address: "10.77.0.4" });
 */
export function createBootTrace(options: BootTraceOptions): BootTrace {
  return new StoreBootTrace(options);
}

class StoreBootTrace implements BootTrace {
  readonly #store: FabricStore;
  readonly #now: () => number;
  readonly #onError: (error: unknown, container: string) => void;
  readonly #boots = new Map<string, Boot>();
  readonly #pending = new Set<Promise<unknown>>();

  constructor({ store, now, onError }: BootTraceOptions) {
    this.#store = store;
    this.#now = now;
    this.#onError = onError ?? (() => {});
  }

  async startBoot(
    container: string,
    reached: readonly Reached[] = [],
  ): Promise<number | undefined> {
    const atMs = this.#now();
    const previous = this.#boots.get(container)?.stored;
    const stored = this.#guard(container, async () => {
      await previous;
      return this.#storeStart(container, atMs, reached);
    });
    const boot = this.#begin(container, stored);
    for (const { milestone } of reached) boot.reached |= 1 << milestoneIndex(milestone);
    return (await stored)?.number;
  }

  async joinBoot(container: string, number: number): Promise<void> {
    if (this.#boots.get(container)?.number === number) return;
    const atMs = this.#now();
    const reached = { bits: 0 };
    const stored = this.#guard(container, async () => {
      const { kvs } = await this.#store.list(bootPrefix(container, number));
      for (const { key } of kvs) {
        const step = findTraceKey(key)?.step ?? "start";
        if (step !== "start") reached.bits |= 1 << milestoneIndex(step);
      }
      const start = kvs.find(({ key }) => key === startKey(container, number));
      // A start that was not stored, or is too old to be kept: times count from here.
      const startedAtMs = start === undefined ? atMs : readDocument(start, milestoneSchema).atMs;
      return { number, startedAtMs };
    });
    const boot = this.#begin(container, stored, number);
    await stored;
    boot.reached |= reached.bits;
  }

  furthest(container: string): Milestone | undefined {
    const reached = this.#boots.get(container)?.reached ?? 0;
    return MILESTONES.findLast((_milestone, index) => (reached & (1 << index)) !== 0);
  }

  reach(container: string, milestone: Milestone, evidence: Evidence): void {
    const boot = this.#boots.get(container) ?? this.#adopt(container);
    const bit = 1 << milestoneIndex(milestone);
    if ((boot.reached & bit) !== 0) return;
    boot.reached |= bit;
    this.#record(boot, container, milestone, evidence);
  }

  hasReached(container: string, milestone: Milestone): boolean {
    const reached = this.#boots.get(container)?.reached ?? 0;
    return (reached & (1 << milestoneIndex(milestone))) !== 0;
  }

  async timeline(container: string): Promise<readonly TimelineEntry[]> {
    const { kvs } = await this.#store.list(containerPrefix(container));
    const boot = latestBoot(kvs);
    const entries = kvs.map(followed).filter((entry) => entry?.boot === boot);
    return entries
      .filter((entry) => entry !== undefined)
      .map(({ milestone, atMs, sinceStartMs, evidence }) => ({
        ...{ milestone, atMs, sinceStartMs, evidence },
      }))
      .sort((a, b) => a.atMs - b.atMs); // stable: equal times stay in boot order
  }

  async *follow(
    container: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<FollowedMilestone, void, undefined> {
    const prefix = container === undefined ? TRACE_PREFIX : containerPrefix(container);
    const { rev } = await this.#store.status();
    for await (const item of this.#store.watch(prefix, { from: rev + 1, signal })) {
      if (item.kind === "progress") continue;
      for (const event of item.events) {
        const entry = event.kind === "put" ? followed(event.kv) : undefined;
        if (entry !== undefined) yield entry;
      }
    }
  }

  leave(container: string): void {
    this.#boots.delete(container);
  }

  async forget(container: string): Promise<void> {
    await this.#boots.get(container)?.stored;
    this.#boots.delete(container);
    await Promise.all(this.#pending); // not what others reach meanwhile
    const { kvs } = await this.#store.list(containerPrefix(container));
    await deleteKeys(
      this.#store,
      kvs.map(({ key }) => key),
    );
  }

  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /** A container that was booting before this process started, or one that nobody started. */
  #adopt(container: string): Boot {
    const atMs = this.#now();
    const stored = this.#guard(container, async () => {
      const { kvs } = await this.#store.list(containerPrefix(container));
      const number = latestBoot(kvs);
      const start = kvs.find((kv) => kv.key === startKey(container, number));
      if (start === undefined) return this.#storeStart(container, atMs, []);
      return { number, startedAtMs: readDocument(start, milestoneSchema).atMs };
    });
    return this.#begin(container, stored);
  }

  #begin(container: string, stored: Boot["stored"], number?: number): Boot {
    const boot: Boot = { reached: 0, stored, ...(number !== undefined && { number }) };
    this.#boots.set(container, boot);
    void stored.then((known) => {
      if (known !== undefined) boot.number = known.number;
    });
    return boot;
  }

  async #storeStart(
    container: string,
    atMs: number,
    reached: readonly Reached[],
  ): Promise<StoredBoot> {
    const { kvs } = await this.#store.list(containerPrefix(container));
    const number = latestBoot(kvs) + 1;
    const old = kvs.filter((kv) => (findTraceKey(kv.key)?.boot ?? 0) <= number - BOOTS_KEPT);
    const key = startKey(container, number);
    const at = { atMs, sinceStartMs: 0 };
    await this.#store.txn({
      compare: [{ key, modRev: 0 }],
      success: [
        { kind: "put", key, value: { ...at, evidence: {} } },
        ...reached.map(({ milestone, evidence }): Operation => {
          const step = traceKey({ container, boot: number, step: milestone });
          return { kind: "put", key: step, value: { ...at, evidence } };
        }),
        ...old.slice(0, DELETES_MAX).map(deleteOf),
      ],
    });
    return { number, startedAtMs: atMs };
  }

  #record(boot: Boot, container: string, milestone: Milestone, evidence: Evidence): void {
    const atMs = this.#now();
    void this.#guard(container, async () => {
      try {
        const stored = await boot.stored;
        if (stored === undefined) this.#abandon(container, boot);
        else await this.#storeMilestone(stored, { container, milestone, atMs, evidence });
      } catch (error) {
        boot.reached &= ~(1 << milestoneIndex(milestone));
        throw error;
      }
    });
  }

  /** The boot could not be stored (which was reported): the next milestone starts over. */
  #abandon(container: string, boot: Boot): void {
    if (this.#boots.get(container) === boot) this.#boots.delete(container);
  }

  async #storeMilestone(
    boot: StoredBoot,
    reached: { container: string; milestone: Milestone; atMs: number; evidence: Evidence },
  ): Promise<void> {
    const { container, milestone, atMs, evidence } = reached;
    const key = traceKey({ container, boot: boot.number, step: milestone });
    const value = { atMs, sinceStartMs: atMs - boot.startedAtMs, evidence };
    // The comparison makes it once per boot even after a restart, when memory has forgotten.
    await this.#store.txn({
      compare: [{ key, modRev: 0 }],
      success: [{ kind: "put", key, value }],
    });
  }

  /**
   * Runs `work` in the background: an error goes to `onError`, and {@link BootTrace.settled} waits
   * for it.
   */
  #guard<T>(container: string, work: () => Promise<T>): Promise<T | undefined> {
    const running = work().catch((error: unknown) => {
      this.#onError(error, container);
      return undefined;
    });
    this.#pending.add(running);
    return running.finally(() => this.#pending.delete(running));
  }
}

function startKey(container: string, boot: number): string {
  return `${bootPrefix(container, boot)}00-start`;
}

function deleteOf(kv: KeyValue): Operation {
  return { kind: "delete", key: kv.key };
}

/** 0 if there was none. Keys are in order, so the last one belongs to the latest boot. */
function latestBoot(kvs: readonly KeyValue[]): number {
  const last = kvs.at(-1);
  return last === undefined ? 0 : (findTraceKey(last.key)?.boot ?? 0);
}

/**
 * The milestone in a stored document; undefined for starts and for keys that this version does not
 * know.
 */
function followed(kv: KeyValue): FollowedMilestone | undefined {
  const key = findTraceKey(kv.key);
  if (key === undefined || key.step === "start") return undefined;
  const { container, boot, step } = key;
  return { container, boot, milestone: step, ...readDocument(kv, milestoneSchema) };
}
