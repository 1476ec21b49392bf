/** The one privilege check of the commands. */
import { FabricError } from "../model/errors.ts";

/** @throws FabricError with `code` unless this process runs as root; `what` names what needs it */
export function requireRoot(code: `ERR_${string}`, what: string): void {
  if (process.getuid?.() === 0) return;
  throw new FabricError(code, `${what} need root; run it with sudo`);
}
