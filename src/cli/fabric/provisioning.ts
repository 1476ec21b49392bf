/** Gives a guest the disc from which it is provisioned. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type PrepareBootSource,
  type ProvisioningDisc,
  writeProvisioningDisc,
} from "../../compute/index.ts";
import type { DiscFault } from "../../model/playbook.ts";
import { changeBody, renderOvfEnvironment, type WireProvisioning } from "../../wireserver/index.ts";
import { wireProvisioningOf } from "../wire-view.ts";

const DISC_FILE = "provisioning.iso";

/** What is wrong on purpose with the disc of a container. */
export type FindDiscFault = (container: string) => DiscFault | undefined;

/**
 * Adds the disc of a goal with provisioning to what `prepare` makes ready. It is made anew for each start: guests
 * remember by themselves that they are provisioned.
 */
export function withProvisioningDisc(
  prepare: PrepareBootSource,
  findFault: FindDiscFault = () => undefined,
): PrepareBootSource {
  return async (request) => {
    const source = await prepare(request);
    const { goal, folder, signal } = request;
    const file = join(folder, DISC_FILE);
    const provisioning = wireProvisioningOf(goal);
    const fault = findFault(goal.container);
    if (provisioning === undefined || fault?.absent === true) {
      await rm(file, { force: true });
      return source;
    }
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeProvisioningDisc({ file, ...discContents(provisioning, fault) }, signal);
    return {
      ...source,
      provisioningDisc: file,
      evidence: { ...source.evidence, provisioned: provisioning.adminUsername },
    };
  };
}

/** What the disc holds. A fault takes custom data from both of its places. */
export function discContents(
  provisioning: WireProvisioning,
  fault?: DiscFault,
): Pick<ProvisioningDisc, "ovfEnvironment" | "customData"> {
  const lacking = new Set(fault?.without);
  const { customData: ownData, ...others } = provisioning;
  const customData = lacking.delete("customData") ? undefined : ownData;
  const whole = { ...others, ...(customData !== undefined && { customData }) };
  return {
    ovfEnvironment: changeBody(renderOvfEnvironment(whole), { without: [...lacking] }),
    ...(customData !== undefined && { customData: Buffer.from(customData, "base64") }),
  };
}
