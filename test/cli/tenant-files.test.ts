import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseYaml } from "../../src/cli/read-yaml.ts";
import { readClassicTenant } from "../../src/cli/tenant-files/classic/classic-tenant.ts";
import { readTenantFile } from "../../src/cli/tenant-files/read-tenant-file.ts";
import { FabricError } from "../../src/model/errors.ts";
import { parseTenant, type TenantDescription } from "../../src/model/tenant.ts";
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
      `${path}:6:5: roles[0].cpu: is unknown; known here: name, kind, instances, image, app, size, endpoints, settings, certificates, provisioning, extensions, users, agent, recovery`,
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

const CSDEF = `<ServiceDefinition name="shop">
  <WebRole name="web"><ConfigurationSettings><Setting name="Mode" /></ConfigurationSettings></WebRole>
</ServiceDefinition>`;
const CSCFG = `<ServiceConfiguration serviceName="shop">
  <Role name="web"><Instances count="1" /><ConfigurationSettings><Setting name="Mode" value="a" /></ConfigurationSettings></Role>
</ServiceConfiguration>`;

describe("readTenantFile() of a classic pair", () => {
  test("finds the partner from either side, and the app beside the definition", () => {
    const folder = folderOf({
      "Service.csdef": `\ufeff${CSDEF}`,
      "Cloud.cscfg": CSCFG,
      "web/app.json": "{}",
    });
    const [definition, configuration] = [
      join(folder, "Service.csdef"),
      join(folder, "Cloud.cscfg"),
    ];
    for (const path of [definition, configuration]) {
      const { tenant, ...rest } = readTenantFile(path);
      expect(tenant.roles[0]).toMatchObject({ app: "./web", settings: { Mode: "a" } });
      const files = [definition, configuration];
      expect(rest).toEqual({ folder, warnings: [], source: { kind: "classic", files } });
    }
  });

  test("takes the partner of the same name before others", () => {
    const folder = folderOf({ "a.csdef": CSDEF, "a.cscfg": CSCFG, "b.cscfg": "<no />" });
    const { source } = readTenantFile(join(folder, "a.csdef"));
    expect(source.files).toEqual([join(folder, "a.csdef"), join(folder, "a.cscfg")]);
  });

  test("names the candidates if there are several", () => {
    const folder = folderOf({ "s.csdef": CSDEF, "Cloud.cscfg": CSCFG, "Local.cscfg": CSCFG });
    const path = join(folder, "s.csdef");
    expect(() => readTenantFile(path)).toThrow(
      `${path} may belong to Cloud.cscfg, Local.cscfg; name the one to use instead`,
    );
    expect(readTenantFile(join(folder, "Local.cscfg")).tenant.tenant).toBe("shop");
  });

  test("says that a partner is missing", () => {
    const path = join(folderOf({ "s.cscfg": CSCFG }), "s.cscfg");
    expect(() => readTenantFile(path)).toThrow("has no partner: there is no .csdef file beside it");
  });
});

describe("the examples", () => {
  const EXAMPLES = join(import.meta.dirname, "../../examples");

  test.each([
    ["hello/tenant.yaml", 1],
    ["two-tier/tenant.yaml", 3],
    ["classic/ServiceDefinition.csdef", 3],
    ["classic/ServiceConfiguration.cscfg", 3],
  ])("%s has an app for each role and no warning", (file, instances) => {
    const { tenant, folder, warnings } = readTenantFile(join(EXAMPLES, file));
    expect(warnings).toEqual([]);
    expect(tenant.roles.reduce((sum, role) => sum + role.instances, 0)).toBe(instances);
    for (const { app } of tenant.roles) {
      expect(existsSync(join(folder, app ?? "none", "app.json"))).toBe(true);
    }
  });
});

/** Changes of a text: a run of characters is replaced by others, some of which the formats know. */
const change = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.nat(12),
  text: fc.oneof(
    fc.string({ maxLength: 6 }),
    fc.constantFrom(
      "<",
      "/>",
      '"',
      "&lt;",
      "\n",
      ": ",
      "- ",
      "[",
      "{ }",
      "*a",
      "&a ",
      "0",
      "-1",
      "999999",
    ),
  ),
});

function mutate(
  text: string,
  changes: readonly { at: number; length: number; text: string }[],
): string {
  return changes.reduce((before, { at, length, text }) => {
    const start = Math.floor(at * before.length);
    return before.slice(0, start) + text + before.slice(start + length);
  }, text);
}

/** Either it is a tenant, which is valid again, or each line of the error names a place inside its file. */
function expectTenantOrPlaces(
  read: () => TenantDescription,
  files: Readonly<Record<string, string>>,
) {
  let tenant: TenantDescription;
  try {
    tenant = read();
  } catch (error) {
    if (!(error instanceof FabricError)) throw error;
    expect(error.isUsage).toBe(true);
    for (const line of error.message.split("\n")) {
      const [, file, row, column] = /^(\S+?):(\d+):(\d+): ./.exec(line) ?? [];
      expect(files, line).toHaveProperty([file ?? ""]);
      const lines = files[file!]!.split("\n");
      expect(Number(row), line).toBeGreaterThanOrEqual(1);
      expect(Number(row), line).toBeLessThanOrEqual(lines.length);
      expect(Number(column), line).toBeGreaterThanOrEqual(1);
      expect(Number(column), line).toBeLessThanOrEqual(lines[Number(row) - 1]!.length + 1);
    }
    return;
  }
  expect(parseTenant(JSON.parse(JSON.stringify(tenant)), "again")).toEqual(tenant);
}

describe("a changed tenant file is a tenant or an error that names places in it", () => {
  const changes = fc.array(change, { minLength: 1, maxLength: 3 });

  test("in YAML", () => {
    fc.assert(
      fc.property(changes, (list) => {
        const text = mutate(YAML, list);
        const read = () => {
          const { data, source } = parseYaml(text, "t.yaml");
          return parseTenant(data, source);
        };
        expectTenantOrPlaces(read, { "t.yaml": text });
      }),
      { numRuns: 500 },
    );
  });

  test("in a classic pair", () => {
    fc.assert(
      fc.property(changes, changes, fc.nat(2), (one, other, which) => {
        const csdef = which === 0 ? CSDEF : mutate(CSDEF, one);
        const cscfg = which === 1 ? CSCFG : mutate(CSCFG, other);
        const files = { definition: "t.csdef", configuration: "t.cscfg", findApp: () => undefined };
        const read = () => readClassicTenant(csdef, cscfg, files).tenant;
        expectTenantOrPlaces(read, { "t.csdef": csdef, "t.cscfg": cscfg });
      }),
      { numRuns: 500 },
    );
  });
});
