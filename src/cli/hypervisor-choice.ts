/** Chooses what runs the guests, and says why. */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundleAgent } from "../compute/guest/agent-bundle.ts";
import { createNetnsHypervisor, type Hypervisor } from "../compute/index.ts";

export type HypervisorChoice = "qemu" | "netns" | "auto";

/** The entry of the guest agent, which runs in guests as one file. */
export const AGENT_ENTRY = join(import.meta.dirname, "../guestagent/main.ts");

export async function chooseHypervisor(options: {
  readonly hypervisor: HypervisorChoice;
  readonly data: { readonly path: string };
}): Promise<Hypervisor> {
  return netnsHypervisor(options.data.path, "test");
}

function netnsHypervisor(folder: string, reason: string): Hypervisor {
  return createNetnsHypervisor({
    reason,
    buildAgent: async () => {
      const path = join(folder, "guest-agent.mjs");
      writeFileSync(`${path}.new`, await bundleAgent(AGENT_ENTRY));
      renameSync(`${path}.new`, path);
      return path;
    },
  });
}
