/**
 * The guest agent's entry. It is bundled into one file that runs in the VM:
 * `node guest-agent.mjs --lease FILE --app DIR --state DIR [--endpoint HOST[:PORT]] [--poll-seconds 6]`.
 */

import { networkInterfaces } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { errorText, FabricError } from "../model/errors.ts";
import { formatIpv4 } from "../model/ipv4-address.ts";
import { AGENT_INTERVALS, runAgent } from "./agent.ts";
import { discoverEndpoint } from "./discovery.ts";
import type { AgentEdge } from "./edge.ts";
import { createWireClient } from "./wire-client.ts";

const USAGE =
  "usage: guest-agent --app DIR --state DIR [--lease FILE] [--endpoint HOST[:PORT]] [--poll-seconds 6]";

/** Longer than any DHCP client's first tries; after it, the agent looks for the wire server without a lease. */
const LEASE_WAIT_MS = 60_000;

/** After SIGTERM. 0 means that the goal state is Stopped, and the guest's init then powers off. */
const EXIT_SIGNALLED = 143;

/** The agent has no right to more of its own environment than this to give to a role program. */
const INHERITED = ["PATH", "HOME", "LANG", "TZ"] as const;

interface Arguments {
  readonly lease: string | undefined;
  readonly app: string;
  readonly state: string;
  readonly endpoint: string | undefined;
  readonly pollSeconds: number;
}

const EDGE: AgentEdge = {
  now: () => performance.now(),
  sleep: async (ms, signal) => {
    // An abort is an early end of the wait, not a failure of it.
    await delay(ms, undefined, { signal }).catch(() => {});
  },
  random: Math.random,
  log: (line) => process.stdout.write(`goalstate-agent: ${line}\n`),
};

function readArguments(argv: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      lease: { type: "string" },
      app: { type: "string" },
      state: { type: "string" },
      endpoint: { type: "string" },
      "poll-seconds": { type: "string", default: String(AGENT_INTERVALS.pollMs / 1000) },
    },
  });
  const pollSeconds = Number(values["poll-seconds"]);
  if (values.app === undefined || values.state === undefined || !(pollSeconds > 0)) {
    throw new FabricError("ERR_USAGE_AGENT", USAGE);
  }
  const { lease, app, state, endpoint } = values;
  return { lease, app, state, endpoint, pollSeconds };
}

async function findAuthority(options: Arguments, signal: AbortSignal): Promise<string> {
  if (options.endpoint !== undefined) {
    EDGE.log(`wire server ${options.endpoint} from the command line`);
    return options.endpoint;
  }
  const endpoint = await discoverEndpoint({
    leaseFile: options.lease,
    leaseWaitMs: LEASE_WAIT_MS,
    interfaces: networkInterfaces,
    epochMs: Date.now(),
    edge: EDGE,
    signal,
  });
  return formatIpv4(endpoint);
}

function inheritedEnvironment(): Record<string, string> {
  const pairs = INHERITED.map((name) => [name, process.env[name]] as const);
  return Object.fromEntries(
    pairs.filter((pair): pair is [(typeof INHERITED)[number], string] => pair[1] !== undefined),
  );
}

async function main(): Promise<void> {
  const options = readArguments(process.argv.slice(2));
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      EDGE.log(`${name}: stopping`);
      stop.abort();
    });
  }
  const authority = await findAuthority(options, stop.signal);
  const end = await runAgent({
    client: createWireClient({ authority, edge: EDGE, signal: stop.signal }),
    appFolder: options.app,
    stateFolder: options.state,
    environment: inheritedEnvironment(),
    edge: EDGE,
    signal: stop.signal,
    intervals: { ...AGENT_INTERVALS, pollMs: options.pollSeconds * 1000 },
  });
  EDGE.log(end === "stopped" ? "stopped, as the goal state wants" : "stopped");
  if (end === "aborted") process.exitCode = EXIT_SIGNALLED;
}

main().catch((error: unknown) => {
  process.stderr.write(`goalstate-agent: ${errorText(error)}\n`);
  process.exitCode = error instanceof FabricError && error.isUsage ? 2 : 1;
});
