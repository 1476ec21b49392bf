/** A throw-away network namespace with one tap and a DHCP server (busybox udhcpd) on it. Needs root. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import koffi from "koffi";

const TUNSETIFF = 0x4004_54ca;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFREQ_BYTES = 40;

/** What a test gets; dispose it to remove everything. */
export interface ScratchNetwork extends AsyncDisposable {
  readonly tapFd: number;
}

/** Offers 10.99.0.4 with the options of the platform: 121 routes, 245 the wire server. */
export async function openScratchNetwork(folder: string, mac: string): Promise<ScratchNetwork> {
  const name = `gst${process.pid}`;
  const tapFd = openTap(name);
  execFileSync("ip", ["netns", "add", name]);
  const inside = ["netns", "exec", name];
  execFileSync("ip", ["link", "set", name, "netns", name]);
  execFileSync("ip", [...inside, "ip", "addr", "add", "10.99.0.1/24", "dev", name]);
  execFileSync("ip", [...inside, "ip", "link", "set", name, "up"]);
  const configuration = join(folder, "udhcpd.conf");
  await writeFile(configuration, udhcpdConfiguration(name, folder, mac));
  const server = spawn("ip", [...inside, "busybox", "udhcpd", "-f", configuration], {
    stdio: "ignore",
  });
  return {
    tapFd,
    async [Symbol.asyncDispose]() {
      await endProcess(server);
      closeSync(tapFd);
      execFileSync("ip", ["netns", "del", name]);
    },
  };
}

function openTap(name: string): number {
  const fd = openSync("/dev/net/tun", constants.O_RDWR | constants.O_NONBLOCK);
  const ioctl = koffi.load("libc.so.6").func("int ioctl(int fd, unsigned long request, void *arg)");
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name, "latin1");
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI, 16);
  if (ioctl(fd, TUNSETIFF, request) !== 0) throw new Error(`Cannot open the tap ${name}`);
  return fd;
}

/** The lease is static because udhcpd first pings a free address for two seconds. */
function udhcpdConfiguration(device: string, folder: string, mac: string): string {
  return `start 10.99.0.4
end 10.99.0.4
interface ${device}
lease_file ${join(folder, "udhcpd.leases")}
pidfile ${join(folder, "udhcpd.pid")}
option subnet 255.255.255.0
option router 10.99.0.1
option dns 10.99.0.1
option mtu 1400
option lease 3600
option staticroutes 0.0.0.0/0 10.99.0.1, 168.63.129.16/32 10.99.0.1, 10.98.0.0/16 0.0.0.0
option 0xf5 a83f8110
static_lease ${mac} 10.99.0.4
`;
}

async function endProcess(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  if (child.exitCode !== null || child.signalCode !== null) resolve();
  child.kill("SIGTERM");
  await promise;
}
