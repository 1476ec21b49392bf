/** A chain whose plugins can be replaced between two frames, while a server asks it. */
import type {
  ChainVerdict,
  DhcpRequest,
  DropEvent,
  ExchangeEvent,
  FrameSender,
  RequestContext,
} from "../dhcp/index.ts";
import { type Chain, type ChainOptions, createChain, type PluginCounters } from "./chain.ts";
import type { Plugin } from "./plugin.ts";

/**
 * Passes each frame to the chain of the moment. A request that waits for an asynchronous plugin ends on the chain that
 * it began on; counters go on under the plugin's name.
 */
export class LiveChain implements Chain {
  readonly #options: ChainOptions;
  readonly #counters: Map<string, PluginCounters>;
  #current: Chain;

  /** @throws RangeError if two plugins have one name */
  constructor(plugins: readonly Plugin[], options: ChainOptions = {}) {
    this.#counters = options.counters ?? new Map<string, PluginCounters>();
    this.#options = { ...options, counters: this.#counters };
    this.#current = createChain(plugins, this.#options);
  }

  get counters(): ReadonlyMap<string, PluginCounters> {
    return this.#counters;
  }

  /**
   * Takes other plugins from the next frame on.
   *
   * @throws RangeError if two plugins have one name; the old ones then stay
   */
  replace(plugins: readonly Plugin[]): void {
    this.#current = createChain(plugins, this.#options);
  }

  readonly admit = (ifindex: number, sender: FrameSender): string | undefined =>
    this.#current.admit(ifindex, sender);

  readonly decide = (
    request: DhcpRequest,
    context: RequestContext,
  ): ChainVerdict | Promise<ChainVerdict> => this.#current.decide(request, context);

  readonly observe = (event: ExchangeEvent | DropEvent): void => this.#current.observe(event);
}
