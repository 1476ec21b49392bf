/** Starts a VM: what it boots from, then the VM. */
import { join } from "node:path";
import type { ContainerGoal } from "../../model/documents.ts";
import { parseMac } from "../../model/mac-address.ts";
import { deriveGuid, portName } from "../../model/names.ts";
import type { BootTrace, Evidence } from "../../trace/index.ts";
import type { GuestBoot, Hypervisor, Vm, VmSpec } from "../hypervisor.ts";
import type { Slots } from "./slots.ts";

const PROGRESS_PERCENT = 10;
const PROGRESS_BYTES = 64 * 1024 * 1024;
const MIB = 1024 * 1024;

/** What a container boots from, if not from goalstate's own image alone. */
export interface BootSource {
  readonly boot?: GuestBoot;
  /** Absolute path of an ISO image. */
  readonly provisioningDisc?: string;
  /** For the boot trace. */
  readonly evidence: Evidence;
}

export interface BootSourceRequest {
  readonly goal: ContainerGoal;
  /** The container's own, which is there over all attempts on this node and goes with the container. */
  readonly folder: string;
  /** May be called as often as it likes. `totalBytes` is undefined where it is not known. */
  readonly onProgress: (doneBytes: number, totalBytes: number | undefined) => void;
  /** Aborts when the container is not wanted any more. */
  readonly signal: AbortSignal;
}

/** Gets images, and makes the disks of a container from them. */
export type PrepareBootSource = (request: BootSourceRequest) => Promise<BootSource>;

export interface StartRequest {
  readonly goal: ContainerGoal;
  /** The VNET's on this node. */
  readonly namespace: string;
  readonly hypervisor: Hypervisor;
  readonly prepareSource: PrepareBootSource | undefined;
  readonly trace: Pick<BootTrace, "reach">;
  readonly namePrefix: string;
  /** Where each container of the node has a folder, this one too. */
  readonly runDirectory: string;
  readonly slots: Slots;
  /** What is being done, for people; at a bounded rate. */
  readonly say: (detail: string) => void;
  readonly signal: AbortSignal;
}

/** Starts the VM of a goal. Rejects as the image's source and the hypervisor, and when `signal` aborts. */
export async function startVm(request: StartRequest): Promise<Vm> {
  const { goal, hypervisor, trace, runDirectory, slots, say, signal } = request;
  const { container, app } = goal;
  const folder = join(runDirectory, container);
  const onProgress = tellProgress(say);
  const source = await unlessAborted(
    signal,
    request.prepareSource?.({ goal, folder, onProgress, signal }),
  );
  const { evidence, ...guest } = source ?? { evidence: {} };
  return await slots.run(signal, async () => {
    const description = { container, ...(app !== undefined && { app }), ...guest };
    const prepared = await hypervisor.prepare(description, signal);
    trace.reach(container, "image-ready", { ...evidence, ...prepared.evidence });
    signal.throwIfAborted();
    say("starting its VM");
    const vm = await prepared.boot(specOf(request, folder), signal);
    trace.reach(container, "vm-created", {
      hypervisor: hypervisor.description,
      pid: vm.pid,
      port: vm.port.name,
      console: vm.consolePath,
      ...vm.evidence,
    });
    return vm;
  });
}

/** Waits no longer than until `signal` aborts: what does not heed it must not hold up the end of its container. */
async function unlessAborted<T>(signal: AbortSignal, work: Promise<T> | undefined) {
  signal.throwIfAborted();
  if (work === undefined) return undefined;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function specOf({ goal, namespace, namePrefix }: StartRequest, runDirectory: string): VmSpec {
  const { container, attempt, containerId, cpus, memoryMib, hostname } = goal;
  return {
    ...{ container, attempt, runDirectory, cpus, memoryMib, hostname },
    name: `${namePrefix}${container}`,
    vmId: deriveGuid(containerId, "vm"),
    mac: parseMac(goal.mac),
    port: { namespace, name: portName(goal.mac) },
  };
}

/** Says so each 10 %, or each 64 MiB where nobody knows how much there is. */
function tellProgress(say: (detail: string) => void): BootSourceRequest["onProgress"] {
  let told = 0;
  return (doneBytes, totalBytes) => {
    const known = totalBytes !== undefined && totalBytes > 0;
    const percent = known ? Math.floor((100 * doneBytes) / totalBytes) : 0;
    const mark = known
      ? Math.floor(percent / PROGRESS_PERCENT)
      : Math.floor(doneBytes / PROGRESS_BYTES);
    if (mark <= told) return;
    told = mark;
    const mib = Math.round(doneBytes / MIB);
    say(
      known
        ? `getting its image: ${percent} % of ${Math.ceil(totalBytes / MIB)} MiB`
        : `getting its image: ${mib} MiB`,
    );
  };
}
