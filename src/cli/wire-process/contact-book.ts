/** What guests asked, on its way to the node: the first of each kind at once, the rest once a second, each kind once. */
import type { WireContainer, WireRequestKind } from "../../wireserver/index.ts";
import type { Contact } from "./messages.ts";

interface Page {
  /** The incarnation with which each kind was told last; {@link FOREIGN} for a number that is the guest's own. */
  readonly told: Map<WireRequestKind, number | undefined>;
  /** By kind: what was asked again since. */
  readonly waiting: Map<WireRequestKind, Contact>;
}

/** Stands for whatever a guest writes into its reports, or each number would be told at once. */
const FOREIGN = -1;

/** The contacts of one VNET's containers. */
export class ContactBook {
  readonly #send: (contacts: readonly Contact[]) => void;
  readonly #pages = new Map<string, Page>();

  constructor(send: (contacts: readonly Contact[]) => void) {
    this.#send = send;
  }

  note(container: WireContainer, kind: WireRequestKind, incarnation: number | undefined): void {
    const { name } = container;
    let page = this.#pages.get(name);
    if (page === undefined) {
      page = { told: new Map(), waiting: new Map() };
      this.#pages.set(name, page);
    }
    const own = incarnation === container.incarnation ? incarnation : FOREIGN;
    const mark = incarnation === undefined ? undefined : own;
    const before = page.waiting.get(kind);
    const isSame = before !== undefined && before.incarnation === incarnation;
    const contact = isSame ? before : contactOf(name, kind, incarnation);
    if (before !== undefined) page.waiting.delete(kind); // in the order of the last time
    page.waiting.set(kind, contact);
    if (page.told.has(kind) && page.told.get(kind) === mark) return;
    page.told.set(kind, mark);
    this.flush(name);
  }

  /** Tells what waits of a container, before something else is said of it. */
  flush(name: string): void {
    const page = this.#pages.get(name);
    if (page === undefined || page.waiting.size === 0) return;
    this.#send([...page.waiting.values()]);
    page.waiting.clear();
  }

  /** Tells what waits of all. */
  flushAll(): void {
    const all: Contact[] = [];
    for (const { waiting } of this.#pages.values()) {
      if (waiting.size === 0) continue;
      all.push(...waiting.values());
      waiting.clear();
    }
    if (all.length > 0) this.#send(all);
  }

  forget(name: string): void {
    this.#pages.delete(name);
  }
}

function contactOf(
  container: string,
  kind: WireRequestKind,
  incarnation: number | undefined,
): Contact {
  return { container, kind, ...(incarnation !== undefined && { incarnation }) };
}
