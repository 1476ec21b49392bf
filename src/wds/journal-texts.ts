/** Texts and trails as small numbers, so that a journal's entries have a fixed size. */

import { type DecisionStep, type DecisionTrail, TRAIL_STEPS_MAX } from "../dhcp/index.ts";

/** Most different texts and trails. Both are constants of the plugins; a plugin that makes them up fills the table. */
export const JOURNAL_TEXTS_MAX = 1024;
export const JOURNAL_TRAILS_MAX = 256;

/** Number of an absent text, and of a trail without steps. */
const NOTHING = 0;
/** What stands for those that came when the table was full. */
const OTHER: DecisionStep = Object.freeze({ plugin: "other", verdict: "other", why: undefined });
const HINTS = 16;

/** Numbers for texts and trails, given out once and never taken back. */
export class JournalTexts {
  readonly #texts: string[] = ["", "other"];
  readonly #idByText = new Map<string, number>([["other", 1]]);
  readonly #trails: (readonly DecisionStep[])[] = [[], [OTHER]];
  /** The last trail by message type: usually the next one's, too. */
  readonly #hints = new Uint16Array(HINTS);

  /** The number of a text; 0 for undefined. */
  idOf(text: string | undefined): number {
    if (text === undefined) return NOTHING;
    const known = this.#idByText.get(text);
    if (known !== undefined) return known;
    if (this.#texts.length >= JOURNAL_TEXTS_MAX) return 1;
    this.#idByText.set(text, this.#texts.length);
    return this.#texts.push(text) - 1;
  }

  textOf(id: number): string | undefined {
    return id === NOTHING ? undefined : this.#texts[id];
  }

  /**
   * The number of a trail.
   *
   * @param hint - trails with equal hints are likely equal; any integer
   */
  idOfTrail(trail: DecisionTrail, hint: number): number {
    if (trail.length === 0) return NOTHING;
    const place = hint & (HINTS - 1);
    const likely = this.#hints[place]!;
    if (isTrail(this.#trails[likely]!, trail)) return likely;
    const id = this.#findTrail(trail);
    this.#hints[place] = id;
    return id;
  }

  stepsOf(id: number): readonly DecisionStep[] {
    return this.#trails[id]!;
  }

  #findTrail(trail: DecisionTrail): number {
    const trails = this.#trails;
    for (let id = 2; id < trails.length; id++) if (isTrail(trails[id]!, trail)) return id;
    return trails.length < JOURNAL_TRAILS_MAX ? trails.push(trail.steps()) - 1 : 1;
  }
}

function isTrail(steps: readonly DecisionStep[], trail: DecisionTrail): boolean {
  if (steps.length !== Math.min(trail.length, TRAIL_STEPS_MAX)) return false;
  for (let index = 0; index < steps.length; index++) {
    const { plugin, verdict, why } = steps[index]!;
    const isEqual =
      plugin === trail.plugins[index] &&
      verdict === trail.verdicts[index] &&
      why === trail.whys[index];
    if (!isEqual) return false;
  }
  return true;
}
