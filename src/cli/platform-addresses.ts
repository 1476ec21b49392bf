/** The platform's addresses on interfaces that are not ours: added if missing, and what was added is taken away. */

import { asDocument } from "../model/documents.ts";
import { formatIpv4, METADATA_ADDRESS, WIRE_SERVER_ADDRESS } from "../model/ipv4-address.ts";
import { ipBatch, type Link, listLinks } from "../net/iproute.ts";
import { deleteKeys, type FabricStore, TXN_OPS_MAX } from "../store/index.ts";

const ADDRESSES = [WIRE_SERVER_ADDRESS, METADATA_ADDRESS].map(
  (address) => `${formatIpv4(address)}/32`,
);

const RECORDS = "/serve/";

/** What this process added, written before it was added: a killed one leaves it, and the next start adopts it. */
const keyOf = (name: string) => `${RECORDS}${encodeURIComponent(name)}/addresses`;
const nameOf = (key: string) => decodeURIComponent(key.split("/")[2] ?? "");

/** An interface that shall have the addresses. */
export type AddressHolder = Pick<Link, "ifindex" | "name">;

/**
 * Reads what a killed run left on record; {@link PlatformAddresses.hold} then adopts it where it is wanted, and takes it
 * away elsewhere.
 */
export async function openPlatformAddresses(store: FabricStore): Promise<PlatformAddresses> {
  const { kvs } = await store.list(RECORDS);
  const records = kvs
    .filter(({ key }) => key === keyOf(nameOf(key)))
    .map(({ key, value }) => [nameOf(key), asDocument<string[]>(value)] as const);
  return new PlatformAddresses(store, new Map(records));
}

/** Keeps the addresses on the interfaces that it is told. Disposing removes those that we, or a killed run, added. */
export class PlatformAddresses implements AsyncDisposable {
  readonly #store: FabricStore;
  /** What is on record: by the interface's name, the addresses that are ours to remove. */
  #records: ReadonlyMap<string, readonly string[]>;
  /** The name under which an interface's record stands. */
  #names = new Map<number, string>();
  #work: Promise<void> = Promise.resolve();

  /** Use {@link openPlatformAddresses}. */
  constructor(store: FabricStore, records: ReadonlyMap<string, readonly string[]>) {
    this.#store = store;
    this.#records = records;
  }

  /**
   * Sees to it that these interfaces have the addresses, and that no other has them from us. One that is gone meanwhile
   * is passed over. Calls are carried out one after the other; a failed one is mended by the next.
   *
   * @throws FabricError ERR_TOOL_FAILED after everything that could be done was done
   */
  hold(holders: readonly AddressHolder[]): Promise<void> {
    const work = this.#work.then(() => this.#apply(holders));
    this.#work = work.catch(() => undefined); // the caller is told
    return work;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.hold([]);
  }

  async #apply(holders: readonly AddressHolder[]): Promise<void> {
    const links = new Map((await listLinks()).map((link) => [link.ifindex, link]));
    const wanted = holders.flatMap(({ ifindex }) => links.get(ifindex) ?? []);
    const missing = (link: Link) => ADDRESSES.filter((a) => !link.addresses.includes(a));
    const next = new Map(
      wanted.map((link) => {
        const adopted = this.#records.get(this.#names.get(link.ifindex) ?? link.name) ?? [];
        const added = missing(link);
        return [link.name, ADDRESSES.filter((a) => added.includes(a) || adopted.includes(a))];
      }),
    );
    const removals = this.#removals([...links.values()], wanted);
    const lines = wanted.flatMap((link) =>
      missing(link).map((address) => `addr add ${address} dev ${link.name}`),
    );
    const names = new Map(wanted.map(({ ifindex, name }) => [ifindex, name]));
    const puts = [...next].filter(([name, ours]) => !sameList(ours, this.#records.get(name)));
    await this.#record(puts);
    const stale = [...this.#records.keys()].filter((name) => !next.has(name));
    this.#records = next;
    this.#names = names;
    await ipBatch(undefined, [...removals, ...lines], "go-on");
    await deleteKeys(this.#store, stale.map(keyOf));
  }

  /** Takes ours from interfaces that are there and no longer wanted; their owner may have taken some already. */
  #removals(links: readonly Link[], wanted: readonly Link[]): string[] {
    const keep = new Set(wanted.map(({ ifindex }) => ifindex));
    return links.flatMap(({ ifindex, name, addresses }) => {
      if (keep.has(ifindex)) return [];
      const ours = this.#records.get(this.#names.get(ifindex) ?? name) ?? [];
      return ours
        .filter((address) => addresses.includes(address))
        .map((address) => `addr del ${address} dev ${name}`);
    });
  }

  async #record(entries: readonly (readonly [name: string, ours: readonly string[]])[]) {
    for (let start = 0; start < entries.length; start += TXN_OPS_MAX) {
      const page = entries.slice(start, start + TXN_OPS_MAX);
      const puts = page.map(([name, value]) => ({ kind: "put" as const, key: keyOf(name), value }));
      await this.#store.txn({ success: puts });
    }
  }
}

function sameList(a: readonly string[], b: readonly string[] | undefined): boolean {
  return b !== undefined && a.join() === b.join();
}
