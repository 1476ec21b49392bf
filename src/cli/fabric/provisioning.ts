/** Gives a guest the disc from which it is provisioned. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type PrepareBootSource, writeProvisioningDisc } from "../../compute/index.ts";
import { renderOvfEnvironment } from "../../wireserver/index.ts";
import { wireProvisioningOf } from "../wire-view.ts";

const DISC_FILE = "provisioning.iso";

/**
 * Adds the disc of a goal with provisioning to what `prepare` makes ready. It is made anew for each start: guests
 * remember by themselves that they are provisioned.
 */
export function withProvisioningDisc(prepare: PrepareBootSource): PrepareBootSource {
  return async (request) => {
    const source = await prepare(request);
    const { goal, folder, signal } = request;
    const file = join(folder, DISC_FILE);
    const provisioning = wireProvisioningOf(goal);
    if (provisioning === undefined) {
      await rm(file, { force: true });
      return source;
    }
    const { customData } = provisioning;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const disc = {
      file,
      ovfEnvironment: renderOvfEnvironment(provisioning),
      ...(customData !== undefined && { customData: Buffer.from(customData, "base64") }),
    };
    await writeProvisioningDisc(disc, signal);
    return {
      ...source,
      provisioningDisc: file,
      evidence: { ...source.evidence, provisioned: provisioning.adminUsername },
    };
  };
}
