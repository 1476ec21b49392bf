/**
 * What a guest's init does, for a guest that is only a network namespace: takes its interface through DHCP,
 * configures it, writes the lease where the agent looks for it, and runs the agent. Runs inside the namespace.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readlinkSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BOOTREPLY, CLIENT_PORT, type DhcpLease, runDhcpClient } from "../../../dhcp/index.ts";
import { errorText } from "../../../model/errors.ts";
import { formatIpv4, formatSubnet, type Ipv4Address } from "../../../model/ipv4-address.ts";
import { formatMac } from "../../../model/mac-address.ts";
import { ipBatch } from "../../../net/iproute.ts";
import { openPacketRing } from "../../../net/packet-ring.ts";
import { Poller } from "../../../net/poller.ts";
import { runTool } from "../../../net/run-tool.ts";

/** Between SIGTERM and SIGKILL for the agent, as long as it gives its role program, and a little more. */
const AGENT_GRACE_MS = 12_000;

const { values } = parseArgs({
  allowPositionals: true, // guest=NAME, by which it is found
  options: {
    attempt: { type: "string" }, // by which it is told from an earlier start
    interface: { type: "string", default: "eth0" },
    hostname: { type: "string", default: "guest" },
    run: { type: "string", default: "." },
    agent: { type: "string", default: "" },
    "host-mounts": { type: "string" }, // the mount namespace in which nothing may be mounted
    app: { type: "string" },
  },
});

/** What may stand behind `search`, which comes from the network. */
const DOMAIN = /^[a-z0-9.-]{1,253}$/i;

const resolvConfPath = join(values.run, "resolv.conf");
const leasePath = join(values.run, "lease");
const stop = new AbortController();
let agent: ChildProcess | undefined;
process.on("SIGTERM", () => powerOff("asked to stop"));

await using socket = openPacketRing({
  interfaceName: values.interface,
  udpPort: CLIENT_PORT,
  bootpOp: BOOTREPLY,
  poller: new Poller(),
});
const mac = socket.hardwareAddress;
let started = false;
say(`interface ${values.interface}, MAC ${formatMac(mac)}: asking for an address`);
await runDhcpClient({
  socket,
  mac,
  hostname: values.hostname,
  signal: stop.signal,
  onBound: (lease) => void onBound(lease).catch(fail),
  onLost: () => say("lease lost"),
});

async function onBound(lease: DhcpLease): Promise<void> {
  say(`address ${formatIpv4(lease.address)} from ${formatIpv4(lease.serverIdentifier)}`);
  await configure(lease);
  writeLease(lease);
  writeResolvConf(lease);
  if (started) return;
  started = true;
  await useResolvConf();
  runAgent();
}

async function configure(lease: DhcpLease): Promise<void> {
  const device = values.interface;
  const prefixLength = Math.clz32(~lease.subnetMask);
  const routes = lease.routes.map(({ destination, gateway }) =>
    gateway === 0
      ? `route replace ${formatSubnet(destination)} dev ${device} scope link`
      : `route replace ${formatSubnet(destination)} via ${formatIpv4(gateway)} dev ${device}`,
  );
  await ipBatch(undefined, [
    ...(lease.mtu === undefined ? [] : [`link set dev ${device} mtu ${lease.mtu}`]),
    `addr replace ${formatIpv4(lease.address)}/${prefixLength} dev ${device}`,
    ...routes,
  ]);
}

/** The lease as the VM's DHCP script writes it; renamed into place, so that it is never seen half-written. */
function writeLease(lease: DhcpLease): void {
  const list = (addresses: readonly Ipv4Address[]) => addresses.map(formatIpv4).join(" ");
  const lines = [
    `interface=${values.interface}`,
    `ip=${formatIpv4(lease.address)}`,
    `subnet=${formatIpv4(lease.subnetMask)}`,
    `router=${list(lease.routers)}`,
    `dns=${list(lease.dns)}`,
    ...(lease.domain === undefined ? [] : [`domain=${lease.domain}`]),
    `lease=${lease.leaseSeconds}`,
    `serverid=${formatIpv4(lease.serverIdentifier)}`,
    ...(lease.wireServer === undefined
      ? []
      : [`opt245=${lease.wireServer.toString(16).padStart(8, "0")}`]),
  ];
  writeFileSync(`${leasePath}.new`, `${lines.join("\n")}\n`);
  renameSync(`${leasePath}.new`, leasePath);
}

/** In place, for it is bound by its inode. */
function writeResolvConf({ dns, domain }: DhcpLease): void {
  const lines = dns.map((address) => `nameserver ${formatIpv4(address)}`);
  if (domain !== undefined && DOMAIN.test(domain)) lines.push(`search ${domain}`);
  writeFileSync(resolvConfPath, `${lines.join("\n")}\n`);
}

/**
 * Puts it in the place where resolvers look, for this guest alone: `ip netns exec` gave us a mount namespace of our own,
 * from which no mount reaches the host. Without one, or where the host has no such file, names are not resolved.
 */
async function useResolvConf(): Promise<void> {
  try {
    const own = readlinkSync("/proc/self/ns/mnt");
    if (own === values["host-mounts"]) throw new Error("it has no mount namespace of its own");
    await runTool("mount", ["--bind", resolvConfPath, realpathSync("/etc/resolv.conf")]);
  } catch (error) {
    say(`names are resolved as on the host: ${errorText(error)}`);
  }
}

/**
 * The agent ends when its guest does, and the guest when its agent does: with 0 the agent has stopped what it ran, as
 * its goal state wants; else the guest failed, and the console says why.
 */
function runAgent(): void {
  const state = join(values.run, "state");
  mkdirSync(state, { recursive: true });
  // As in a VM, where the folder is empty if there is no app disk.
  const app = ["--app", values.app ?? join(values.run, "app")];
  const args = [values.agent, "--lease", leasePath, "--state", state, ...app];
  agent = spawn(process.execPath, args, { stdio: "inherit" });
  agent.on("exit", (code, signal) => {
    agent = undefined;
    if (stop.signal.aborted) return;
    if (code === 0) powerOff("its agent is done");
    else fail(new Error(`the agent ended: ${signal ?? code}`));
  });
  process.on("exit", () => agent?.kill("SIGKILL"));
}

/** Ends once the agent, which stops its role program first, has ended. */
function powerOff(why: string): void {
  if (stop.signal.aborted) return;
  stop.abort();
  const last = () => say(`${why}, powering off`);
  const running = agent;
  if (running === undefined) {
    last();
    return;
  }
  const late = setTimeout(() => running.kill("SIGKILL"), AGENT_GRACE_MS);
  running.once("exit", () => {
    clearTimeout(late);
    last();
  });
  running.kill("SIGTERM");
}

function say(text: string): void {
  process.stdout.write(`goalstate-guest: ${text}\n`);
}

function fail(error: unknown): void {
  say(`failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
  stop.abort();
}
