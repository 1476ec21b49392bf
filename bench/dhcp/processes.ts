/** Programs and namespaces of a run; all end with it, also when it fails. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");
export const NODE = join(ROOT, "node_modules/node/bin/node");
export const SERVER_INTERFACE = "served";
export const CLIENT_INTERFACE = "eth0";
export const SERVER_ADDRESS = "10.64.0.1";
export const AGENT_ADDRESS = "10.64.0.2";
const PREFIX_LENGTH = 12;
const START_TIMEOUT_MS = 60_000;
const GRACE_MS = 5_000;

export function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8" });
}

/** A namespace for a server and one for its clients, joined by a veth. */
export interface Network extends Disposable {
  readonly host: string;
  readonly client: string;
  readonly serverMac: string;
}

export function makeNetwork(label: string): Network {
  const names = [`gsb-${label}-host-${process.pid}`, `gsb-${label}-client-${process.pid}`];
  const [host, client] = names as [string, string];
  using undo = new DisposableStack();
  for (const name of names) {
    ip("netns", "add", name);
    undo.defer(() => void ip("netns", "del", name));
    const noIpv6 = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null; true";
    ip("netns", "exec", name, "sh", "-c", noIpv6);
    ip("-n", name, "link", "set", "lo", "up");
  }
  const peer = ["peer", "name", CLIENT_INTERFACE, "netns", client];
  ip("-n", host, "link", "add", "name", SERVER_INTERFACE, "type", "veth", ...peer);
  ip("-n", host, "addr", "add", `${SERVER_ADDRESS}/${PREFIX_LENGTH}`, "dev", SERVER_INTERFACE);
  ip("-n", client, "addr", "add", `${AGENT_ADDRESS}/${PREFIX_LENGTH}`, "dev", CLIENT_INTERFACE);
  ip("-n", host, "link", "set", "dev", SERVER_INTERFACE, "up");
  ip("-n", client, "link", "set", "dev", CLIENT_INTERFACE, "up");
  const [link] = JSON.parse(ip("-j", "-n", host, "link", "show", SERVER_INTERFACE)) as [
    { address: string },
  ];
  const kept = undo.move();
  return { host, client, serverMac: link.address, [Symbol.dispose]: () => kept.dispose() };
}

/** A server that runs until it is disposed. */
export interface Server extends AsyncDisposable {
  readonly pid: number;
  /** From its start until it was ready. */
  readonly startSeconds: number;
  readonly log: string;
}

/** Starts a program in a namespace, its output into `log`; resolves when `isReady` says so. */
export async function startServer(
  namespace: string,
  command: readonly string[],
  log: string,
  isReady: () => boolean,
  env: Readonly<Record<string, string>> = {},
): Promise<Server> {
  const output = openSync(log, "w");
  const beganAt = performance.now();
  // `ip netns exec` becomes the program, so the pid is the program's own.
  const child = spawn("ip", ["netns", "exec", namespace, ...command], {
    stdio: ["ignore", output, output],
    env: { ...process.env, ...env },
  });
  const ended = once(child, "close");
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
  });
  while (!isReady()) {
    if (hasEnded || performance.now() - beganAt > START_TIMEOUT_MS) {
      child.kill("SIGKILL");
      throw new Error(`${command[0]} did not get ready; its last words:\n${lastWords(log)}`);
    }
    await sleep(20);
  }
  return {
    pid: child.pid!,
    startSeconds: (performance.now() - beganAt) / 1000,
    log,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
      await ended;
      clearTimeout(late);
    },
  };
}

export function lastWords(path: string): string {
  return readFileSync(path, "utf8").split("\n").slice(-8).join("\n");
}

/** Resident memory of a process in MB (10^6 bytes). */
export function residentMegabytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
  return (pages * 4096) / 1e6;
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
