/** A duration with its unit on the command line. */
import { InvalidArgumentError } from "commander";

const FORM = /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h)?$/;
const SECONDS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

/**
 * @param text - `90`, `90s`, `1.5m`, `2h`; seconds without a unit
 * @returns seconds
 * @throws InvalidArgumentError
 */
export function parseDuration(text: string): number {
  const [, number, unit = "s"] = FORM.exec(text) ?? [];
  if (number === undefined) {
    throw new InvalidArgumentError("It must be a time as 30s, 5m or 1h.");
  }
  return Number(number) * (SECONDS[unit] ?? 1);
}
