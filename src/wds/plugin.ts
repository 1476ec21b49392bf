/** What a provider of the chain is. */
import type {
  Assignment,
  ChainVerdict,
  DhcpRequest,
  DropEvent,
  ExchangeEvent,
  FrameSender,
  RequestContext,
} from "../dhcp/index.ts";
import type { MacAddress } from "../model/mac-address.ts";

/**
 * Why a plugin answered as it did: a constant of the plugin, at most {@link WHY_CHARACTERS_MAX} characters, shown by
 * `goalstate dhcp explain`.
 */
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

/** A request that is only looked at. */
export type RequestView = Readonly<DhcpRequest>;

/** A request's way; what a plugin may change is its `replyOptions`. */
export type ContextView = Readonly<RequestContext>;

/**
 * One provider. A frame passes the phases `admit` (any may drop it, before its payload is read), `resolve` (the first
 * opinion wins), `policy` (any may drop), `options` (all add) and, after the reply was queued or the frame dropped,
 * `observe`. In each phase the plugins that have it are asked in the order of the chain. What the reply is, where it goes
 * and how it is encoded stays with the server.
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
  /** Codes that `options` may set; two plugins with one code get a warning at the start. */
  readonly setsOptions?: readonly number[];
  /**
   * Shall this frame's payload be read? Undefined: yes; a reason drops it. Must be cheap: a flood passes here.
   *
   * @param knows - true if a provider of the chain may know the sender; false: all of them say that they do not
   */
  admit?(
    ifindex: number,
    sender: FrameSender,
    knows: (mac: MacAddress) => boolean,
  ): string | undefined;
  /** Who is this? */
  resolve?(request: RequestView, context: ContextView): ResolveVerdict | Promise<ResolveVerdict>;
  /**
   * False only if `resolve` would pass on every request of this address; tells strangers before their requests are read,
   * and spares an asynchronous provider, and the request, the way to it. A provider without it is taken to know everybody.
   */
  knows?(mac: MacAddress): boolean;
  /** May it be answered now? */
  policy?(
    request: RequestView,
    context: ContextView,
    assignment: Assignment,
  ): PolicyVerdict | Promise<PolicyVerdict>;
  /** What else does the reply carry? Add it to `context.replyOptions`. */
  options?(
    request: RequestView,
    context: ContextView,
    assignment: Assignment,
  ): OptionsVerdict | Promise<OptionsVerdict>;
  /** Looks at what became of a request; the event is reused. */
  observe?(event: ExchangeEvent | DropEvent): void;
}

/** The phases in which a plugin is asked about a request that was read. */
export type DecisionPhase = "resolve" | "policy" | "options";

/** Most milliseconds that one phase of one plugin may take, unless it says otherwise. */
export const PLUGIN_BUDGET_MS: Readonly<Record<DecisionPhase, number>> = {
  resolve: 100,
  policy: 20,
  options: 20,
};

/** Longest `why`, and longest reason of a drop: both are constants, not texts of clients. */
export const WHY_CHARACTERS_MAX = 200;
export const REASON_CHARACTERS_MAX = 64;

/** Not mine: ask the next one. */
export const NEXT: NextVerdict = Object.freeze({ kind: "next" });
