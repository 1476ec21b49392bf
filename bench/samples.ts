/** What a benchmark has measured, by name; each sample is told on standard error when it is taken. */
import { spreadOf } from "./dhcp/statistics.ts";

/** Samples by name, in the order of the first of each. */
const samples = new Map<string, number[]>();

export function note(name: string, value: number): void {
  samples.set(name, [...samplesOf(name), value]);
  process.stderr.write(`${name}: ${value.toFixed(2)}\n`);
}

export function samplesOf(name: string): number[] {
  return samples.get(name) ?? [];
}

export function median(name: string): number {
  return spreadOf(samplesOf(name)).median;
}
