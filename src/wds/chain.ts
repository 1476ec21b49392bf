/**
 * The provider chain, after Windows Deployment Services: ordered providers, of which the first with an opinion decides
 * who a client is; then those that may drop the request, then those that add options. The order is the caller's list.
 *
 * As long as no asynchronous plugin is met, a request is decided in one synchronous run from memory, and nothing is
 * allocated for it. From the first one on, the chain goes on with a copy of the request, and nobody waits for it but its
 * own client.
 */
import {
  type AdmitFrame,
  type Assignment,
  type ChainVerdict,
  createDhcpRequest,
  createRequestContext,
  type DecideRequest,
  type DhcpRequest,
  type DropEvent,
  type ExchangeEvent,
  type FrameSender,
  type RequestContext,
} from "../dhcp/index.ts";
import type { MacAddress } from "../model/mac-address.ts";
import { type DecisionPhase, PLUGIN_BUDGET_MS, type Plugin } from "./plugin.ts";
import { type CheckedVerdict, isReason, isThenable, isVerdict } from "./verdict.ts";

/** How often each plugin decided, failed and was too slow. */
export interface PluginCounters {
  /** Opinions other than `next`, and frames that it did not admit. */
  decided: number;
  /** It threw, rejected, was too slow, or answered something that is no verdict. */
  failed: number;
  /** Of these: it did not answer within its budget. */
  timedOut: number;
}

/** What a server asks and tells. */
export interface Chain {
  readonly admit: AdmitFrame;
  /** The verdict is reused: it is valid until the next request is decided. */
  readonly decide: DecideRequest;
  /** Tells every plugin that wants to know what became of a request. */
  readonly observe: (event: ExchangeEvent | DropEvent) => void;
  readonly counters: ReadonlyMap<string, PluginCounters>;
}

/** What a chain needs beside its plugins. */
export interface ChainOptions {
  /** Calls back once after some milliseconds; the returned function takes that back. */
  readonly startTimer?: (milliseconds: number, callback: () => void) => () => void;
  /** Counters to go on with, by plugin; those of new plugins are added. */
  readonly counters?: Map<string, PluginCounters>;
}

/** One plugin in one phase. */
interface Step {
  readonly plugin: Plugin;
  readonly phase: DecisionPhase;
  readonly counter: PluginCounters;
  readonly isAsynchronous: boolean;
  readonly budgetMs: number;
  /** What is said of a request that it failed on. */
  readonly failure: Extract<ChainVerdict, { kind: "error" }>;
}

/** The state of one request between two steps. */
interface Run {
  request: DhcpRequest;
  context: RequestContext;
  assignment: Assignment | undefined;
  /** The verdict, once {@link END} was returned. */
  ended: ChainVerdict;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

const UNKNOWN: ChainVerdict = Object.freeze({ kind: "unknown" });
const WRONG_NETWORK: ChainVerdict = Object.freeze({ kind: "wrong-network" });
const PHASES: readonly DecisionPhase[] = ["resolve", "policy", "options"];

/** Where a run goes after a step. */
const ON = 0;
const TO_POLICY = 1;
const TO_END = 2;
const END = 3;
type Way = typeof ON | typeof TO_POLICY | typeof TO_END | typeof END;

/** Node fires longer timers at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

function startTimer(milliseconds: number, callback: () => void): () => void {
  const timer = setTimeout(callback, Math.min(milliseconds, TIMER_MS_MAX));
  return () => clearTimeout(timer);
}

/**
 * Makes a chain. A plugin that throws, hangs or answers junk costs its one request: the client is met with silence, as
 * after any error, because an answer from a later plugin could be the wrong one.
 *
 * @throws RangeError if two plugins have one name
 */
export function createChain(plugins: readonly Plugin[], options: ChainOptions = {}): Chain {
  const counters = options.counters ?? new Map<string, PluginCounters>();
  const names = new Set<string>();
  for (const { name } of plugins) {
    if (names.has(name)) throw new RangeError(`two plugins of one chain are named "${name}"`);
    names.add(name);
    if (!counters.has(name)) counters.set(name, { decided: 0, failed: 0, timedOut: 0 });
  }
  const runner = new ChainRunner(plugins, counters, options.startTimer ?? startTimer);
  return {
    counters,
    admit: (ifindex, sender) => runner.admit(ifindex, sender),
    decide: (request, context) => runner.start(request, context),
    observe: (event) => runner.observe(event),
  };
}

class ChainRunner {
  readonly #steps: readonly Step[];
  /** Index of the first step after the resolve phase. */
  readonly #policyStart: number;
  readonly #gates: readonly Step[];
  readonly #observers: readonly Step[];
  readonly #resolvers: readonly Step[];
  readonly #startTimer: NonNullable<ChainOptions["startTimer"]>;
  readonly #live: Run = {
    request: createDhcpRequest(),
    context: createRequestContext(),
    assignment: undefined,
    ended: UNKNOWN,
  };
  #assigned: Writable<Extract<ChainVerdict, { kind: "assigned" }>> | undefined;
  readonly #knows = (mac: MacAddress): boolean => this.#mayKnow(mac);

  constructor(
    plugins: readonly Plugin[],
    counters: ReadonlyMap<string, PluginCounters>,
    startTimer: NonNullable<ChainOptions["startTimer"]>,
  ) {
    const stepsOf = (method: keyof Plugin, phase: DecisionPhase): Step[] =>
      plugins
        .filter((plugin) => plugin[method] !== undefined)
        .map((plugin) => createStep(plugin, phase, counters.get(plugin.name)!));
    this.#steps = PHASES.flatMap((phase) => stepsOf(phase, phase));
    this.#resolvers = stepsOf("resolve", "resolve");
    this.#policyStart = this.#resolvers.length;
    this.#gates = stepsOf("admit", "resolve");
    this.#observers = stepsOf("observe", "options");
    this.#startTimer = startTimer;
  }

  admit(ifindex: number, sender: FrameSender): string | undefined {
    const gates = this.#gates;
    for (let index = 0; index < gates.length; index++) {
      const { plugin, counter, failure } = gates[index]!;
      try {
        const reason: unknown = plugin.admit!(ifindex, sender, this.#knows);
        if (reason === undefined) continue;
        if (isReason(reason)) {
          counter.decided += 1;
          return reason;
        }
        if (isThenable(reason)) countRejection(reason, undefined);
      } catch {
        // counted as any other failure
      }
      counter.failed += 1;
      return failure.reason;
    }
    return undefined;
  }

  #mayKnow(mac: MacAddress): boolean {
    for (const { plugin } of this.#resolvers) if (!saysUnknown(plugin, mac)) return true;
    return false;
  }

  start(request: DhcpRequest, context: RequestContext): ChainVerdict | Promise<ChainVerdict> {
    const run = this.#live;
    run.request = request;
    run.context = context;
    run.assignment = undefined;
    const steps = this.#steps;
    for (let index = 0; index < steps.length; ) {
      if (index === this.#policyStart && run.assignment === undefined) return UNKNOWN;
      const step = steps[index]!;
      if (step.isAsynchronous) {
        if (!isStranger(step, run)) return this.#goOn({ ...run }, index);
        context.trail.add(step.plugin.name, "next", UNKNOWN_MAC);
        index += 1;
        continue;
      }
      const way = this.#ask(step, run);
      if (way === END) return run.ended;
      index = this.#indexAfter(index, way);
    }
    if (run.assignment === undefined) return UNKNOWN;
    this.#assigned ??= { kind: "assigned", assignment: run.assignment };
    this.#assigned.assignment = run.assignment;
    return this.#assigned;
  }

  observe(event: ExchangeEvent | DropEvent): void {
    for (const { plugin, counter } of this.#observers) {
      try {
        const answer: unknown = plugin.observe!(event);
        if (isThenable(answer)) countRejection(answer, counter);
      } catch {
        counter.failed += 1;
      }
    }
  }

  /** The rest of a run from its first asynchronous step on, on a copy of the request. */
  async #goOn(run: Run, first: number): Promise<ChainVerdict> {
    for (let index = first; index < this.#steps.length; ) {
      if (index === this.#policyStart && run.assignment === undefined) return UNKNOWN;
      const step = this.#steps[index]!;
      const way = step.isAsynchronous ? await this.#askLater(step, run) : this.#ask(step, run);
      if (way === END) return run.ended;
      index = this.#indexAfter(index, way);
    }
    if (run.assignment === undefined) return UNKNOWN;
    return { kind: "assigned", assignment: run.assignment };
  }

  #indexAfter(index: number, way: Exclude<Way, typeof END>): number {
    if (way === ON) return index + 1;
    return way === TO_POLICY ? this.#policyStart : this.#steps.length;
  }

  #ask(step: Step, run: Run): Way {
    try {
      const answer = call(step, run);
      if (isVerdict(step.phase, answer)) return this.#conclude(step, run, answer);
      // Who does not say that it is asynchronous may not be: the request is another's by the time of the answer.
      if (isThenable(answer)) countRejection(answer, undefined);
    } catch {
      // counted as any other failure
    }
    return this.#fail(step, run);
  }

  async #askLater(step: Step, run: Run): Promise<Way> {
    try {
      const detached = run.context.detach();
      run.request = detached.request;
      run.context = detached.context;
      const asked = call(step, run);
      const answer = isThenable(asked) ? await this.#withinBudget(step, asked) : asked;
      if (isVerdict(step.phase, answer)) return this.#conclude(step, run, answer);
    } catch {
      // counted as any other failure
    }
    return this.#fail(step, run);
  }

  /** The answer, or undefined if it did not come in time; then it is not looked at any more. */
  #withinBudget(step: Step, asked: PromiseLike<unknown>): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const stop = this.#startTimer(step.budgetMs, () => {
      step.counter.timedOut += 1;
      resolve(undefined);
    });
    Promise.resolve(asked).then(resolve, reject);
    return promise.finally(stop);
  }

  /** Notes an answer that {@link isVerdict} accepted. Throws what a getter of it throws. */
  #conclude(step: Step, run: Run, answer: CheckedVerdict): Way {
    const { plugin, counter } = step;
    const { kind } = answer;
    switch (kind) {
      case "assigned":
        run.assignment = answer.assignment;
        break;
      case "drop":
      case "error":
        run.ended = { kind, reason: answer.reason };
        break;
      default:
        run.ended = kind === "wrong-network" ? WRONG_NETWORK : UNKNOWN;
    }
    run.context.trail.add(plugin.name, kind, answer.why);
    if (kind === "next") return ON;
    counter.decided += 1;
    if (kind === "assigned") return TO_POLICY;
    return kind === "stop" ? TO_END : END;
  }

  #fail({ plugin, counter, failure }: Step, run: Run): Way {
    counter.failed += 1;
    run.context.trail.add(plugin.name, "failed");
    run.ended = failure;
    return END;
  }
}

function createStep(plugin: Plugin, phase: DecisionPhase, counter: PluginCounters): Step {
  return {
    ...{ plugin, phase, counter },
    isAsynchronous: plugin.isAsynchronous === true,
    budgetMs: plugin.budgetMs ?? PLUGIN_BUDGET_MS[phase],
    failure: Object.freeze({ kind: "error", reason: `plugin.${plugin.name}` }),
  };
}

const UNKNOWN_MAC = "it knows no such MAC";

/** True if an asynchronous provider says at once that it would pass on: then the request is not copied for it. */
function isStranger({ plugin, phase }: Step, { request }: Run): boolean {
  if (phase !== "resolve" || plugin.knows === undefined) return false;
  return saysUnknown(plugin, request.chaddr);
}

/** Only a clear false counts. */
function saysUnknown(plugin: Plugin, mac: MacAddress): boolean {
  try {
    const answer: unknown = plugin.knows?.(mac);
    if (isThenable(answer)) countRejection(answer, undefined);
    return answer === false;
  } catch {
    return false;
  }
}

function call({ plugin, phase }: Step, { request, context, assignment }: Run): unknown {
  if (phase === "resolve") return plugin.resolve!(request, context);
  return plugin[phase]!(request, context, assignment!);
}

/** Nobody waits for this promise; a rejection that nobody handles would end the process. */
function countRejection(late: PromiseLike<unknown>, counter: PluginCounters | undefined): void {
  Promise.resolve(late).then(undefined, () => {
    if (counter !== undefined) counter.failed += 1;
  });
}
