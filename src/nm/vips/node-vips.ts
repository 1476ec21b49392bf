/** The public addresses that a node answers for: all its VNETs' together, told to the kernel again and again. */
import type { Ipv4Address } from "../../model/ipv4-address.ts";
import { type ServedVip, serveVips } from "../../net/vips.ts";
import { Rounds } from "../agent/rounds.ts";

/** A node whose agent is dead answers ARP no longer than this: its successor is not disputed. */
const ANSWER_SECONDS = 6;
const RENEW_MS = 2_000;

/** What {@link NodeVips} needs. */
export interface NodeVipsOptions {
  /** The node's namespace, where its underlay interface is. */
  readonly nodeNamespace: string;
  readonly onError: (what: string, error: unknown) => void;
}

/** Starts to answer when the first address is served. Disposing it lets the kernel's answers run out. */
export class NodeVips implements AsyncDisposable {
  readonly nodeNamespace: string;
  readonly #onError: NodeVipsOptions["onError"];
  readonly #served = new Map<Ipv4Address, ServedVip>();
  readonly #rounds = new Rounds(() => this.#apply());
  #timer: NodeJS.Timeout | undefined;
  #isFirst = true;

  constructor({ nodeNamespace, onError }: NodeVipsOptions) {
    this.nodeNamespace = nodeNamespace;
    this.#onError = onError;
  }

  /** Resolves when the node answers for it. */
  async serve(vip: Ipv4Address, vni: number): Promise<void> {
    this.#timer ??= setInterval(() => void this.#rounds.request(), RENEW_MS).unref();
    if (this.#served.get(vip)?.vni === vni) return;
    this.#served.set(vip, { vip, vni });
    await this.#rounds.request();
  }

  /** Resolves when the node does not answer for it any more. */
  async leave(vip: Ipv4Address): Promise<void> {
    if (this.#served.delete(vip)) await this.#rounds.request();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#rounds.idle();
  }

  async #apply(): Promise<void> {
    const { nodeNamespace } = this;
    try {
      await serveVips({
        ...{ nodeNamespace, vips: [...this.#served.values()] },
        answerSeconds: ANSWER_SECONDS,
        announceAll: this.#isFirst,
      });
      this.#isFirst = false;
    } catch (error) {
      this.#onError("public addresses", error); // tried again with the next renewal
    }
  }
}
