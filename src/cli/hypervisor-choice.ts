/** Chooses what runs the guests, and says why. */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  buildGuestImage,
  bundleAgent,
  createNetnsHypervisor,
  createQemuHypervisor,
  findQemu,
  type Hypervisor,
  openQemuMachines,
  type VmLifetime,
} from "../compute/index.ts";
import { errorText, FabricError } from "../model/errors.ts";

export type HypervisorChoice = "qemu" | "netns" | "auto";

const ROOT = join(import.meta.dirname, "../..");
/** The entry of the guest agent, which runs in guests as one file. */
const AGENT_ENTRY = join(ROOT, "src/guestagent/main.ts");
const GUEST_SCRIPTS = join(ROOT, "tools/guest-image.d");

export interface HypervisorOptions {
  readonly hypervisor: HypervisorChoice;
  /** Where the netns guests' agent is written. */
  readonly dataFolder: string;
  /** Where images are kept between runs. */
  readonly cacheFolder: string;
  /** PATH */
  readonly searchPath: string;
  /** For the tools that build the guest image (proxy settings of apt). */
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** Whether guests end with this process; they do, unless it says `own`. */
  readonly lifetime?: VmLifetime;
}

/**
 * Takes QEMU where it is installed and can be given a guest image, else network namespaces, unless one was asked
 * for.
 *
 * @throws FabricError ERR_USAGE_HYPERVISOR if QEMU was asked for and is not installed
 */
export async function chooseHypervisor(options: HypervisorOptions): Promise<Hypervisor> {
  const { hypervisor, cacheFolder, searchPath, environment, dataFolder, signal } = options;
  if (hypervisor === "netns") return netnsHypervisor(dataFolder, "as asked");
  const qemu = await findQemu(searchPath);
  if (qemu.kind === "missing") {
    if (hypervisor === "auto") return netnsHypervisor(dataFolder, `no QEMU: ${qemu.reason}`);
    throw new FabricError("ERR_USAGE_HYPERVISOR", `--hypervisor qemu: ${qemu.reason}`);
  }
  try {
    const image = await buildGuestImage({
      cacheDirectory: cacheFolder,
      agentEntry: AGENT_ENTRY,
      nodeBinary: process.execPath,
      scriptsDirectory: GUEST_SCRIPTS,
      environment,
      signal,
    });
    const machines = await openQemuMachines(qemu, { lifetime: options.lifetime ?? "agent" });
    return createQemuHypervisor({ machines, image, cacheDirectory: cacheFolder });
  } catch (error) {
    if (hypervisor === "qemu" || signal.aborted) throw error;
    return netnsHypervisor(dataFolder, `QEMU has nothing to boot: ${errorText(error)}`);
  }
}

function netnsHypervisor(folder: string, reason: string): Hypervisor {
  let agent: Promise<string> | undefined;
  return createNetnsHypervisor({
    reason,
    buildAgent: () => {
      agent ??= writeAgent(join(folder, "guest-agent.mjs"));
      return agent;
    },
  });
}

async function writeAgent(path: string): Promise<string> {
  writeFileSync(`${path}.new`, await bundleAgent(AGENT_ENTRY));
  renameSync(`${path}.new`, path);
  return path;
}
