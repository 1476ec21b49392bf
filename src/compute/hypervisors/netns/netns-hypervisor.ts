/**
 * Runs guests as processes in a network namespace of their own, with a veth as NIC: the same DHCP exchange, the same
 * port, the same agent, no kernel of its own. For machines without QEMU, and for tests.
 */
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FabricError } from "../../../model/errors.ts";
import { formatMac } from "../../../model/mac-address.ts";
import { ipBatch } from "../../../net/iproute.ts";
import { runTool } from "../../../net/run-tool.ts";
import type {
  GuestDescription,
  Hypervisor,
  PreparedGuest,
  Vm,
  VmExit,
  VmSpec,
} from "../../hypervisor.ts";
import { removeNamespace } from "../../leftovers.ts";

const TAIL_CHARACTERS = 600;
/** The guest's end of its NIC, as in a VM. */
const GUEST_INTERFACE = "eth0";
const INIT_SCRIPT = join(import.meta.dirname, "guest-init.ts");

export interface NetnsHypervisorOptions {
  /** Why this one was chosen, for people. */
  readonly reason: string;
  /** Builds the one-file guest agent; returns its path. */
  readonly buildAgent: () => Promise<string>;
}

/** Makes the netns hypervisor. */
export function createNetnsHypervisor(options: NetnsHypervisorOptions): Hypervisor {
  return {
    kind: "netns",
    description: `network namespaces (${options.reason})`,
    prepare: async (guest) => prepareGuest(guest, await options.buildAgent()),
  };
}

function prepareGuest(guest: GuestDescription, agent: string): PreparedGuest {
  if (guest.app !== undefined && !existsSync(join(guest.app, "app.json"))) {
    const message = `Cannot read the app of ${guest.container}: ${guest.app} has no app.json`;
    throw new FabricError("ERR_APP_MISSING", message);
  }
  return {
    evidence: { agent, ...(guest.app !== undefined && { app: guest.app }) },
    boot: (spec) => bootGuest(spec, agent, guest.app),
  };
}

async function bootGuest(spec: VmSpec, agent: string, app: string | undefined): Promise<Vm> {
  const namespace = spec.name;
  await createNic(spec, namespace);
  const consolePath = join(spec.runDirectory, "console.log");
  const consoleFd = openSync(consolePath, "w", 0o600);
  const args = [
    ...["netns", "exec", namespace, process.execPath, INIT_SCRIPT],
    ...["--interface", GUEST_INTERFACE, "--hostname", spec.hostname],
    ...["--run", spec.runDirectory, "--agent", agent],
    ...(app === undefined ? [] : ["--app", app]),
  ];
  const child = spawn("ip", args, {
    stdio: ["ignore", consoleFd, consoleFd],
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
    cwd: spec.runDirectory,
  });
  closeSync(consoleFd);
  let stopping = false;
  const { promise: exited, resolve } = Promise.withResolvers<VmExit>();
  child.on("error", (error) => resolve({ kind: "failed", reason: error.message }));
  child.on("exit", (code, signal) => {
    const reason = `its init ended (${signal ?? code}): ${consoleTail(consolePath)}`;
    resolve(stopping ? { kind: "stopped" } : { kind: "failed", reason });
  });
  return {
    pid: child.pid ?? 0,
    consolePath,
    exited,
    stop: async () => {
      stopping = true;
      await removeNamespace(namespace);
      // It may have been on its way into the namespace, where nobody saw it.
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** The host end is left down and attached to nothing, as a tap is. */
async function createNic({ port, mac }: VmSpec, namespace: string): Promise<void> {
  await runTool("ip", ["netns", "add", namespace]);
  await ipBatch(port.namespace, [
    `link add name ${port.name} type veth peer name ${GUEST_INTERFACE} address ${formatMac(mac)} netns ${namespace}`,
  ]);
  await ipBatch(namespace, ["link set dev lo up", `link set dev ${GUEST_INTERFACE} up`]);
}

function consoleTail(path: string): string {
  const text = readFileSync(path, "utf8").trim();
  return text.slice(-TAIL_CHARACTERS).replaceAll(/\s*\n\s*/g, " | ") || "it printed nothing";
}
