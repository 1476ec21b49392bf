/** A machine without a disk that boots from the network: QEMU beside a file server, in the namespaces of a test. */
import { readFileSync } from "node:fs";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeCpio, foldersOf } from "../../../src/compute/guest/cpio.ts";
import { requireBusybox, requireGuestKernel } from "../../../src/compute/guest/guest-packages.ts";
import { resolveModules } from "../../../src/compute/guest/kernel-modules.ts";
import { readModule } from "../../../src/compute/guest/module-file.ts";
import { ip } from "../../net/namespaces.ts";
import { type Running, run } from "../processes.ts";
import { SERVER_ADDRESS } from "../serve-network.ts";
import type { ClientNetwork } from "./client-network.ts";

export const HTTP = `http://${SERVER_ADDRESS}:8080`;

/** The system that is booted: it takes a lease, says so on the console, and switches the machine off. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
for module in $(/bin/busybox cat /order); do /bin/busybox insmod /$module; done
/bin/busybox ip link set eth0 up
/bin/busybox udhcpc -i eth0 -f -q -n -O 245 -s /lease
/bin/busybox poweroff -f
`;
const LEASE = `#!/bin/busybox sh
[ "$1" = bound ] && echo "booted: ip=$ip opt245=$opt245"
exit 0
`;
const IPXE_SCRIPT = `#!ipxe
kernel ${HTTP}/vmlinuz initrd=initrd console=ttyS0 panic=-1 quiet
initrd ${HTTP}/initrd
boot
`;

/** Fills a folder with what is booted: `vmlinuz`, `initrd`, and `boot.ipxe` that loads both. */
export async function writeBootFiles(folder: string): Promise<void> {
  const options = { cacheDirectory: join(folder, "cache"), root: "/", environment: process.env };
  const { kernel, modulesFolder } = await requireGuestKernel(options);
  const text = (name: string) => readFileSync(join(modulesFolder, name), "utf8");
  const modules = resolveModules(["virtio_pci", "virtio_net", "af_packet"], {
    dep: text("modules.dep"),
    builtin: text("modules.builtin"),
  });
  const file = (path: string, content: Uint8Array) =>
    ({ kind: "file", path, content, executable: true }) as const;
  const named = modules.map((path, index) => [path, `${index}.ko`] as const);
  const entries = [
    file("init", Buffer.from(INIT)),
    file("lease", Buffer.from(LEASE)),
    file("order", Buffer.from(named.map(([, name]) => name).join("\n"))),
    file("bin/busybox", await readFile(await requireBusybox(options))),
    ...(await Promise.all(
      named.map(async ([path, name]) => file(name, await readModule(join(modulesFolder, path)))),
    )),
  ];
  const folders = foldersOf(["proc/.", "dev/.", ...entries.map(({ path }) => path)]);
  await writeFile(join(folder, "initrd"), encodeCpio([...folders, ...entries]));
  await copyFile(kernel, join(folder, "vmlinuz"));
  await writeFile(join(folder, "boot.ipxe"), IPXE_SCRIPT);
}

/** Serves a folder over HTTP on the server's side; prints the path of each request. */
export async function serveHttp({ network }: ClientNetwork, folder: string): Promise<Running> {
  const script = `
    const { createServer } = require("node:http");
    const { createReadStream, statSync } = require("node:fs");
    const { basename, join } = require("node:path");
    createServer(({ method, url }, response) => {
      const file = join(process.argv[1], basename(url));
      console.log(method, url);
      response.writeHead(200, { "content-length": statSync(file).size, "content-type": "application/octet-stream" });
      if (method === "HEAD") response.end(); else createReadStream(file).pipe(response);
    }).listen(8080, "${SERVER_ADDRESS}", () => console.log("listening"));`;
  const server = run([process.execPath, "-e", script, folder], network.host);
  await server.says("listening");
  return server;
}

/** Serves a folder by TFTP on the server's side; says which files it sent. */
export async function serveTftp({ network }: ClientNetwork, folder: string): Promise<Running> {
  const options = ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"];
  const tftp = ["--port=0", "--enable-tftp", `--tftp-root=${folder}`, "--log-facility=-"];
  const server = run(["dnsmasq", ...options, ...tftp, "--interface=served"], network.host);
  await server.says("TFTP root is");
  return server;
}

/** Starts a machine with nothing but a NIC; its console is standard output. It ends when what it boots switches it off. */
export function bootMachine({ network }: ClientNetwork, firmware: readonly string[]): Running {
  const { client } = network;
  ip("-n", client, "link", "add", "name", "br0", "type", "bridge");
  ip("-n", client, "tuntap", "add", "dev", "tap0", "mode", "tap");
  for (const port of ["eth0", "tap0"]) {
    ip("-n", client, "link", "set", "dev", port, "master", "br0");
    ip("-n", client, "link", "set", "dev", port, "up");
  }
  ip("-n", client, "link", "set", "dev", "br0", "up");
  const machine = ["-vga", "std", "-machine", "pc", "-accel", "tcg", "-m", "512", "-no-reboot"];
  const console = ["-display", "none", "-serial", "stdio", "-monitor", "none"];
  const nic = ["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no"];
  return run(
    ["qemu-system-x86_64", "-nodefaults", ...machine, ...console, ...nic, ...firmware],
    client,
  );
}
