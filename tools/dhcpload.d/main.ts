/** `tools/dhcpload`: see --help. Prints one JSON document. */
import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { openPacketRing } from "../../src/net/packet-ring.ts";
import { Poller } from "../../src/net/poller.ts";
import type { FloodKind } from "./flood.ts";
import { runLoad } from "./load.ts";
import type { Way } from "./request-frames.ts";

/** Option 55 of a typical Linux client. */
const REQUESTED_OPTIONS = [1, 3, 6, 12, 15, 26, 28, 42, 121];

const BOOTREPLY = 2;
const SERVER_PORT = 67;
const CLIENT_PORT = 68;
const CLOCK_TICKS_PER_SECOND = 100;

interface Arguments {
  readonly interface: string;
  readonly mode: "direct" | "relayed" | "renewal";
  readonly giaddr?: number;
  readonly serverMac?: number;
  readonly serverAddress?: number;
  readonly mac: number;
  readonly address?: number;
  readonly clients: number;
  readonly window: number;
  readonly rate: number;
  readonly flood?: FloodKind;
  readonly floodRate: number;
  readonly timeoutMs: number;
  readonly apartEvery: number;
  readonly warmUp: number;
  readonly seconds: number;
  readonly exchanges: number;
  readonly clientId: boolean;
  readonly broadcast: boolean;
  readonly serverPid?: number;
}

function number(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError("not a number from 0.");
  return value;
}

/** Makes a parser's exception one that commander shows. */
function parsed<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
  };
}

const program = new Command("dhcpload")
  .description(
    "Runs DHCP exchanges against a server on an interface, as many as a window allows, and prints JSON: how\n" +
      "many, how long each took, what was lost or wrong. Client n has the MAC address --mac + n. Needs root.",
  )
  .requiredOption("--interface <name>", "where to send and receive")
  .addOption(
    new Option(
      "--mode <mode>",
      "direct: DISCOVER to ACK by broadcast from each MAC; relayed: the same through an agent; " +
        "renewal: REQUEST by unicast",
    )
      .choices(["direct", "relayed", "renewal"])
      .default("direct"),
  )
  .option("--giaddr <address>", "the agent's address (relayed)", parsed(parseIpv4))
  .option("--server-mac <mac>", "where to send to (relayed, renewal)", parsed(parseMac))
  .option("--server-address <address>", "where to send to (relayed, renewal)", parsed(parseIpv4))
  .option("--mac <mac>", "of client 0", parsed(parseMac), parseMac("00:0c:01:00:00:00"))
  .option(
    "--address <address>",
    "of client 0; the others follow, and any other is wrong; without: no two clients may share one",
    parsed(parseIpv4),
  )
  .option("--clients <count>", "how many there are", number, 50_000)
  .option("--window <count>", "exchanges under way at a time", number, 16)
  .option("--rate <per-second>", "exchanges begun at most; 0: no bound", number, 0)
  .addOption(
    new Option(
      "--flood <kind>",
      "frames that deserve no answer: unknown MACs, or junk of five kinds",
    ).choices(["unknown", "junk"]),
  )
  .option("--flood-rate <per-second>", "frames of the flood", number, 100_000)
  .option("--timeout-ms <ms>", "until a message is sent again, three times", number, 1000)
  .option("--apart-every <n>", "measure every n-th client apart; 0: none", number, 0)
  .option("--warm-up <seconds>", "not measured", number, 1)
  .option("--seconds <seconds>", "measured", number, 5)
  .option("--exchanges <count>", "end after so many", number, Number.POSITIVE_INFINITY)
  .option("--client-id", "send option 61", false)
  .option("--broadcast", "ask for broadcast replies", false)
  .option("--server-pid <pid>", "report this process's CPU time and memory", number);

function wayOf(args: Arguments, ownMac: number): Way {
  if (args.mode === "direct") return { kind: "direct", broadcastReplies: args.broadcast };
  const { serverMac, serverAddress } = args;
  if (serverMac === undefined || serverAddress === undefined) {
    program.error(`--mode ${args.mode} needs --server-mac and --server-address`);
  }
  const server = { mac: serverMac as never, address: serverAddress as never };
  if (args.mode === "renewal") return { kind: "renewal", server };
  if (args.giaddr === undefined) program.error("--mode relayed needs --giaddr");
  return { kind: "relayed", giaddr: args.giaddr as never, mac: ownMac as never, server };
}

/** CPU seconds (user and system, all threads) and resident bytes of a process. */
function readProcess(pid: number): { cpuSeconds: number; residentBytes: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
  return { cpuSeconds, residentBytes: Number(fields[21]) * 4096 };
}

function run(args: Arguments): void {
  const isRelayed = args.mode === "relayed";
  if (args.mode === "renewal" && args.address === undefined) {
    program.error("--mode renewal needs --address");
  }
  const ring = openPacketRing({
    interfaceName: args.interface,
    udpPort: isRelayed ? SERVER_PORT : CLIENT_PORT,
    bootpOp: BOOTREPLY,
    poller: new Poller(), // unused: this program polls by itself
  });
  const way = wayOf(args, ring.hardwareAddress);
  const pid = args.serverPid;
  let before = { cpuSeconds: 0, residentBytes: 0 };
  let own = process.cpuUsage();
  const { latencyUs, apartLatencyUs, faults, ...counts } = runLoad(
    ring,
    {
      frames: { way, requestedOptions: REQUESTED_OPTIONS, clientIdentifier: args.clientId },
      macBase: args.mac as never,
      clients: args.clients,
      addressBase: args.address as never,
      window: args.window,
      rate: args.rate,
      flood: args.flood && { kind: args.flood, rate: args.floodRate },
      timeoutMs: args.timeoutMs,
      apartEvery: args.apartEvery,
      warmUpSeconds: args.warmUp,
      seconds: args.seconds,
      exchanges: args.exchanges,
    },
    () => {
      own = process.cpuUsage();
      if (pid !== undefined) before = readProcess(pid);
    },
  );
  const after = pid === undefined ? undefined : readProcess(pid);
  const used = process.cpuUsage(own);
  const result = {
    mode: args.mode,
    window: args.window,
    exchangesPerSecond: Math.round(counts.exchanges / counts.seconds),
    ...counts,
    latencyUs,
    ...(apartLatencyUs && { apartLatencyUs }),
    faults,
    droppedByOwnKernel: ring.readStatistics().droppedByKernel,
    generatorCpuShare: (used.user + used.system) / 1e6 / counts.seconds,
    ...(after && {
      serverCpuSeconds: after.cpuSeconds - before.cpuSeconds,
      serverCpuUsPerExchange: ((after.cpuSeconds - before.cpuSeconds) * 1e6) / counts.exchanges,
      serverResidentBytes: after.residentBytes,
    }),
  };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  process.exit(counts.wrong > 0 ? 1 : 0);
}

program.parse();
if (program.opts<Arguments>().window < 1) program.error("--window must be at least 1");
run(program.opts<Arguments>());
