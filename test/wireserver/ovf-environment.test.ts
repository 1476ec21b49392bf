/** Every row of what readers of `ovf-env.xml` want, read back by a namespace-aware XML parser. */
import { describe, expect, test } from "vitest";
import { parseStringPromise, processors } from "xml2js";
import { renderOvfEnvironment } from "../../src/wireserver/index.ts";

const WA = "http://schemas.microsoft.com/windowsazure";
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDQfT9u8VGpEOiGX21J8NlwwVGHWv0MoAJO/5MCLV1J lab";
const PLAIN = { hostName: "vm-0", adminUsername: "lab", sshKeys: [KEY], guestAgent: true };

/** An element, its namespace, and its children; text where it has none. */
interface Element {
  readonly name: string;
  readonly namespace: string;
  readonly text: string;
  readonly children: readonly Element[];
}

async function parse(text: string): Promise<Element> {
  const options = { xmlns: true, explicitChildren: true, preserveChildrenOrder: true };
  const nameOf = (name: string) => processors.stripPrefix(name);
  const read = (node: Record<string, unknown>): Element => ({
    name: nameOf(node["#name"] as string),
    namespace: (node["$ns"] as { uri: string }).uri,
    text: (node["_"] as string | undefined) ?? "",
    children: ((node["$$"] ?? []) as Record<string, unknown>[]).map(read),
  });
  const document = await parseStringPromise(text, { ...options, explicitRoot: false });
  return read(document as Record<string, unknown>);
}

function at(element: Element, ...path: string[]): Element | undefined {
  return path.reduce<Element | undefined>(
    (one, name) => one?.children.find((child) => child.name === name),
    element,
  );
}

const SET = ["ProvisioningSection", "LinuxProvisioningConfigurationSet"];

async function configuration(change: object): Promise<Element> {
  const root = await parse(renderOvfEnvironment({ ...PLAIN, ...change }));
  const set = at(root, ...SET);
  expect(set).toBeDefined();
  return set!;
}

describe("ovf-env.xml", () => {
  test("has the two sections with their versions in Azure's namespace, below OVF's root", async () => {
    const root = await parse(renderOvfEnvironment(PLAIN));
    expect([root.name, root.namespace]).toEqual([
      "Environment",
      "http://schemas.dmtf.org/ovf/environment/1",
    ]);
    expect(root.children.map(({ name, namespace }) => [name, namespace])).toEqual([
      ["ProvisioningSection", WA],
      ["PlatformSettingsSection", WA],
    ]);
    for (const section of root.children) expect(at(section, "Version")?.text).toBe("1.0");
    expect(at(root, ...SET)?.namespace).toBe(WA);
    expect(at(root, "PlatformSettingsSection", "PlatformSettings")?.namespace).toBe(WA);
  });

  test("writes the prefixes that azure-init looks for", () => {
    const text = renderOvfEnvironment(PLAIN);
    for (const name of ["ProvisioningSection", "PlatformSettingsSection", "Version"])
      expect(text).toContain(`<wa:${name}>`);
    expect(text).toContain(`<LinuxProvisioningConfigurationSet xmlns="${WA}">`);
    expect(text).toContain(`<PlatformSettings xmlns="${WA}">`);
    expect(text).not.toContain("CDATA");
  });

  test("has its fields in the order of the schema", async () => {
    const set = await configuration({ adminPassword: "p", customData: "eA==" });
    expect(set.children.map(({ name }) => name)).toEqual([
      ...["ConfigurationSetType", "HostName", "UserName", "UserPassword"],
      ...["DisableSshPasswordAuthentication", "SSH", "CustomData"],
    ]);
  });

  test("names host and user", async () => {
    const set = await configuration({});
    expect(at(set, "ConfigurationSetType")?.text).toBe("LinuxProvisioningConfiguration");
    expect(at(set, "HostName")?.text).toBe("vm-0");
    expect(at(set, "UserName")?.text).toBe("lab");
  });

  test("without a password has no UserPassword, and SSH takes none", async () => {
    const set = await configuration({});
    expect(at(set, "UserPassword")).toBeUndefined();
    expect(at(set, "DisableSshPasswordAuthentication")?.text).toBe("true");
  });

  test("carries any password, and then SSH takes it", async () => {
    const adminPassword = `<&>"' ]]> \u00e4\u{1f600}`;
    const set = await configuration({ adminPassword, sshKeys: [] });
    expect(at(set, "UserPassword")?.text).toBe(adminPassword);
    expect(at(set, "DisableSshPasswordAuthentication")?.text).toBe("false");
    expect(at(set, "SSH")).toBeUndefined();
  });

  test("gives each key a fingerprint of a certificate's form, its path and its value", async () => {
    const second = "ssh-rsa AAAAB3NzaC1yc2E= a & b";
    const set = await configuration({ sshKeys: [KEY, second] });
    const keys = at(set, "SSH", "PublicKeys")?.children ?? [];
    expect(keys.map((key) => at(key, "Value")?.text)).toEqual([KEY, second]);
    for (const key of keys) {
      expect(at(key, "Fingerprint")?.text).toMatch(/^[0-9A-F]{40}$/);
      expect(at(key, "Path")?.text).toBe("/home/lab/.ssh/authorized_keys");
    }
    expect(at(keys[0]!, "Fingerprint")).not.toEqual(at(keys[1]!, "Fingerprint"));
    const root = await configuration({ adminUsername: "root" });
    const path = at(root, "SSH", "PublicKeys", "PublicKey", "Path");
    expect(path?.text).toBe("/root/.ssh/authorized_keys");
  });

  test("carries custom data in base64; none, or empty, is no element", async () => {
    const customData = Buffer.from("#cloud-config\n").toString("base64");
    expect(at(await configuration({ customData }), "CustomData")?.text).toBe(customData);
    expect(at(await configuration({}), "CustomData")).toBeUndefined();
    expect(at(await configuration({ customData: "" }), "CustomData")).toBeUndefined();
  });

  test.each([true, false])("says whether the agent stays awake: %s", async (guestAgent) => {
    const root = await parse(renderOvfEnvironment({ ...PLAIN, guestAgent }));
    const settings = at(root, "PlatformSettingsSection", "PlatformSettings")!;
    expect(settings.children.map(({ name, text }) => [name, text])).toEqual([
      ["ProvisionGuestAgent", String(guestAgent)],
      ["PreprovisionedVm", "false"],
    ]);
  });

  test("does not hold user data, which is the metadata service's", () => {
    expect(renderOvfEnvironment({ ...PLAIN, userData: "c2VjcmV0" })).not.toContain("c2VjcmV0");
  });
});
