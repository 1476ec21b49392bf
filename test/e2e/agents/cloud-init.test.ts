import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { WireContainer } from "../../../src/wireserver/index.ts";
import { BUILD_TIMEOUT_MS, canRunAgents, debianTree, startGuest } from "./agent-guest.ts";
import { type AgentHost, containerOf, openAgentHost } from "./agent-host.ts";

const TEST_TIMEOUT_MS = 90_000;
const ASSET_TAG = "7783-7084-3265-9085-8269-3286-77";
const UUID = "7c4f6a2e-6f0e-4c51-9a37-3c1b8a0d55e2";

/** What a machine has and a namespace has not: DMI, no container around it, udev. */
const STUBS = {
  "usr/sbin/dmidecode": `#!/bin/sh
case "$*" in *asset-tag*) echo ${ASSET_TAG} ;; *uuid*) echo ${UUID} ;; *) echo Microsoft ;; esac
`,
  "usr/bin/systemd-detect-virt": "#!/bin/sh\nexit 1\n",
  "usr/bin/udevadm": "#!/bin/sh\nexit 0\n",
  "etc/cloud/cloud.cfg.d/99-azure.cfg": "datasource_list: [ Azure ]\n",
};

const OVF = `<?xml version="1.0" encoding="utf-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:wa="http://schemas.microsoft.com/windowsazure">
  <wa:ProvisioningSection>
    <wa:Version>1.0</wa:Version>
    <LinuxProvisioningConfigurationSet xmlns="http://schemas.microsoft.com/windowsazure">
      <ConfigurationSetType>LinuxProvisioningConfiguration</ConfigurationSetType>
      <HostName>lab-vm-01</HostName>
      <UserName>labadmin</UserName>
      <DisableSshPasswordAuthentication>true</DisableSshPasswordAuthentication>
    </LinuxProvisioningConfigurationSet>
  </wa:ProvisioningSection>
  <wa:PlatformSettingsSection>
    <wa:Version>1.0</wa:Version>
    <PlatformSettings xmlns="http://schemas.microsoft.com/windowsazure">
      <ProvisionGuestAgent>true</ProvisionGuestAgent>
      <PreprovisionedVm>false</PreprovisionedVm>
    </PlatformSettings>
  </wa:PlatformSettingsSection>
</Environment>
`;

describe.skipIf(!canRunAgents).concurrent("cloud-init 22.4 as Debian ships it", () => {
  let host: AgentHost;

  beforeAll(async () => {
    await debianTree();
    host = await openAgentHost();
  }, BUILD_TIMEOUT_MS);

  afterAll(async () => await host[Symbol.asyncDispose]());

  /** Starts a guest that finds `ovf`, and runs cloud-init's first stage in it. */
  async function boot(container: WireContainer, ovf: string) {
    host.put(container);
    const files = { ...STUBS, "var/lib/cloud/seed/azure/ovf-env.xml": ovf };
    const guest = await startGuest(host, container, { files, network: "none" });
    const ended = guest.finish("cloud-init", "--debug", "init", "--local");
    return { guest, ended, [Symbol.asyncDispose]: () => guest[Symbol.asyncDispose]() };
  }

  test(
    "takes a lease, asks metadata and goal state, and posts Ready",
    async () => {
      const container = containerOf(1);
      await using machine = await boot(container, OVF);
      const { code } = await machine.ended;
      expect(code).toBe(0);
      const given = host.dhcp.filter((each) => each.endsWith(container.name));
      expect(given).toEqual([`DHCPOFFER ${container.name}`, `DHCPACK ${container.name}`]);
      expect(host.said(container)).toEqual([
        "GET metadata/metadata/instance 200",
        "GET goalstate 200",
        "POST health 200",
      ]);
      expect(host.reported(container)).toEqual(["Ready"]);
    },
    TEST_TIMEOUT_MS,
  );

  for (const [number, playbook, asked] of [
    [4, "metadata-400", ["GET metadata/metadata/instance 400"]],
    [5, "metadata-429", Array.from({ length: 5 }, () => "GET metadata/metadata/instance 429")],
  ] as const) {
    test(
      `asks metadata again, and posts Ready, with the playbook ${playbook}`,
      async () => {
        const container = containerOf(number);
        using _fault = host.fault(container, playbook);
        await using machine = await boot(container, OVF);
        expect((await machine.ended).code).toBe(0);
        expect(host.said(container)).toEqual([
          ...asked,
          ...["GET metadata/metadata/instance 200", "GET goalstate 200", "POST health 200"],
        ]);
        expect(host.reported(container)).toEqual(["Ready"]);
      },
      TEST_TIMEOUT_MS,
    );
  }

  for (const [part, ovf] of [
    [
      "platform settings",
      OVF.replace(/ *<wa:PlatformSettingsSection>[\s\S]*<\/wa:PlatformSettingsSection>\n/, ""),
    ],
    ["user name", OVF.replace(/ *<UserName>.*\n/, "")],
  ] as const) {
    test(
      `reports ProvisioningFailed for a disc without ${part}`,
      async () => {
        const container = containerOf(part === "user name" ? 2 : 3);
        await using machine = await boot(container, ovf);
        await machine.ended;
        expect(host.reported(container)).toEqual(["NotReady ProvisioningFailed"]);
      },
      TEST_TIMEOUT_MS,
    );
  }
});
