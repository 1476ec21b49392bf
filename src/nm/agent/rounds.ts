/** Work that is done again whenever something changed: never twice at once, and never for less than the newest state. */
export class Rounds {
  readonly #round: () => Promise<void>;
  #running: Promise<void> | undefined;
  #again = false;

  /** @param round - must not reject */
  constructor(round: () => Promise<void>) {
    this.#round = round;
  }

  /** Resolves when a round that began after this call has ended. */
  request(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // what comes in the same turn is one round
    while (this.#again) {
      this.#again = false;
      await this.#round();
    }
  }
}
