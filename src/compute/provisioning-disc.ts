/**
 * Makes the disc from which a guest is provisioned, as Azure's platform attaches it: `ovf-env.xml` and the custom data.
 * It is UDF, which some guests insist on (Ignition, Talos), and ISO 9660 at once.
 */
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { runTool } from "../net/run-tool.ts";

/** Guests look for a label that begins so. */
const LABEL = "rd_rdfe_stable.goalstate";
/** cloudbase-init takes the disc that has a file of this name for Azure's. */
const TAG_FILE = "E6DA6616-8EC4-48E0-BE93-58CE6ACE3CFB.tag";

export interface ProvisioningDisc {
  /** Absolute path of the image, in a folder that only we may write to; replaced whole if it is there. */
  readonly file: string;
  /** The text of `ovf-env.xml`. */
  readonly ovfEnvironment: string;
  /** `CustomData.bin`: as it is, not in base64. Absent: the disc has no such file. */
  readonly customData?: Uint8Array;
}

/**
 * Writes the disc. It may hold a password, so only we may read it; QEMU is handed it open.
 *
 * @throws FabricError ERR_TOOL_MISSING, ERR_TOOL_FAILED: genisoimage
 */
export async function writeProvisioningDisc(
  { file, ovfEnvironment, customData }: ProvisioningDisc,
  signal?: AbortSignal,
): Promise<void> {
  const aside = await mkdtemp(join(dirname(file), ".disc-"));
  try {
    const content = join(aside, "content");
    await mkdir(content);
    await writeFile(join(content, "ovf-env.xml"), ovfEnvironment);
    await writeFile(join(content, TAG_FILE), "");
    if (customData !== undefined) await writeFile(join(content, "CustomData.bin"), customData);
    const image = join(aside, "disc.iso");
    const args = ["-quiet", "-udf", "-iso-level", "3", "-J", "-R", "-V", LABEL];
    await runTool("genisoimage", [...args, "-o", image, content], { signal });
    await chmod(image, 0o600);
    await rename(image, file);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}
