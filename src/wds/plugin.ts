/** What a provider of the chain is. */
import type { ChainVerdict, DhcpRequest, RequestContext } from "../dhcp/index.ts";

/** A provider's opinion: its answer ends the chain, `next` passes the request on. */
export type PluginVerdict = { readonly kind: "next" } | ChainVerdict;

/**
 * One provider. It knows only the exchange, never its neighbours, and decides synchronously from memory. It borrows
 * `request` and `context` until it returns.
 */
export interface Plugin {
  /** The folder's name; also its name in logs and counters. */
  readonly name: string;
  decide(request: DhcpRequest, context: RequestContext): PluginVerdict;
}

/** Not mine: ask the next one. */
export const NEXT: PluginVerdict = Object.freeze({ kind: "next" });
