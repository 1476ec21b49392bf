/** Which step of a playbook a request meets: a pure function of what was asked before, and of a clock. */
import type { FaultEndpoint, FaultRule, FaultStep, WireService } from "../../model/playbook.ts";

/** How far a sequence has come. Ended: `step` is the number of its steps. */
export interface SequenceState {
  readonly step: number;
  /** Requests that the step has answered. */
  readonly used: number;
  /** When the step answered first; undefined until it has. */
  readonly sinceMs?: number;
}

/** How long a step lasts. */
export interface Lasting {
  readonly repeat?: number | undefined;
  readonly forSeconds?: number | undefined;
}

/** Steps, one after another. */
export interface Sequence<T extends Lasting> {
  readonly answers: readonly T[];
  readonly loop?: boolean | undefined;
}

/** How far each rule has come. */
export type FaultState = readonly SequenceState[];

/** Before the first request. */
export const START: SequenceState = { step: 0, used: 0 };

/** What a rule is asked: a request for an endpoint, or a connection, of which nothing more is known. */
export interface Asked {
  readonly service: WireService;
  /** Absent: a connection. */
  readonly endpoint?: FaultEndpoint;
  readonly url?: string;
}

/** The state before the first request. */
export function startOf(rules: readonly FaultRule[]): FaultState {
  return rules.map(() => START);
}

/**
 * The step that decides about what is asked, and the state after it. The first rule that is for it and has not ended
 * decides; without one, there is no step, and the state is the same.
 *
 * @param nowMs - of a clock that never goes back
 */
export function nextAnswer(
  rules: readonly FaultRule[],
  state: FaultState,
  asked: Asked,
  nowMs: number,
): { readonly state: FaultState; readonly step?: FaultStep } {
  for (const [index, rule] of rules.entries()) {
    if (!isFor(rule, asked)) continue;
    const { step, next } = nextStep(rule, state[index] ?? START, nowMs);
    if (step === undefined) continue;
    // A connection is only ever refused; a request on one that was opened before meets the step as a reset.
    if (asked.endpoint === undefined && step.connection !== "refuse") continue;
    return { step, state: state.with(index, next) };
  }
  return { state };
}

function isFor({ endpoint, urlHas }: FaultRule, asked: Asked): boolean {
  const targets: readonly string[] = endpoint;
  const isNamed = asked.endpoint !== undefined && targets.includes(asked.endpoint);
  if (!isNamed && !targets.includes(asked.service)) return false;
  return urlHas === undefined || asked.url?.includes(urlHas) === true;
}

/**
 * The step that a sequence has come to, and how far it is once that was used; no step once it has ended. Without
 * `repeat` and `forSeconds` a step is used once, and the last one for ever.
 */
export function nextStep<T extends Lasting>(
  sequence: Sequence<T>,
  state: SequenceState,
  nowMs: number,
): { readonly step: T | undefined; readonly next: SequenceState } {
  const present = settle(sequence, state, nowMs);
  const { used, sinceMs = nowMs } = present;
  const step = sequence.answers[present.step];
  return { step, next: { step: present.step, used: used + 1, sinceMs } };
}

/** Leaves behind what is over. At most one step: the next one was not begun. */
function settle(sequence: Sequence<Lasting>, state: SequenceState, nowMs: number): SequenceState {
  if (!isOver(sequence, state, nowMs)) return state;
  const isLast = state.step === sequence.answers.length - 1;
  return isLast && sequence.loop === true ? START : { step: state.step + 1, used: 0 };
}

function isOver(
  { answers, loop }: Sequence<Lasting>,
  { step, used, sinceMs }: SequenceState,
  nowMs: number,
): boolean {
  const present = answers[step];
  if (present === undefined || sinceMs === undefined) return false;
  if (present.forSeconds !== undefined) return nowMs - sinceMs >= present.forSeconds * 1000;
  if (present.repeat !== undefined) return used >= present.repeat;
  return loop === true || step < answers.length - 1;
}
