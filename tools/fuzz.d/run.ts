/** The loop: change a known frame, run it, keep what reached something new, stop at the first wrong answer. */

import { Coverage } from "./coverage.ts";
import { copyInput, createInput, type Input } from "./input.ts";
import { mutate } from "./mutate.ts";
import { Random } from "./random.ts";

/** What inputs are run through. */
export interface Target {
  /** Throws, or rejects, if the answer is wrong. */
  run(input: Input): Promise<void> | undefined;
}

export interface FuzzOptions {
  readonly target: Target;
  readonly seeds: readonly Uint8Array[];
  readonly seed: number;
  /** End after so many inputs. */
  readonly inputs: number;
  /** Milliseconds of a monotonic clock, and when to end at the latest. */
  readonly now: () => number;
  readonly secondsMax: number;
  /** The first so many inputs are guided by coverage. */
  readonly guided: number;
  /** Collects garbage; the heap is measured after it. */
  readonly collect: () => void;
  readonly onProgress?: (done: number, seconds: number) => void;
}

export interface FuzzResult {
  readonly inputs: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** Inputs that are changed further: the seeds, and what reached new blocks. */
  readonly corpus: number;
  /** Blocks of source reached in the guided part; 0 without one. */
  readonly blocks: number;
  /** Bytes of heap that the second half of the run added. */
  readonly heapGrowth: number;
  /** The longest time that one input took, collections of garbage included. */
  readonly slowestMs: number;
  readonly failure:
    | { readonly error: Error; readonly input: Input; readonly number: number }
    | undefined;
}

const BATCH = 256;
const CORPUS_MAX = 4096;
/** How often the heap is measured in one run. */
const HEAP_SAMPLES = 20;
const CLOCK_EVERY = 1024;

export async function runFuzz(options: FuzzOptions): Promise<FuzzResult> {
  const random = new Random(options.seed);
  const corpus = options.seeds.map((seed) => {
    const input = createInput();
    input.bytes.set(seed);
    input.length = seed.length;
    return input;
  });
  const state: State = { options, random, corpus, input: createInput(), done: 0, slowestMs: 0 };
  const start = options.now();
  let blocks = 0;
  let heapGrowth = 0;
  let failure: FuzzResult["failure"];
  try {
    for (const input of [...corpus]) await runOne(state, input);
    if (options.guided > 0) blocks = await runGuided(state);
    heapGrowth = await runFast(state, start);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    failure = { error: error.error, input: error.input, number: state.done };
  }
  const seconds = (options.now() - start) / 1000;
  const { done, slowestMs } = state;
  const perSecond = Math.round(done / seconds);
  return {
    inputs: done,
    seconds,
    perSecond,
    corpus: corpus.length,
    blocks,
    heapGrowth,
    slowestMs,
    failure,
  };
}

interface State {
  readonly options: FuzzOptions;
  readonly random: Random;
  readonly corpus: Input[];
  readonly input: Input;
  done: number;
  slowestMs: number;
}

class Failure extends Error {
  readonly error: Error;
  readonly input: Input;
  constructor(error: Error, input: Input) {
    super(error.message, { cause: error });
    this.error = error;
    this.input = copyInput(input);
  }
}

async function runOne(state: State, input: Input): Promise<void> {
  state.done++;
  try {
    await state.options.target.run(input);
  } catch (error) {
    throw new Failure(error instanceof Error ? error : new Error(String(error)), input);
  }
}

/** Fills `input` with a change of some known one. */
function next({ random, corpus }: State, input: Input): void {
  const from = random.pick(corpus);
  input.bytes.fill(0);
  input.bytes.set(from.bytes.subarray(0, from.length));
  input.length = from.length;
  mutate(input, random, random.pick(corpus));
}

/** Batches under coverage. @returns the blocks reached */
async function runGuided(state: State): Promise<number> {
  const { options, corpus } = state;
  const coverage = new Coverage();
  await coverage.start();
  try {
    for (const input of [...corpus]) await runOne(state, input);
    coverage.remember(await coverage.takeNew());
    const end = Math.min(options.guided, options.inputs);
    while (state.done < end) {
      const batch = Array.from({ length: BATCH }, createInput);
      for (const input of batch) next(state, input);
      await keepNew(state, coverage, batch);
    }
    return coverage.blocks;
  } finally {
    await coverage.stop();
  }
}

/** Runs inputs, and if they reached something new, each half of them, down to single ones, which are kept. */
async function keepNew(state: State, coverage: Coverage, inputs: readonly Input[]): Promise<void> {
  for (const input of inputs) await runOne(state, input);
  const found = await coverage.takeNew();
  if (found.length === 0) return;
  if (inputs.length === 1) {
    coverage.remember(found);
    if (state.corpus.length < CORPUS_MAX) state.corpus.push(inputs[0]!);
    return;
  }
  const middle = inputs.length >> 1;
  await keepNew(state, coverage, inputs.slice(0, middle));
  await keepNew(state, coverage, inputs.slice(middle));
}

/** At full speed, without coverage. @returns the growth of the heap in the second half */
async function runFast(state: State, start: number): Promise<number> {
  const { options, input } = state;
  const first = state.done;
  const total = Math.max(options.inputs - first, 0);
  const heapEvery = Math.max(Math.ceil(total / HEAP_SAMPLES), 1);
  const heaps: number[] = [];
  while (state.done < options.inputs) {
    next(state, input);
    state.done++;
    const before = options.now();
    try {
      const later = options.target.run(input);
      if (later !== undefined) await later;
    } catch (error) {
      throw new Failure(error instanceof Error ? error : new Error(String(error)), input);
    }
    const now = options.now();
    state.slowestMs = Math.max(state.slowestMs, now - before);
    if ((state.done - first) % heapEvery === 0) {
      options.collect();
      heaps.push(process.memoryUsage().heapUsed);
    }
    if (state.done % CLOCK_EVERY !== 0) continue;
    options.onProgress?.(state.done, (now - start) / 1000);
    if (now - start > options.secondsMax * 1000) break;
  }
  const half = heaps.slice(heaps.length >> 1);
  return half.length < 2 ? 0 : half.at(-1)! - half[0]!;
}
