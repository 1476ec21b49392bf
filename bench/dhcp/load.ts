/** Runs tools/dhcpload and perfdhcp against a server. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  AGENT_ADDRESS,
  CLIENT_INTERFACE,
  type Network,
  ROOT,
  SERVER_ADDRESS,
} from "./processes.ts";

const execute = promisify(execFile);
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** What tools/dhcpload prints, as far as it is used here. */
export interface Load {
  readonly exchangesPerSecond: number;
  readonly seconds: number;
  readonly exchanges: number;
  readonly retransmits: number;
  readonly lost: number;
  readonly naks: number;
  readonly wrong: number;
  readonly flooded: number;
  readonly latencyUs: Latency;
  readonly apartLatencyUs?: Latency;
  readonly faults: readonly string[];
  readonly generatorCpuShare: number;
  readonly serverCpuUsPerExchange: number;
  readonly serverCpuSeconds: number;
}

/** One server under load. */
export interface Target {
  readonly network: Network;
  readonly pid: number;
  /** Address of client 0, if the server gives each client its own. */
  readonly addressBase: string | undefined;
  /** The server's own address, for relayed requests. */
  readonly address: string;
}

export type Mode = "direct" | "relayed";

export async function runLoad(
  { network, pid, addressBase, address }: Target,
  mode: Mode,
  ...args: (string | number)[]
): Promise<Load> {
  const relayed = ["--giaddr", AGENT_ADDRESS, "--server-mac", network.serverMac];
  const command = [
    ...["ip", "netns", "exec", network.client, join(ROOT, "tools/dhcpload")],
    ...["--interface", CLIENT_INTERFACE, "--server-pid", String(pid), "--mode", mode],
    ...(addressBase === undefined ? [] : ["--address", addressBase]),
    ...(mode === "relayed" ? [...relayed, "--server-address", address] : []),
    ...args.map(String),
  ];
  const [program, ...rest] = command;
  const { stdout } = await execute(program!, rest).catch((error: { stdout?: string }) => {
    // A wrong reply is exit code 1, with the report all the same.
    if (error.stdout) return { stdout: error.stdout };
    throw error;
  });
  return JSON.parse(stdout) as Load;
}

/** What perfdhcp saw; relayed is all that it can do. */
export interface Witness {
  readonly completedPerSecond: number;
  readonly lostShare: number;
}

export async function runPerfdhcp(
  { network, address }: Target,
  rate: number,
  seconds: number,
): Promise<Witness> {
  const clients = ["-R", "50000", "-b", "mac=00:0c:01:00:00:00"];
  const bounds = ["-r", String(rate), "-p", String(seconds), "-W", "500000", "-g", "single"];
  const args = ["-4", "-l", CLIENT_INTERFACE, ...clients, ...bounds];
  const command = ["netns", "exec", network.client, "perfdhcp", ...args, address];
  const options = { maxBuffer: OUTPUT_BYTES_MAX };
  const { stdout } = await execute("ip", command, options).catch((error: { stdout?: string }) => {
    if (error.stdout) return { stdout: error.stdout }; // exit code 3: something was lost
    throw error;
  });
  const values = (name: string) =>
    [...stdout.matchAll(new RegExp(`^${name}: (\\d+)`, "gm"))].map(([, value]) => Number(value));
  const [, acks = 0] = values("received packets");
  const [discovers = 0] = values("sent packets");
  return { completedPerSecond: acks / seconds, lostShare: 1 - acks / Math.max(discovers, 1) };
}

export { SERVER_ADDRESS };
