/** A network with one real client: what both sides send is captured, and every reply is checked by tshark. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { disableIpv6, ip } from "../../net/namespaces.ts";
import { type Running, run } from "../processes.ts";
import { INTERFACE, makeServeNetwork, NETWORK, type ServeNetwork } from "../serve-network.ts";
import { type Exchange, readConversation } from "./conversation.ts";

export const MAC = "00:0c:01:02:03:04";
export const ADDRESS = "10.77.10.1";
/** The address after the inventory has changed. */
export const MOVED = "10.77.10.2";
export const SERVER = "168.63.129.16";

/** What a client's whole life is: a lease, a renewal after the server was started again, a refusal, a lease, the end. */
const LIFE = [
  ...["DISCOVER", `OFFER ${ADDRESS}`, `REQUEST selecting ${ADDRESS}`, `ACK ${ADDRESS}`],
  ...[`REQUEST renewing ${ADDRESS}`, `ACK ${ADDRESS}`],
  ...[`REQUEST renewing ${ADDRESS}`, `NAK to ${ADDRESS}`, "NAK"],
  ...["DISCOVER", `OFFER ${MOVED}`, `REQUEST selecting ${MOVED}`, `ACK ${MOVED}`],
  `RELEASE ${MOVED}`,
];
const BOUND = 4;
const RENEWED = 6;
const MOVED_ON = 13;
/** Destinations of the routes that a client takes from option 121. */
export const ROUTES = ["10.77.0.0/16", "168.63.129.16", "169.254.169.254", "default"];

/** Debian packages that the tests use but do not install: tools/host-setup unpacks them here. */
export const UNPACKED = "/var/cache/goalstate/test-packages";

/** A client waits up to 10 s before it repeats what was lost while the server was away; a lease of 60 s is renewed at 30. */
const WAIT_MAX_MS = 45_000;
/** For a test with several such waits. */
export const TEST_TIMEOUT_MS = 150_000;

/** True where the programs that these tests drive can be: root, namespaces, tshark. CI has them all. */
export const canRunClients =
  process.env["CI"] !== undefined || (process.getuid?.() === 0 && existsSync("/usr/bin/tshark"));

/** An inventory whose one NIC has this address. */
export function inventory(address: string, network = NETWORK): string {
  return `${network}\nnics: [{ mac: "${MAC}", address: ${address}, container: web-0, hostname: web-0 }]\n`;
}

export interface ClientNetwork extends AsyncDisposable {
  readonly network: ServeNetwork;
  /** Serves an inventory; one that is being served already is ended first. */
  serve(inventory: string): Promise<Running>;
  /** Lets the running server read another inventory; once for each server. */
  reload(inventory: string): Promise<void>;
  /** What was said so far, retransmissions left out. */
  conversation(): string[];
  exchanges(): Exchange[];
  /** Waits until exactly this was said. */
  hears(words: readonly string[]): Promise<void>;
  /** Fails unless tshark finds every reply well formed, and no host answered with an ICMP error. */
  check(): Promise<void>;
}

/** Makes the network and starts the capture on the server's side. */
export async function makeClientNetwork(mac = MAC): Promise<ClientNetwork> {
  await using stack = new AsyncDisposableStack();
  const network = stack.use(makeServeNetwork(mac));
  disableIpv6(network.host);
  const pcap = join(network.folder, "conversation.pcap");
  const filter = "icmp or udp port 67 or udp port 68";
  const options = ["--immediate-mode", "-U", "-Z", "root", "-i", INTERFACE, "-w", pcap];
  const sniffer = stack.use(run(["tcpdump", ...options, filter], network.host));
  await sniffer.says("listening");
  let server: Running | undefined;
  const endServer = async () => await server?.[Symbol.asyncDispose]();
  stack.defer(endServer);
  const exchanges = () => readConversation(pcap);
  const conversation = () => exchanges().map(({ words }) => words);
  const owned = stack.move();
  return {
    network,
    serve: async (text) => {
      await endServer();
      server = await network.serve(text);
      return server;
    },
    reload: async (text) => {
      network.command(text); // writes the file that is served
      server?.kill("SIGHUP");
      await server?.says('"msg":"inventory reloaded"');
    },
    conversation,
    exchanges,
    hears: async (words) =>
      await expect.poll(conversation, { timeout: WAIT_MAX_MS, interval: 250 }).toEqual(words),
    check: async () => {
      sniffer.kill("SIGTERM");
      await sniffer.ended;
      expect(complaints(pcap)).toEqual([]);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Replies that tshark finds fault with, and ICMP errors; a client's own kernel leaves its checksums to the NIC. */
function complaints(pcap: string): string[] {
  const checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"];
  const good =
    "!_ws.malformed && !_ws.expert && ip.checksum.status == 1 && udp.checksum.status == 1";
  const bad = `(ip.src == ${SERVER} && udp && !(${good})) || icmp.type == 3`;
  return execFileSync("tshark", ["-r", pcap, ...checks, "-Y", bad], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  })
    .split("\n")
    .filter((line) => line !== "");
}

/** A machine as a client sees it: mounts, host name and processes of its own, in the client's network namespace. */
export interface Machine extends AsyncDisposable {
  /** The command, to be run inside. */
  inside(...command: string[]): string[];
  /** Starts a program inside; it ends with the machine at the latest. */
  run(...command: string[]): Running;
  /** Runs a program inside to its end and returns what it printed; throws if it fails. */
  exec(...command: string[]): string;
  /** Waits until this is the one IPv4 address of `eth0`; none if it is left out. */
  has(address?: string): Promise<void>;
  /** Destinations of its IPv4 routes. */
  routes(): string[];
  /** Starts a D-Bus system bus of its own, and makes programs take it for a machine without udev, as in a container. */
  startBus(): Promise<void>;
}

/** What clients write is written to copies: nothing of the host's `/etc`, `/run` and `/var/lib` changes. */
const PRIVATE_FOLDERS = `set -e
mount -t tmpfs none /mnt
cp -a /etc /mnt/etc
mount --bind /mnt/etc /etc
rm -f /etc/resolv.conf /etc/machine-id
touch /etc/resolv.conf
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
mount -t tmpfs none /run
mount -t tmpfs none /var/lib
mkdir -p /var/lib/dhcp /var/lib/dhcpcd /run/lock
hostname client
echo up
sleep infinity`;

const START_BUS = `mount -o remount,ro,bind /sys
mkdir -p /run/dbus
exec dbus-daemon --system --nofork --nopidfile --print-address`;

/** Starts a machine in the client's namespace. */
export async function startMachine({ client }: ServeNetwork): Promise<Machine> {
  const own = ["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const holder = run(["unshare", ...own, "bash", "-c", PRIVATE_FOLDERS], client);
  await holder.says("up\n");
  const init = execFileSync("ps", ["-o", "pid=", "--ppid", `${holder.pid}`], { encoding: "utf8" });
  const inside = (...command: string[]) => [
    ...["nsenter", "-t", init.trim(), "-m", "-u", "-p", "-n", "-w", "--"],
    ...command,
  ];
  return {
    inside,
    run: (...command) => run(inside(...command)),
    exec: (...command) => {
      const [program = "", ...args] = inside(...command);
      return execFileSync(program, args, { encoding: "utf8", timeout: WAIT_MAX_MS, stdio: "pipe" });
    },
    has: async (address) => {
      const addresses = () => {
        const text = ip("-n", client, "-4", "addr", "show", "dev", "eth0");
        return [...text.matchAll(/inet (\S+)/g)].map(([, found]) => found);
      };
      const want = address === undefined ? [] : [`${address}/16`];
      await expect.poll(addresses, { timeout: WAIT_MAX_MS, interval: 100 }).toEqual(want);
    },
    routes: () => {
      const text = ip("-n", client, "-4", "route", "show");
      return [...text.matchAll(/^\S+/gm)].map(([destination]) => destination).sort();
    },
    startBus: async () => {
      const bus = run(inside("sh", "-c", START_BUS));
      await bus.says("unix:path=");
    },
    [Symbol.asyncDispose]: async () => {
      // unshare ignores SIGTERM; what it started dies with it.
      holder.kill("SIGKILL");
      await holder.ended;
    },
  };
}

/** What one client does at the turns of its life. */
export interface Client {
  /** Runs it in the foreground. */
  readonly start: readonly string[];
  /** Destinations of its routes once it has a lease. */
  readonly routes: readonly string[];
  /** Makes it renew; left out if it does so soon by itself. */
  readonly renew?: readonly string[];
  readonly release: readonly string[];
}

/** Brings a client through {@link LIFE}; returns what each side said, for what only this client does. */
export async function liveThrough(
  net: ClientNetwork,
  machine: Machine,
  { start, routes, renew, release }: Client,
): Promise<Exchange[]> {
  const renewNow = () => renew !== undefined && machine.exec(...renew);
  await net.serve(inventory(ADDRESS));
  machine.run(...start);
  await net.hears(LIFE.slice(0, BOUND));
  await machine.has(ADDRESS);
  await expect.poll(machine.routes, { timeout: WAIT_MAX_MS }).toEqual(routes);

  await net.serve(inventory(ADDRESS));
  renewNow();
  await net.hears(LIFE.slice(0, RENEWED));

  await net.reload(inventory(MOVED));
  renewNow();
  await net.hears(LIFE.slice(0, MOVED_ON));
  await machine.has(MOVED);

  machine.exec(...release);
  await net.hears(LIFE);
  await machine.has();
  await net.check();
  return net.exchanges();
}
