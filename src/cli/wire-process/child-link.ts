/** The wire process's end of the channel to its node: reports that are confirmed, questions that are answered, bounded. */
import type { GuestReport, News, Order, Question } from "./messages.ts";

/** Reports of one container that are not confirmed yet; a guest has one or two under way. */
export const REPORTS_PENDING_MAX = 8;
/** Questions and reports of all containers together. */
export const PENDING_MAX = 4_096;
/** Messages that the node has not taken off the channel. */
const UNWRITTEN_MAX = 16_384;

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: Error) => void;
}

/** Hands a message to the channel; calls back when it is on its way, or never. */
export type Post = (message: News, whenWritten: () => void) => void;

/** See the file's comment. */
export class ChildLink {
  readonly #post: Post;
  readonly #pending = new Map<number, Pending>();
  /** How many reports are pending, by VNET and container. */
  readonly #reports = new Map<string, number>();
  #lastId = 0;
  #unwritten = 0;

  constructor(post: Post) {
    this.#post = post;
  }

  /** False while the node is so far behind that what can be said later must wait. */
  get hasRoom(): boolean {
    return this.#unwritten < UNWRITTEN_MAX;
  }

  send(message: News): void {
    this.#unwritten += 1;
    this.#post(message, () => {
      this.#unwritten -= 1;
    });
  }

  /** Resolves when the node has kept it. Rejects if it could not, or too much is under way. */
  async report(vnet: number, container: string, report: GuestReport): Promise<void> {
    const key = `${vnet} ${container}`;
    const pending = this.#reports.get(key) ?? 0;
    if (pending >= REPORTS_PENDING_MAX) throw new Error("too many reports are not kept yet");
    this.#reports.set(key, pending + 1);
    try {
      await this.#request((id) => ({ kind: "report", id, vnet, container, report }));
    } finally {
      const left = (this.#reports.get(key) ?? 1) - 1;
      if (left === 0) this.#reports.delete(key);
      else this.#reports.set(key, left);
    }
  }

  /** Rejects if the node has no answer. */
  ask(question: Question): Promise<unknown> {
    return this.#request((id) => ({ kind: "question", id, question }));
  }

  answer({ id, value, failure }: Extract<Order, { readonly kind: "answer" }>): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (failure === undefined) pending?.resolve(value);
    else pending?.reject(new Error(failure));
  }

  async #request(message: (id: number) => News): Promise<unknown> {
    if (this.#pending.size >= PENDING_MAX || !this.hasRoom) {
      throw new Error("the node is busy");
    }
    this.#lastId += 1;
    const id = this.#lastId;
    const answered = Promise.withResolvers<unknown>();
    this.#pending.set(id, answered);
    this.send(message(id));
    return answered.promise;
  }
}
