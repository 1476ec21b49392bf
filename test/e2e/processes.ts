/** Runs programs as a user would: start, wait for what they say, end them, look at what is left. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export const GOALSTATE = join(import.meta.dirname, "../../bin/goalstate");

/** Nothing here waits longer, so that a test fails with what was printed, and cleans up, before its own time is over. */
const WAIT_MAX_MS = 50_000;
/** After SIGTERM; then SIGKILL. */
const GRACE_MS = 15_000;

/** A program that runs until it ends by itself or is disposed. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** Standard output so far. */
  stdout(): string;
  stderr(): string;
  /** Resolves when either output has `text`; rejects with both if the program ends before, or says it too late. */
  says(text: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** Exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
}

/** Starts a program; inside a namespace if one is named. */
export function run(command: readonly string[], namespace?: string): Running {
  const inside = namespace === undefined ? [] : ["ip", "netns", "exec", namespace];
  const [program = "", ...args] = [...inside, ...command];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  return watch(child, command.join(" "));
}

function watch(child: ChildProcess, title: string): Running {
  let stdout = "";
  let stderr = "";
  const heard = new EventTarget();
  child.stdout?.on("data", (part: Buffer) => {
    stdout += part;
    heard.dispatchEvent(new Event("data"));
  });
  child.stderr?.on("data", (part: Buffer) => {
    stderr += part;
    heard.dispatchEvent(new Event("data"));
  });
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | string);
  const says = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => (stdout.includes(text) || stderr.includes(text)) && resolve();
      heard.addEventListener("data", look);
      look();
      const fail = (how: string) => {
        look();
        reject(new Error(`${title} ${how} before "${text}":\n${stdout}\n${stderr}`));
      };
      const late = setTimeout(fail, WAIT_MAX_MS, `ran for ${WAIT_MAX_MS} ms`);
      void ended.then((how) => {
        clearTimeout(late);
        fail(`ended (${how})`);
      });
    });
  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    stderr: () => stderr,
    says,
    kill: (signal) => void child.kill(signal),
    ended,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
      await ended;
      clearTimeout(late);
    },
  };
}

/** Runs a program to its end; one that does not end by itself is killed, and its code is then `SIGKILL`. */
export async function finish(
  command: readonly string[],
  namespace?: string,
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const running = run(command, namespace);
  const late = setTimeout(() => running.kill("SIGKILL"), WAIT_MAX_MS);
  const code = await running.ended;
  clearTimeout(late);
  return { code, stdout: running.stdout(), stderr: running.stderr() };
}
