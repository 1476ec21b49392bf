/** Runs the host's tools (ip, nft, mke2fs, apt-get): no shell, a fixed search path, errors that name the fix. */

import { execFile } from "node:child_process";
import { FabricError } from "../model/errors.ts";
import { inNamespace } from "./namespace.ts";

/** With the sbin folders, where Debian keeps mke2fs and which an ordinary user's PATH lacks. */
const TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ARGUMENTS_SHOWN = 5;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

/** How to run a tool. */
export interface ToolOptions {
  readonly cwd?: string | undefined;
  /** Added to PATH and LC_ALL, which alone are passed otherwise. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Named network namespace that it runs in; absent: this process's own. */
  readonly namespace?: string | undefined;
  /** Written to its standard input. */
  readonly input?: string | undefined;
}

/**
 * Runs `tool` and returns its standard output.
 *
 * @throws FabricError ERR_TOOL_MISSING if it is not installed, ERR_TOOL_FAILED with its last words if it fails
 */
export async function runTool(
  tool: string,
  args: readonly string[],
  options: ToolOptions = {},
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const settings = {
    env: { ...options.environment, PATH: TOOL_PATH, LC_ALL: "C" },
    maxBuffer: OUTPUT_BYTES_MAX,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
  // A child starts in the namespace of the thread that makes it: `ip netns exec` would be a second process.
  const child = inNamespace(options.namespace, () =>
    execFile(tool, args, settings, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(toolError({ tool, args, stderr, error }));
    }),
  );
  child.stdin?.on("error", () => undefined); // it ended before it read: its exit code says why
  child.stdin?.end(options.input ?? "");
  return promise;
}

function toolError(failure: {
  tool: string;
  args: readonly string[];
  stderr: string;
  error: Error & { code?: string | number | null };
}): FabricError {
  const { tool, args, stderr, error } = failure;
  if (error.code === "ENOENT") {
    return new FabricError(
      "ERR_TOOL_MISSING",
      `Cannot find ${tool}; run tools/host-setup as root, which installs it`,
      { cause: error },
    );
  }
  const words = stderr.trim().split("\n").slice(-3).join("; ") || error.message;
  return new FabricError(
    "ERR_TOOL_FAILED",
    `${tool} ${args.slice(0, ARGUMENTS_SHOWN).join(" ")}: ${words}`,
    {
      cause: error,
    },
  );
}
