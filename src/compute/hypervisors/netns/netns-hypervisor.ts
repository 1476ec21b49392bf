/**
 * Runs guests as processes in a network namespace of their own, with a veth as NIC: the same DHCP exchange, the same
 * port, the same agent, no kernel of its own. For machines without QEMU, and for tests.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { FabricError } from "../../../model/errors.ts";
import { formatMac } from "../../../model/mac-address.ts";
import { findNamespaceInode } from "../../../net/namespace.ts";
import { runTool } from "../../../net/run-tool.ts";
import { adoptGuests, type GuestPlace, startGuest } from "../../guest-finder.ts";
import { processOfChild, processOfFound } from "../../guest-process.ts";
import type { GuestDescription, Hypervisor, PreparedGuest, Vm, VmSpec } from "../../hypervisor.ts";
import { type HeldProcess, readProcess } from "../../processes.ts";
import { CONSOLE_FILE, NetnsVm } from "./netns-vm.ts";

/** The guest's end of its NIC, as in a VM. */
const GUEST_INTERFACE = "eth0";
const INIT_SCRIPT = join(import.meta.dirname, "guest-init.ts");
const ENTER_WAIT_MS = 3_000;
const ENTER_POLL_MS = 20;

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
    adopt: (scope) => adoptGuests(scope, "netns", attach),
  };
}

function prepareGuest(guest: GuestDescription, agent: string): PreparedGuest {
  if (guest.app !== undefined && !existsSync(join(guest.app, "app.json"))) {
    const message = `Cannot read the app of ${guest.container}: ${guest.app} has no app.json`;
    throw new FabricError("ERR_APP_MISSING", message);
  }
  return {
    evidence: { agent, ...(guest.app !== undefined && { app: guest.app }) },
    boot: (spec, signal) => bootGuest(spec, { agent, app: guest.app, signal }),
  };
}

interface BootParts {
  readonly agent: string;
  readonly app: string | undefined;
  readonly signal: AbortSignal;
}

async function bootGuest(spec: VmSpec, parts: BootParts): Promise<Vm> {
  return await startGuest(spec, "netns", async (place, lockFd) => {
    parts.signal.throwIfAborted();
    await createNic(spec);
    parts.signal.throwIfAborted();
    return new NetnsVm(place, processOfChild(spawnInit(spec, parts, lockFd)));
  });
}

function spawnInit(spec: VmSpec, { agent, app }: BootParts, lockFd: number): ChildProcess {
  const args = [
    ...["netns", "exec", spec.name, process.execPath, INIT_SCRIPT],
    ...[`--attempt=${spec.attempt}`, "--interface", GUEST_INTERFACE, "--hostname", spec.hostname],
    ...["--run", spec.runDirectory, "--agent", agent],
    ...["--host-mounts", readlinkSync("/proc/self/ns/mnt")],
    ...(app === undefined ? [] : ["--app", app]),
    `guest=${spec.name}`,
  ];
  const consoleFd = openSync(join(spec.runDirectory, CONSOLE_FILE), "w", 0o600);
  try {
    return spawn("ip", args, {
      stdio: ["ignore", consoleFd, consoleFd, lockFd],
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
      cwd: spec.runDirectory,
      detached: true, // what our terminal sends us is not for the guest
    });
  } finally {
    closeSync(consoleFd);
  }
}

/** The host end is left down and attached to nothing, as a tap is. */
async function createNic({ port, mac, name, runDirectory }: VmSpec): Promise<void> {
  const ip = (args: string[], lines?: readonly string[]) =>
    // In the run directory, where it is found if we do not live to see it end.
    runTool("ip", args, { cwd: runDirectory, ...(lines && { input: `${lines.join("\n")}\n` }) });
  await ip(["netns", "add", name]);
  await ip(
    ["-n", port.namespace, "-batch", "-"],
    [
      `link add name ${port.name} type veth peer name ${GUEST_INTERFACE} address ${formatMac(mac)} netns ${name}`,
    ],
  );
  await ip(
    ["-n", name, "-batch", "-"],
    ["link set dev lo up", `link set dev ${GUEST_INTERFACE} up`],
  );
}

/** Its NIC is whole, for it is made before its init is. Only the latter may still be on its way. */
async function attach(place: GuestPlace, held: HeldProcess): Promise<Vm | { reason: string }> {
  const inode = findNamespaceInode(place.record.name);
  for (let waitedMs = 0; waitedMs < ENTER_WAIT_MS; waitedMs += ENTER_POLL_MS) {
    if (held.hasEnded) break;
    const info = readProcess(held.pid);
    if (inode !== undefined && info?.networkNamespace === inode && info.args[0] !== "ip") {
      return new NetnsVm(place, processOfFound(held));
    }
    await delay(ENTER_POLL_MS);
  }
  return { reason: "its init did not get into its namespace" };
}
