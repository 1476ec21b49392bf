/**
 * The one error class of goalstate. Callers tell errors apart by `code`; people read `message`, which names the
 * place and the fix.
 */

/** Codes that mean "the caller used it wrongly": the CLI exits with 2 for these and with 1 for all others. */
const USAGE_PREFIX = "ERR_USAGE_";

/** An operating error with a stable code. Programmer errors are plain `assert` failures instead. */
export class FabricError extends Error {
  /** Stable, machine-readable; listed in docs/errors.md. */
  readonly code: `ERR_${string}`;

  constructor(code: `ERR_${string}`, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "FabricError";
    this.code = code;
  }

  /** True if the caller can mend this by calling differently (CLI exit code 2). */
  get isUsage(): boolean {
    return this.code.startsWith(USAGE_PREFIX);
  }
}

/** The text of anything that was thrown, its causes included, on one line. */
export function errorText(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const own = thrown.message.replaceAll(/\s*\n\s*/g, " ");
  return thrown.cause === undefined ? own : `${own}: ${errorText(thrown.cause)}`;
}
