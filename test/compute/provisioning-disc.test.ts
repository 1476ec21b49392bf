import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { writeProvisioningDisc } from "../../src/compute/provisioning-disc.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const isAble = existsSync("/usr/bin/genisoimage");

/** A file of the disc's ISO 9660 side. */
function readDisc(file: string, name: string): Buffer {
  return execFileSync("isoinfo", ["-R", "-i", file, "-x", `/${name}`]);
}

describe.skipIf(!isAble && !process.env["CI"])(
  "writeProvisioningDisc() (needs genisoimage)",
  () => {
    test("makes a UDF disc with Azure's label, which is ISO 9660 too, readable by us alone", async () => {
      const folder = temporaryFolder("disc");
      const file = join(folder, "provisioning.iso");
      const ovfEnvironment = "<Environment>\u00e4</Environment>\n";
      const customData = Buffer.from([0, 255, 10, 13]);
      await writeProvisioningDisc({ file, ovfEnvironment, customData });
      const blkid = execFileSync("/usr/sbin/blkid", ["-p", "-o", "export", file], {
        encoding: "utf8",
      });
      expect(blkid).toMatch(/^TYPE=udf$/m);
      expect(blkid).toMatch(/^LABEL=rd_rdfe_/m);
      expect(readDisc(file, "ovf-env.xml").toString()).toBe(ovfEnvironment);
      expect(readDisc(file, "CustomData.bin")).toEqual(customData);
      expect(readDisc(file, "E6DA6616-8EC4-48E0-BE93-58CE6ACE3CFB.tag")).toHaveLength(0);
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(readdirSync(folder)).toEqual(["provisioning.iso"]);
    });

    test("replaces a disc whole; without custom data there is no file of it", async () => {
      const folder = temporaryFolder("disc");
      const file = join(folder, "provisioning.iso");
      const disc = { file, ovfEnvironment: "<Environment/>" };
      await writeProvisioningDisc({ ...disc, customData: Buffer.from("old") });
      await writeProvisioningDisc(disc);
      const list = execFileSync("isoinfo", ["-R", "-f", "-i", file], { encoding: "utf8" });
      expect(list).toContain("/ovf-env.xml");
      expect(list).not.toContain("CustomData");
    });
  },
);
