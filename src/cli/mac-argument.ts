/** A hardware address on the command line. */
import { InvalidArgumentError } from "commander";
import { formatMac, parseMac } from "../model/mac-address.ts";

/** @returns it as it is written in keys and paths */
export function readMacArgument(text: string): string {
  try {
    return formatMac(parseMac(text));
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}
