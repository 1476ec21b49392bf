import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { readTenantFile } from "../../src/cli/tenant-files/read-tenant-file.ts";
import { temporaryFolder } from "../temporary-folder.ts";

/** Writes files, and gives the folder. */
function folderOf(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = temporaryFolder("tenant");
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

const YAML = `tenant: shop
vnet: { name: net, addressSpace: 10.0.0.0/24 }
roles:
  - name: web
    endpoints: [{ name: site, protocol: http, port: 8080, public: 80 }]
`;

describe("readTenantFile() of YAML", () => {
  test("gives the tenant, its folder and its source", () => {
    const folder = folderOf({ "shop.yml": YAML });
    const path = join(folder, "shop.yml");
    const { tenant, ...rest } = readTenantFile(path);
    expect(tenant.roles[0]!.endpoints[0]!.public).toBe(80);
    expect(rest).toEqual({ folder, warnings: [], source: { kind: "yaml", files: [path] } });
  });

  test("names every wrong place by file, line and column, with the fix", () => {
    const text = YAML.replace("name: web", "name: web\n    instances: none\n    cpu: 1")
      .replace("port: 8080", "prot: 8080")
      .replace("10.0.0.0/24", "10.0.0.1/24");
    const path = join(folderOf({ "shop.yaml": text }), "shop.yaml");
    const lines = [
      `${path}:2:34: vnet.addressSpace: "10.0.0.1/24" has host bits set; the subnet is 10.0.0.0/24`,
      `${path}:5:16: roles[0].instances: is "none"; write a number`,
      `${path}:6:5: roles[0].cpu: is unknown; known here: name, kind, instances, image, app, size, endpoints, settings, certificates, recovery`,
      `${path}:7:17: roles[0].endpoints[0].port: is missing; write a number`,
      `${path}:7:47: roles[0].endpoints[0].prot: is unknown; did you mean port?`,
    ];
    expect(() => readTenantFile(path)).toThrow(
      expect.objectContaining({ code: "ERR_USAGE_TENANT", message: lines.join("\n") }),
    );
  });

  test.each([
    ["a folder", "", "Cannot read"],
    ["another kind of file", "x.json", "is no tenant file; name a .yaml file, or the .csdef"],
    ["more than 1 MiB", "large.yaml", "is larger than 1 MiB"],
    ["UTF-16", "wide.yaml", "wide.yaml:1:1: is UTF-16; save it as UTF-8"],
    ["bytes that are no text", "raw.yaml", "raw.yaml:1:1: is not UTF-8"],
  ])("refuses %s", (_what, name, message) => {
    const folder = folderOf({
      "x.json": "{}",
      "large.yaml": `${YAML}#${"x".repeat(1024 * 1024)}`,
      "wide.yaml": Buffer.from(`\ufeff${YAML}`, "utf16le"),
      "raw.yaml": Uint8Array.of(0x61, 0xff),
      "folder.yaml/x": "",
    });
    const attempt = () => readTenantFile(join(folder, name === "" ? "folder.yaml" : name));
    expect(attempt).toThrow(expect.objectContaining({ code: "ERR_USAGE_FILE" }));
    expect(attempt).toThrow(message);
  });
});
