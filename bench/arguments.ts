/** What the options of benchmarks are read with. */
import { InvalidArgumentError } from "commander";

/** A number above 0. */
export function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("not a number above 0.");
  return value;
}
