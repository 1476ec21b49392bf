/** Who decided what about one request, kept without allocation: the raw material of an explanation. */

/** Most steps that are kept of one request; later ones are only counted. */
export const TRAIL_STEPS_MAX = 16;

/** One step: a plugin, what it answered and, if it said so, why. */
export interface DecisionStep {
  readonly plugin: string;
  /** From a closed set, for instance `next` or `assigned`. */
  readonly verdict: string;
  readonly why: string | undefined;
}

/** The steps of one request, in order. Reused from request to request; {@link DecisionTrail.steps} copies. */
export class DecisionTrail {
  /** Steps that were added since the trail was cleared; may exceed {@link TRAIL_STEPS_MAX}. */
  length = 0;
  readonly plugins: string[] = new Array<string>(TRAIL_STEPS_MAX).fill("");
  readonly verdicts: string[] = new Array<string>(TRAIL_STEPS_MAX).fill("");
  readonly whys: (string | undefined)[] = new Array<string | undefined>(TRAIL_STEPS_MAX).fill(
    undefined,
  );

  /** Adds a step. All strings should be constants: they may be kept for a long time. */
  add(plugin: string, verdict: string, why?: string): void {
    const index = this.length++;
    if (index >= TRAIL_STEPS_MAX) return;
    this.plugins[index] = plugin;
    this.verdicts[index] = verdict;
    this.whys[index] = why;
  }

  clear(): void {
    this.length = 0;
  }

  /** Takes over the steps of another trail. */
  copyFrom(other: DecisionTrail): void {
    this.clear();
    const count = Math.min(other.length, TRAIL_STEPS_MAX);
    for (let index = 0; index < count; index++) {
      this.add(other.plugins[index]!, other.verdicts[index]!, other.whys[index]);
    }
    this.length = other.length;
  }

  /** The steps as objects of their own. */
  steps(): DecisionStep[] {
    return Array.from({ length: Math.min(this.length, TRAIL_STEPS_MAX) }, (_, index) => ({
      plugin: this.plugins[index]!,
      verdict: this.verdicts[index]!,
      why: this.whys[index],
    }));
  }
}
