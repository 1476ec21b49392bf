/** What a provider of the chain is. */
import type {
  Assignment,
  ChainVerdict,
  DhcpRequest,
  DropEvent,
  ExchangeEvent,
  RequestContext,
} from "../dhcp/index.ts";

/** Why a plugin answered as it did: a constant of the plugin, shown by `goalstate dhcp explain`. */
interface Reasoned {
  readonly why?: string;
}

/** Not mine: ask the next one. */
export type NextVerdict = { readonly kind: "next" } & Reasoned;

/** A provider's opinion on who the client is: its answer ends the phase, `next` passes the request on. */
export type ResolveVerdict = NextVerdict | (ChainVerdict & Reasoned);

/** What a policy says about a request whose client is known: go on, or drop it. */
export type PolicyVerdict =
  | NextVerdict
  | (Extract<ChainVerdict, { kind: "drop" | "error" }> & Reasoned);

/** What an options plugin says: `next`, or `stop`, after which no later plugin of this phase is asked. */
export type OptionsVerdict = NextVerdict | ({ readonly kind: "stop" } & Reasoned);

/**
 * One provider. A request passes the phases `resolve` (the first opinion wins), `policy` (any may drop), `options` (all
 * add) and, after the reply was queued or the request dropped, `observe`. In each phase the plugins that have it are
 * asked in the order of the chain. What the reply is, where it goes and how it is encoded stays with the server.
 *
 * A plugin knows only the exchange, never its neighbours, and keeps its state in its own object, so that it may stand in
 * several chains.
 */
export interface Plugin {
  /** The folder's name; also its name in logs, counters and explanations. */
  readonly name: string;
  /**
   * True if any of `resolve`, `policy`, `options` may return a promise. They then get a copy of the request that is theirs
   * to keep. A plugin without it decides synchronously, from memory, and only borrows its arguments.
   */
  readonly isAsynchronous?: boolean;
  /** How long one phase of an asynchronous plugin may take; default {@link PLUGIN_BUDGET_MS}. */
  readonly budgetMs?: number;
  /** Who is this? */
  resolve?(request: DhcpRequest, context: RequestContext): ResolveVerdict | Promise<ResolveVerdict>;
  /** May it be answered now? */
  policy?(
    request: DhcpRequest,
    context: RequestContext,
    assignment: Assignment,
  ): PolicyVerdict | Promise<PolicyVerdict>;
  /** What else does the reply carry? Add it to `context.replyOptions`. */
  options?(
    request: DhcpRequest,
    context: RequestContext,
    assignment: Assignment,
  ): OptionsVerdict | Promise<OptionsVerdict>;
  /** Looks at what became of a request; the event is reused. */
  observe?(event: ExchangeEvent | DropEvent): void;
}

/** Most milliseconds that one phase of one plugin may take. */
export const PLUGIN_BUDGET_MS = 100;

/** Not mine: ask the next one. */
export const NEXT: NextVerdict = Object.freeze({ kind: "next" });
