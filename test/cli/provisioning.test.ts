import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { withProvisioningDisc } from "../../src/cli/fabric/provisioning.ts";
import type { ContainerGoal } from "../../src/model/documents.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const GOAL = {
  hostname: "vm-0",
  provisioning: {
    ...{ adminUsername: "lab", adminPassword: "pass<word", sshKeys: [], guestAgent: true },
    customData: Buffer.from("#cloud-config\n").toString("base64"),
  },
} as unknown as ContainerGoal;

const prepare = withProvisioningDisc(async () => ({ evidence: { image: "i" } }));

async function prepareIn(folder: string, goal: ContainerGoal) {
  const { signal } = new AbortController();
  return prepare({ goal, folder, onProgress: () => undefined, signal });
}

const readDisc = (file: string, name: string) =>
  execFileSync("isoinfo", ["-R", "-i", file, "-x", `/${name}`], { encoding: "utf8" });

const isAble = existsSync("/usr/bin/genisoimage");

describe.skipIf(!isAble && !process.env["CI"])("the disc of a guest (needs genisoimage)", () => {
  test("has what its goal provisions it with; the trace names the user, and no secret", async () => {
    const folder = join(temporaryFolder("disc"), "new");
    const { provisioningDisc, evidence } = await prepareIn(folder, GOAL);
    expect(provisioningDisc).toBe(join(folder, "provisioning.iso"));
    expect(evidence).toEqual({ image: "i", provisioned: "lab" });
    const environment = readDisc(provisioningDisc!, "ovf-env.xml");
    expect(environment).toContain("<HostName>vm-0</HostName><UserName>lab</UserName>");
    expect(environment).toContain("<UserPassword>pass&lt;word</UserPassword>");
    expect(readDisc(provisioningDisc!, "CustomData.bin")).toBe("#cloud-config\n");
  });

  test("is of the goal that is started, and goes when a goal has none", async () => {
    const folder = temporaryFolder("disc");
    await prepareIn(folder, GOAL);
    const renamed = await prepareIn(folder, { ...GOAL, hostname: "vm-1" });
    expect(readDisc(renamed.provisioningDisc!, "ovf-env.xml")).toContain("vm-1");
    const { provisioning: _, ...without } = GOAL;
    expect(await prepareIn(folder, without)).toEqual({ evidence: { image: "i" } });
    expect(existsSync(join(folder, "provisioning.iso"))).toBe(false);
  });
});
