/**
 * A guest without a machine: Debian's own agents, unmodified, in namespaces over a throw-away overlay of a Debian tree.
 * Nothing on the host changes.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { formatIpv4 } from "../../../src/model/ipv4-address.ts";
import { formatMac } from "../../../src/model/mac-address.ts";
import type { WireContainer } from "../../../src/wireserver/index.ts";
import { buildDebianTree } from "../../../tools/debian-image.d/build.ts";
import { connect, disableIpv6, ip, ipBatch, makeNamespace } from "../../net/namespaces.ts";
import { finish, type Running, run } from "../processes.ts";
import { type AgentHost, BRIDGE, GATEWAY } from "./agent-host.ts";

/** Building takes minutes where nothing is cached. */
export const BUILD_TIMEOUT_MS = 600_000;
export const canRunAgents =
  process.env["CI"] !== undefined ||
  (process.getuid?.() === 0 && existsSync("/usr/bin/mmdebstrap"));

/** Nothing that would touch a real machine; the agent waits for nobody to provision. */
const WAAGENT_CONF = `Provisioning.Agent=disabled
Provisioning.DeleteRootPassword=n
Provisioning.RegenerateSshHostKeyPair=n
Provisioning.MonitorHostName=n
ResourceDisk.Format=n
ResourceDisk.EnableSwap=n
OS.EnableFirewall=n
OS.RootDeviceScsiTimeout=None
AutoUpdate.Enabled=n
Logs.Collect=n
Logs.Verbose=y
Extensions.Enabled=y
DetectScvmmEnv=n
`;

/** Its own devices: the host's disks and drives are not among them. */
const ENTER = `set -e
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$TREE,upperdir=/mnt/upper,workdir=/mnt/work" none /mnt/root
cp -a "$FILES/." /mnt/root
mount -t proc none /mnt/root/proc
mount -t sysfs none /mnt/root/sys
mount -t tmpfs none /mnt/root/run
mount -t tmpfs none /mnt/root/dev
for device in null zero full random urandom tty; do
  touch "/mnt/root/dev/$device"
  mount --bind "/dev/$device" "/mnt/root/dev/$device"
done
ln -s /proc/self/fd /mnt/root/dev/fd
ln -s /proc/self/fd/0 /mnt/root/dev/stdin
ln -s /proc/self/fd/1 /mnt/root/dev/stdout
ln -s /proc/self/fd/2 /mnt/root/dev/stderr
mkdir /mnt/root/run/lock
hostname guest
echo up
sleep infinity`;

export interface GuestOptions {
  /** Contents by path, put over Debian's. */
  readonly files?: Readonly<Record<string, string>>;
  /** What the NIC is given: nothing, an address and a default route, or a route to the wire server too (default). */
  readonly network?: "none" | "address" | "route";
}

export interface Guest extends AsyncDisposable {
  /** Starts a program inside; it ends with the guest at the latest. */
  run(...command: string[]): Running;
  /** Runs a program inside to its end. */
  finish(...command: string[]): ReturnType<typeof finish>;
  /** Starts Debian's WALinuxAgent as its unit does. */
  startAgent(): Running;
  /** What the agent wrote to its log. */
  log(): string;
  /** The text of a file inside; empty if it is not there. */
  read(path: string): string;
  /** Names in a folder inside; none if it is not there. */
  list(path: string): string[];
}

/** The Debian that guests have as their root. */
export function debianTree(): Promise<string> {
  const cacheHome = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return buildDebianTree({
    cacheDirectory: join(cacheHome, "goalstate"),
    environment: process.env,
  });
}

/** Plugs a guest into the host's bridge. Disposing ends everything in it. */
export async function startGuest(
  host: AgentHost,
  container: WireContainer,
  { files = {}, network = "route" }: GuestOptions = {},
): Promise<Guest> {
  await using stack = new AsyncDisposableStack();
  const tree = await debianTree();
  const { name: namespace } = stack.use(makeNamespace("agent"));
  disableIpv6(namespace);
  const port = `p${formatIpv4(container.address).split(".").at(-1)}`;
  connect(host.namespace, port, namespace, "eth0");
  ip("-n", host.namespace, "link", "set", "dev", port, "master", BRIDGE);
  ipBatch(namespace, [
    `link set dev eth0 address ${formatMac(container.mac)}`,
    ...(network === "none"
      ? []
      : [
          `addr add ${formatIpv4(container.address)}/24 dev eth0`,
          `route add default via ${GATEWAY}`,
        ]),
    ...(network === "route" ? [`route add 168.63.129.16 via ${GATEWAY}`] : []),
  ]);
  const folder = mkdtempSync(join(tmpdir(), "gst-agent-"));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  for (const [path, text] of Object.entries({ "etc/waagent.conf": WAAGENT_CONF, ...files })) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
  }
  const own = ["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const environment = ["env", `TREE=${tree}`, `FILES=${folder}`];
  const holder = run([...environment, "unshare", ...own, "bash", "-c", ENTER], namespace);
  stack.defer(async () => {
    // unshare ignores SIGTERM; what it started dies with it.
    holder.kill("SIGKILL");
    await holder.ended;
  });
  await holder.says("up\n");
  const { stdout } = await finish(["ps", "-o", "pid=", "--ppid", `${holder.pid}`]);
  const init = stdout.trim();
  const root = `/proc/${init}/root/mnt/root`;
  const inside = (command: readonly string[]) => [
    ...["nsenter", "-t", init, "-m", "-u", "-p", "-n", "--", "chroot", "/mnt/root"],
    ...["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", ...command],
  ];
  const read = (path: string) => {
    const file = join(root, path);
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  };
  const owned = stack.move();
  host.guests.add(owned);
  return {
    run: (...command) => run(inside(command)),
    finish: (...command) => finish(inside(command)),
    startAgent: () => run(inside(["python3", "-u", "/usr/sbin/waagent", "-daemon"])),
    read,
    log: () => read("/var/log/waagent.log"),
    list: (path) => (existsSync(join(root, path)) ? readdirSync(join(root, path)) : []),
    [Symbol.asyncDispose]: async () => {
      host.guests.delete(owned);
      await owned.disposeAsync();
    },
  };
}
