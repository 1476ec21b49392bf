/**
 * The provider chain, after Windows Deployment Services: ordered providers, of which the first with an opinion decides
 * who a client is; then those that may drop the request, then those that add options. The order is the caller's list.
 *
 * As long as no asynchronous plugin is met, a request is decided in one synchronous run from memory. From the first one
 * on, the chain goes on with a copy of the request, and nobody waits for it but its own client.
 */
import type {
  Assignment,
  ChainVerdict,
  DecideRequest,
  DhcpRequest,
  DropEvent,
  ExchangeEvent,
  RequestContext,
} from "../dhcp/index.ts";
import {
  type OptionsVerdict,
  PLUGIN_BUDGET_MS,
  type Plugin,
  type PolicyVerdict,
  type ResolveVerdict,
} from "./plugin.ts";

/** How often each plugin decided, failed and was too slow. */
export interface PluginCounters {
  /** Opinions other than `next`. */
  decided: number;
  /** It threw, rejected, was too slow, or answered something that is no verdict. */
  failed: number;
  /** Of these: it did not answer within its budget. */
  timedOut: number;
}

export interface Chain {
  readonly decide: DecideRequest;
  /** Tells every plugin that wants to know what became of a request. */
  readonly observe: (event: ExchangeEvent | DropEvent) => void;
  readonly counters: ReadonlyMap<string, PluginCounters>;
}

/** What a chain needs beside its plugins. */
export interface ChainOptions {
  /** Calls back once after some milliseconds; the returned function takes that back. */
  readonly startTimer?: (milliseconds: number, callback: () => void) => () => void;
}

type Phase = "resolve" | "policy" | "options";
type PhaseVerdict = ResolveVerdict | PolicyVerdict | OptionsVerdict;

/** One plugin in one phase. */
interface Step {
  readonly plugin: Plugin;
  readonly phase: Phase;
  readonly counter: PluginCounters;
}

/** The state of one request between two steps. */
interface Run {
  request: DhcpRequest;
  context: RequestContext;
  assignment: Assignment | undefined;
}

const UNKNOWN: ChainVerdict = Object.freeze({ kind: "unknown" });
const PHASES: readonly Phase[] = ["resolve", "policy", "options"];
/** What a plugin may answer in each phase. */
const VERDICTS: Readonly<Record<Phase, ReadonlySet<string>>> = {
  resolve: new Set(["next", "assigned", "unknown", "wrong-network", "drop", "error"]),
  policy: new Set(["next", "drop", "error"]),
  options: new Set(["next", "stop"]),
};

function startTimer(milliseconds: number, callback: () => void): () => void {
  const timer = setTimeout(callback, milliseconds);
  return () => clearTimeout(timer);
}

/**
 * Makes a chain. A plugin that throws, hangs or answers junk costs its one request: the client is met with silence, as
 * after any error, because an answer from a later plugin could be the wrong one.
 *
 * @throws RangeError if two plugins have one name
 */
export function createChain(plugins: readonly Plugin[], options: ChainOptions = {}): Chain {
  const counters = new Map<string, PluginCounters>();
  for (const { name } of plugins) {
    if (counters.has(name)) throw new RangeError(`two plugins of one chain are named "${name}"`);
    counters.set(name, { decided: 0, failed: 0, timedOut: 0 });
  }
  const runner = new ChainRunner(plugins, counters, options.startTimer ?? startTimer);
  return {
    counters,
    decide: (request, context) => runner.start(request, context),
    observe: (event) => runner.observe(event),
  };
}

class ChainRunner {
  readonly #steps: readonly Step[];
  /** Index of the first step after the resolve phase, and after the policy phase. */
  readonly #policyStart: number;
  readonly #observers: readonly Step[];
  readonly #startTimer: NonNullable<ChainOptions["startTimer"]>;

  constructor(
    plugins: readonly Plugin[],
    counters: ReadonlyMap<string, PluginCounters>,
    startTimer: NonNullable<ChainOptions["startTimer"]>,
  ) {
    const stepsOf = (phase: Phase) =>
      plugins
        .filter((plugin) => plugin[phase] !== undefined)
        .map((plugin) => ({ plugin, phase, counter: counters.get(plugin.name)! }));
    this.#steps = PHASES.flatMap(stepsOf);
    this.#policyStart = stepsOf("resolve").length;
    this.#observers = plugins
      .filter((plugin) => plugin.observe !== undefined)
      .map((plugin) => ({ plugin, phase: "options", counter: counters.get(plugin.name)! }));
    this.#startTimer = startTimer;
  }

  start(request: DhcpRequest, context: RequestContext): ChainVerdict | Promise<ChainVerdict> {
    return this.#run({ request, context, assignment: undefined }, 0);
  }

  observe(event: ExchangeEvent | DropEvent): void {
    for (const { plugin, counter } of this.#observers) {
      try {
        plugin.observe?.(event);
      } catch {
        counter.failed += 1;
      }
    }
  }

  /** Asks the steps from `index` on, synchronously until one answers with a promise. */
  #run(run: Run, index: number): ChainVerdict | Promise<ChainVerdict> {
    const steps = this.#steps;
    for (let next = index; next < steps.length; ) {
      if (next === this.#policyStart && run.assignment === undefined) return UNKNOWN;
      const step = steps[next]!;
      const answer = this.#ask(step, run);
      if (answer instanceof Promise) return this.#wait(run, step, next, answer);
      const end = this.#conclude(run, step, answer);
      if (typeof end !== "number") return end;
      next = end === STAY ? next + 1 : this.#skip(next, end);
    }
    if (run.assignment === undefined) return UNKNOWN;
    return { kind: "assigned", assignment: run.assignment };
  }

  async #wait(
    run: Run,
    step: Step,
    index: number,
    answer: Promise<PhaseVerdict | undefined>,
  ): Promise<ChainVerdict> {
    const end = this.#conclude(run, step, await answer);
    if (typeof end !== "number") return end;
    return this.#run(run, end === STAY ? index + 1 : this.#skip(index, end));
  }

  /** One question. Undefined: the plugin failed or was too slow. */
  #ask(step: Step, run: Run): PhaseVerdict | undefined | Promise<PhaseVerdict | undefined> {
    const { plugin } = step;
    if (plugin.isAsynchronous === true) {
      const detached = run.context.detach();
      run.request = detached.request;
      run.context = detached.context;
    }
    try {
      const answer = call(step, run);
      return answer instanceof Promise ? this.#withinBudget(step, answer) : answer;
    } catch {
      return undefined;
    }
  }

  /** The answer if it comes in time. A plugin that does not say that it is asynchronous may not be. */
  #withinBudget(step: Step, answer: Promise<PhaseVerdict>): Promise<PhaseVerdict | undefined> {
    const { plugin, counter } = step;
    const { promise, resolve } = Promise.withResolvers<PhaseVerdict | undefined>();
    const stop = this.#startTimer(plugin.budgetMs ?? PLUGIN_BUDGET_MS, () => {
      counter.timedOut += 1;
      resolve(undefined);
    });
    answer.then(
      (verdict) => resolve(plugin.isAsynchronous === true ? verdict : undefined),
      () => resolve(undefined),
    );
    return promise.finally(stop);
  }

  /** Notes the answer. A verdict ends the run; a number tells how it goes on. */
  #conclude(run: Run, step: Step, answer: PhaseVerdict | undefined): ChainVerdict | number {
    const { plugin, phase, counter } = step;
    const { trail } = run.context;
    if (answer === undefined || !isVerdict(phase, answer)) {
      counter.failed += 1;
      trail.add(plugin.name, "failed");
      return { kind: "error", reason: `plugin.${plugin.name}` };
    }
    trail.add(plugin.name, answer.kind, answer.why);
    if (answer.kind === "next") return STAY;
    counter.decided += 1;
    if (answer.kind === "stop") return this.#steps.length;
    if (answer.kind !== "assigned") return answer;
    run.assignment = answer.assignment;
    return this.#policyStart;
  }

  #skip(index: number, target: number): number {
    return Math.max(index + 1, target);
  }
}

/** The next step follows. */
const STAY = -1;

function call({ plugin, phase }: Step, run: Run): PhaseVerdict | Promise<PhaseVerdict> {
  const { request, context, assignment } = run;
  if (phase === "resolve") return plugin.resolve!(request, context);
  return plugin[phase]!(request, context, assignment!);
}

/** Plugins may come from third parties, so the type is not to be trusted. */
function isVerdict(phase: Phase, answer: unknown): answer is PhaseVerdict {
  if (typeof answer !== "object" || answer === null || !("kind" in answer)) return false;
  const { kind } = answer as { kind: unknown };
  if (typeof kind !== "string" || !VERDICTS[phase].has(kind)) return false;
  if (kind === "assigned") return isAssignment((answer as { assignment?: unknown }).assignment);
  if (kind !== "drop" && kind !== "error") return true;
  return typeof (answer as { reason?: unknown }).reason === "string";
}

function isAssignment(value: unknown): value is Assignment {
  if (typeof value !== "object" || value === null) return false;
  const { address, profile } = value as { address?: unknown; profile?: unknown };
  return typeof address === "number" && typeof profile === "object" && profile !== null;
}
