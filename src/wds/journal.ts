/**
 * The decision journal: for the last exchanges of each client, what every plugin decided and why, and what became of
 * it. Answers "why did this machine get no address?" after the fact, without a debug log.
 *
 * Clients that the chain knows and strangers have memory of their own, so that a flood of made-up addresses washes out
 * nobody but other strangers. Equal outcomes of a client are one entry with a count. An event costs a constant time, and
 * nothing is allocated for it unless a text is met for the first time.
 */

import {
  type Assignment,
  type DecisionStep,
  type DropEvent,
  type ExchangeEvent,
  isExchangeEvent,
} from "../dhcp/index.ts";
import type { Ipv4Address } from "../model/ipv4-address.ts";
import type { MacAddress } from "../model/mac-address.ts";
import { JournalTexts } from "./journal-texts.ts";
import { MacTable } from "./mac-table.ts";

/** Most known clients, and most strangers, that are remembered; then who was silent for long goes. */
export const JOURNAL_CLIENTS_MAX = 65_536;
export const JOURNAL_STRANGERS_MAX = 4096;
/** Most different outcomes of one client; a new one takes the place of the oldest. */
export const JOURNAL_ENTRIES_MAX = 16;

/** What became of a request. */
export type JournalOutcome =
  | {
      readonly kind: "reply";
      /** For instance `DHCPOFFER`. */
      readonly type: string;
      /** The address that was given; absent in a DHCPNAK and in the answer to DHCPINFORM. */
      readonly address?: Ipv4Address;
      readonly nakReason?: string;
    }
  | { readonly kind: "drop"; readonly reason: string };

/** One or more exchanges of a client that went the same way. */
export interface JournalEntry {
  /** When it happened first and last, by the journal's clock. */
  readonly firstMs: number;
  readonly lastMs: number;
  readonly count: number;
  /** Transaction id of the last one. */
  readonly xid: number;
  /** The interface that it was seen on. */
  readonly ifindex: number;
  /** Value of option 53; 0 if it was not read that far, or is absent. */
  readonly requestType: number;
  /** The client's state as its message showed it. */
  readonly requestClass?: string;
  /** The address that the client named. */
  readonly wanted?: Ipv4Address;
  /** The relay agent that it came through. */
  readonly giaddr?: Ipv4Address;
  readonly outcome: JournalOutcome;
  /** What each plugin said, in order; empty if none was asked. */
  readonly steps: readonly DecisionStep[];
}

/** What the journal has of one client. */
export interface JournalExplanation {
  readonly mac: MacAddress;
  /** True if the chain assigned it an address since the journal began. */
  readonly isKnown: boolean;
  /** The container that answers to it named last. */
  readonly container?: string;
  /** Newest first, at most {@link JOURNAL_ENTRIES_MAX}. */
  readonly entries: readonly JournalEntry[];
}

/** What a journal needs. */
export interface JournalOptions {
  /** Milliseconds; entries carry it. */
  readonly now: () => number;
  /** Any integer that clients do not know; see {@link MacTable}. */
  readonly seed: number;
  /** Default {@link JOURNAL_CLIENTS_MAX} and {@link JOURNAL_STRANGERS_MAX}. */
  readonly clients?: number;
  readonly strangers?: number;
}

/** Remembers exchanges. One journal may serve several servers. */
export class Journal {
  readonly #now: () => number;
  readonly #texts = new JournalTexts();
  readonly #clients: Book;
  readonly #strangers: Book;
  readonly #draft = new Uint32Array(ENTRY_WORDS);

  constructor({ now, seed, clients, strangers }: JournalOptions) {
    this.#now = now;
    this.#clients = new Book(clients ?? JOURNAL_CLIENTS_MAX, seed);
    this.#strangers = new Book(strangers ?? JOURNAL_STRANGERS_MAX, seed);
  }

  /** Takes note of what became of a request. A frame that was not read as far as its sender is left out. */
  observe(event: ExchangeEvent | DropEvent): void {
    const mac = event.chaddr !== 0 ? event.chaddr : event.sourceMac;
    if (mac === 0) return;
    const isKnown = wasAssigned(event) || this.#clients.table.find(mac) >= 0;
    this.#fillDraft(event);
    const book = isKnown ? this.#clients : this.#strangers;
    const slot = book.write(mac, this.#draft, this.#now());
    if (isExchangeEvent(event) && event.assignment !== undefined) {
      book.keepAssignment(slot, event.assignment);
    }
  }

  /** What is remembered of a client; undefined if nothing is. */
  explain(mac: MacAddress): JournalExplanation | undefined {
    const isKnown = this.#clients.table.find(mac) >= 0;
    const written = [...this.#clients.read(mac), ...this.#strangers.read(mac)];
    if (written.length === 0) return undefined;
    const container = this.#clients.containerOf(mac);
    const entries = written
      .sort((a, b) => b.lastMs - a.lastMs || (b.sequence - a.sequence) | 0)
      .slice(0, JOURNAL_ENTRIES_MAX)
      .map((entry) => this.#entryOf(entry));
    return { mac, isKnown, ...(container !== undefined && { container }), entries };
  }

  /** Who was heard last, newest first: known clients, or strangers. */
  recent(who: "clients" | "strangers", limit: number): MacAddress[] {
    return (who === "clients" ? this.#clients : this.#strangers).recent(limit);
  }

  #fillDraft(event: ExchangeEvent | DropEvent): void {
    const draft = this.#draft;
    const texts = this.#texts;
    const isReply = isExchangeEvent(event);
    draft[WORD.xid] = event.xid;
    draft[WORD.ifindex] = event.ifindex;
    draft[WORD.wanted] = event.wanted;
    draft[WORD.giaddr] = event.giaddr;
    draft[WORD.requestType] = event.requestType;
    draft[WORD.requestClass] = texts.idOf(event.requestClass);
    draft[WORD.address] = isReply ? event.address : 0;
    draft[WORD.reply] = isReply ? texts.idOf(event.replyType) : 0;
    draft[WORD.reason] = texts.idOf(isReply ? event.nakReason : event.reason);
    draft[WORD.trail] = texts.idOfTrail(event.trail, event.requestType);
  }

  #entryOf({ words, firstMs, lastMs }: Written): JournalEntry {
    const texts = this.#texts;
    const word = (index: number): number => words[index]!;
    const requestClass = texts.textOf(word(WORD.requestClass));
    const wanted = word(WORD.wanted) as Ipv4Address;
    const giaddr = word(WORD.giaddr) as Ipv4Address;
    return {
      ...{ firstMs, lastMs, count: word(WORD.count), xid: word(WORD.xid) },
      ifindex: word(WORD.ifindex),
      requestType: word(WORD.requestType),
      ...(requestClass !== undefined && { requestClass }),
      ...(wanted !== 0 && { wanted }),
      ...(giaddr !== 0 && { giaddr }),
      outcome: this.#outcomeOf(words),
      steps: texts.stepsOf(word(WORD.trail)),
    };
  }

  #outcomeOf(words: Uint32Array): JournalOutcome {
    const type = this.#texts.textOf(words[WORD.reply]!);
    const reason = this.#texts.textOf(words[WORD.reason]!);
    if (type === undefined) return { kind: "drop", reason: reason ?? "other" };
    const address = words[WORD.address] as Ipv4Address;
    return {
      ...{ kind: "reply", type },
      ...(address !== 0 && { address }),
      ...(reason !== undefined && { nakReason: reason }),
    };
  }
}

function wasAssigned({ trail }: ExchangeEvent | DropEvent): boolean {
  const { verdicts } = trail;
  for (let index = 0; index < trail.length && index < verdicts.length; index++) {
    if (verdicts[index] === "assigned") return true;
  }
  return false;
}

/** An entry is one cache line: two times of eight octets, then words of four. */
const ENTRY_WORDS = 16;
const LAST_TIME = 0;
const FIRST_TIME = 1;
const WORD = {
  count: 4,
  xid: 5,
  sequence: 6,
  /** From here on, two entries are equal if all words are. */
  ifindex: 7,
  wanted: 8,
  giaddr: 9,
  address: 10,
  requestType: 11,
  requestClass: 12,
  reply: 13,
  reason: 14,
  trail: 15,
} as const;

/** An entry, copied out. */
interface Written {
  readonly firstMs: number;
  readonly lastMs: number;
  readonly sequence: number;
  readonly words: Uint32Array;
}

/**
 * The entries of many clients: {@link JOURNAL_ENTRIES_MAX} planes with one entry of each client. Most clients have two or
 * three different outcomes, so memory for the other planes is never touched, and the system never gives it.
 */
class Book {
  readonly table: MacTable;
  readonly #assignments: (Assignment | undefined)[];
  readonly #used: Uint8Array;
  readonly #words: Uint32Array;
  readonly #times: Float64Array;
  #sequence = 0;

  constructor(capacity: number, seed: number) {
    this.table = new MacTable(capacity, seed);
    this.#assignments = new Array<Assignment | undefined>(capacity).fill(undefined);
    this.#used = new Uint8Array(capacity);
    const buffer = new ArrayBuffer(capacity * JOURNAL_ENTRIES_MAX * ENTRY_WORDS * 4);
    this.#words = new Uint32Array(buffer);
    this.#times = new Float64Array(buffer);
  }

  /** Counts one more of an equal entry, or writes a new one. Returns the client's slot. */
  write(mac: MacAddress, draft: Uint32Array, nowMs: number): number {
    const slot = this.table.touch(mac);
    if (this.table.wasAdded) {
      this.#used[slot] = 0;
      this.#assignments[slot] = undefined;
    }
    this.#sequence = (this.#sequence + 1) >>> 0;
    const words = this.#words;
    const equal = this.#findEqual(slot, draft);
    const entry = equal < 0 ? this.#place(slot) : equal;
    const start = entry * ENTRY_WORDS;
    if (equal < 0) {
      for (let word = WORD.ifindex; word < ENTRY_WORDS; word++) words[start + word] = draft[word]!;
      this.#times[entry * (ENTRY_WORDS / 2) + FIRST_TIME] = nowMs;
      words[start + WORD.count] = 0;
    }
    words[start + WORD.count]! += 1;
    words[start + WORD.xid] = draft[WORD.xid]!;
    words[start + WORD.sequence] = this.#sequence;
    this.#times[entry * (ENTRY_WORDS / 2) + LAST_TIME] = nowMs;
    return slot;
  }

  read(mac: MacAddress): Written[] {
    const slot = this.table.find(mac);
    if (slot < 0) return [];
    return Array.from({ length: this.#used[slot]! }, (_, index) => {
      const entry = this.#entryAt(slot, index);
      const words = this.#words.slice(entry * ENTRY_WORDS, (entry + 1) * ENTRY_WORDS);
      const times = new Float64Array(words.buffer);
      return {
        words,
        firstMs: times[FIRST_TIME]!,
        lastMs: times[LAST_TIME]!,
        sequence: words[WORD.sequence]!,
      };
    });
  }

  /** For its container's name, which may be made only when it is read. */
  keepAssignment(slot: number, assignment: Assignment): void {
    const kept = this.#assignments[slot];
    const isSame = kept?.address === assignment.address && kept.profile === assignment.profile;
    // One that is made anew for each request is better forgotten at once.
    if (!isSame) this.#assignments[slot] = assignment;
  }

  containerOf(mac: MacAddress): string | undefined {
    const slot = this.table.find(mac);
    return slot < 0 ? undefined : this.#assignments[slot]?.container;
  }

  /** The addresses that were heard last, newest first. */
  recent(limit: number): MacAddress[] {
    const best: { slot: number; lastMs: number }[] = [];
    for (let slot = 0; slot < this.table.size; slot++) {
      const lastMs = this.#lastMsOf(slot);
      if (best.length >= limit && lastMs <= best.at(-1)!.lastMs) continue;
      const place = best.findIndex((other) => other.lastMs < lastMs);
      best.splice(place < 0 ? best.length : place, 0, { slot, lastMs });
      if (best.length > limit) best.pop();
    }
    return best.map(({ slot }) => this.table.keyOf(slot));
  }

  #lastMsOf(slot: number): number {
    let last = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < this.#used[slot]!; index++) {
      const entry = this.#entryAt(slot, index);
      last = Math.max(last, this.#times[entry * (ENTRY_WORDS / 2) + LAST_TIME]!);
    }
    return last;
  }

  #entryAt(slot: number, index: number): number {
    return index * this.table.capacity + slot;
  }

  #findEqual(slot: number, draft: Uint32Array): number {
    const used = this.#used[slot]!;
    for (let index = 0; index < used; index++) {
      const entry = this.#entryAt(slot, index);
      if (this.#isEqual(entry, draft)) return entry;
    }
    return -1;
  }

  #isEqual(entry: number, draft: Uint32Array): boolean {
    const words = this.#words;
    const start = entry * ENTRY_WORDS;
    // Backwards: trail, reason and reply tell most entries apart.
    for (let word = ENTRY_WORDS - 1; word >= WORD.ifindex; word--) {
      if (words[start + word] !== draft[word]) return false;
    }
    return true;
  }

  /** A free entry of the client, else its oldest. */
  #place(slot: number): number {
    const used = this.#used[slot]!;
    if (used < JOURNAL_ENTRIES_MAX) {
      this.#used[slot] = used + 1;
      return this.#entryAt(slot, used);
    }
    let oldest = this.#entryAt(slot, 0);
    for (let index = 1; index < used; index++) {
      const entry = this.#entryAt(slot, index);
      if (this.#ageOf(entry) > this.#ageOf(oldest)) oldest = entry;
    }
    return oldest;
  }

  /** In events of this book, modulo 2^32. */
  #ageOf(entry: number): number {
    return (this.#sequence - this.#words[entry * ENTRY_WORDS + WORD.sequence]!) >>> 0;
  }
}
