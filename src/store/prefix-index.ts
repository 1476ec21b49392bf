/** Finds the prefixes that a key has among many, without looking at the others. */

/**
 * Members by prefix. A look-up costs one map access for each length that some prefix has, whatever the number of
 * prefixes; prefixes of one kind (`/on/node-17/nics/`) have few lengths.
 */
export class PrefixIndex<T> {
  readonly #byPrefix = new Map<string, Set<T>>();
  /** How many different prefixes have a length. */
  readonly #lengths = new Map<number, number>();
  #size = 0;

  /** Members in it. */
  get size(): number {
    return this.#size;
  }

  /** Adds a member that is not in it. */
  add(prefix: string, member: T): void {
    let members = this.#byPrefix.get(prefix);
    if (members === undefined) {
      members = new Set();
      this.#byPrefix.set(prefix, members);
      this.#lengths.set(prefix.length, (this.#lengths.get(prefix.length) ?? 0) + 1);
    }
    members.add(member);
    this.#size++;
  }

  delete(prefix: string, member: T): void {
    const members = this.#byPrefix.get(prefix);
    if (members === undefined || !members.delete(member)) return;
    this.#size--;
    if (members.size > 0) return;
    this.#byPrefix.delete(prefix);
    const left = this.#lengths.get(prefix.length)! - 1;
    if (left > 0) this.#lengths.set(prefix.length, left);
    else this.#lengths.delete(prefix.length);
  }

  /** Every member whose prefix `key` has. */
  *matching(key: string): Generator<T, void, undefined> {
    for (const length of this.#lengths.keys()) {
      if (length > key.length) continue;
      const members = this.#byPrefix.get(key.slice(0, length));
      if (members !== undefined) yield* members;
    }
  }

  /** Every member. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (const members of this.#byPrefix.values()) yield* members;
  }
}
