/** A map that forgets what was not used for longest. */
export class BoundedMap<V> {
  readonly #values = new Map<string, V>();
  readonly #max: number;

  /** @param max - entries */
  constructor(max: number) {
    this.#max = max;
  }

  /** Finds a value, which is then the one used last. */
  find(key: string): V | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    this.#values.delete(key);
    this.#values.set(key, value);
    return value;
  }

  /** Keeps a value, and forgets another one if there are too many. */
  keep(key: string, value: V): void {
    this.#values.delete(key);
    this.#values.set(key, value);
    for (const oldest of this.#values.keys()) {
      if (this.#values.size <= this.#max) return;
      this.#values.delete(oldest);
    }
  }

  forget(key: string): void {
    this.#values.delete(key);
  }
}
