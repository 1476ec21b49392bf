/** Starts servers and clients in processes of their own. */
import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";
import { GOAL_STATE_PATH } from "./guests.ts";
import type { Usage } from "./server.ts";

const run = promisify(execFile);

/** A server that runs. */
export interface Subject extends AsyncDisposable {
  readonly port: number;
  /** @param isCollected - its garbage is collected before; this takes CPU time */
  usage(isCollected: boolean): Promise<Usage>;
}

/** The next message that has a part of this name; the others are contacts, which a node would read. */
async function receive<T>(child: ChildProcess, part: string): Promise<T> {
  for (;;) {
    const [message] = (await once(child, "message")) as [Readonly<Record<string, unknown>>];
    if (message[part] !== undefined) return message[part] as T;
  }
}

export async function startSubject(kind: "plain" | "wireserver", guests = 1): Promise<Subject> {
  const script = join(import.meta.dirname, "server.ts");
  const child = fork(script, [kind, String(guests)], {
    execArgv: ["--expose-gc"],
    serialization: "advanced",
  });
  const port = await receive<number>(child, "port");
  return {
    port,
    usage: (isCollected) => {
      child.send(isCollected);
      return receive<Usage>(child, "usage");
    },
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, "exit");
      child.disconnect();
      await ended;
    },
  };
}

/** What wrk found. */
export interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requests: number;
}

/** Asks as fast as it is answered, on so many connections that stay open, or one for each request. */
export async function loadWithWrk(
  port: number,
  connections: number,
  seconds: number,
  isClosed: boolean,
): Promise<Load> {
  const { stdout } = await run("wrk", [
    ...["--threads", "1", "--connections", String(connections), "--duration", `${seconds}s`],
    ...["--latency", "--header", "x-ms-version: 2012-11-30"],
    ...(isClosed ? ["--header", "connection: close"] : []),
    `http://127.0.0.1:${port}${GOAL_STATE_PATH}`,
  ]);
  const errors = /Non-2xx or 3xx responses: \d+|Socket errors: .*/.exec(stdout)?.[0];
  if (errors !== undefined && !isClosed) throw new Error(`wrk: ${errors}`);
  return {
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
    p50Ms: milliseconds(/50%\s+(\S+)/.exec(stdout)?.[1]),
    p99Ms: milliseconds(/99%\s+(\S+)/.exec(stdout)?.[1]),
    requests: Number(/(\d+) requests in/.exec(stdout)?.[1]),
  };
}

function milliseconds(text = ""): number {
  const [, value, unit = ""] = /^([\d.]+)(us|ms|s|m)$/.exec(text) ?? [];
  return Number(value) * ({ us: 0.001, ms: 1, s: 1_000, m: 60_000 }[unit] ?? Number.NaN);
}

/** Polls as so many guests. */
export async function pollAsGuests(
  port: number,
  guests: number,
  seconds: number,
): Promise<{ readonly asked: number; readonly answered: number }> {
  const script = join(import.meta.dirname, "poll.ts");
  const child = fork(script, [port, guests, seconds].map(String));
  const ended = once(child, "exit");
  const [counts] = (await once(child, "message")) as [{ asked: number; answered: number }];
  await ended;
  return counts;
}
