import { describe, expect, test } from "vitest";
import { discContents } from "../../../src/cli/fabric/provisioning.ts";
import { readShippedPlaybook } from "../../../src/cli/faults/playbooks.ts";

const PROVISIONING = {
  hostName: "web-0",
  adminUsername: "azureuser",
  sshKeys: ["ssh-ed25519 AAAA me"],
  customData: Buffer.from("#!/bin/sh").toString("base64"),
  guestAgent: true,
};

describe("the provisioning disc", () => {
  test("has user and custom data, these in both places", () => {
    const { ovfEnvironment, customData } = discContents(PROVISIONING);
    expect(ovfEnvironment).toContain("<UserName>azureuser</UserName>");
    expect(ovfEnvironment).toContain(`<CustomData>${PROVISIONING.customData}</CustomData>`);
    expect(customData?.toString()).toBe("#!/bin/sh");
  });

  test("has no custom data under a playbook that takes them, and all else", () => {
    const fault = readShippedPlaybook("disc-without-custom-data").disc;
    const { ovfEnvironment, customData } = discContents(PROVISIONING, fault);
    const right = discContents(PROVISIONING).ovfEnvironment;
    expect(ovfEnvironment).toBe(right.replace(/<CustomData>.*<\/CustomData>/, ""));
    expect(customData).toBeUndefined();
  });

  test("lacks elements that a playbook names, with a prefix or without", () => {
    const fault = readShippedPlaybook("disc-without-user").disc;
    const { ovfEnvironment, customData } = discContents(PROVISIONING, fault);
    expect(ovfEnvironment).not.toContain("UserName");
    expect(customData?.toString()).toBe("#!/bin/sh");
    const settings = discContents(PROVISIONING, { without: ["PlatformSettingsSection"] });
    expect(settings.ovfEnvironment).not.toContain("PlatformSettings");
    expect(settings.ovfEnvironment).toContain("</wa:ProvisioningSection></Environment>");
  });
});
