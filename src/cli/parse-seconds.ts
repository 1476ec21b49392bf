/** A duration on the command line. */
import { InvalidArgumentError } from "commander";

/** @throws InvalidArgumentError unless it is a number above 0 */
export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0)) throw new InvalidArgumentError("It must be a number of seconds above 0.");
  return seconds;
}
