import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { ArtifactFolder } from "../../src/cli/guest-material/artifact-folder.ts";
import { GuestMaterials } from "../../src/cli/guest-material/guest-materials.ts";
import { readMaterial } from "../../src/cli/guest-material/read-material.ts";
import { readTenantFile } from "../../src/cli/tenant-files/read-tenant-file.ts";
import { keys } from "../../src/model/documents.ts";
import { parseTenant } from "../../src/model/tenant.ts";
import { openMemoryStore } from "../../src/store/index.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { type ZipEntry, zipOf } from "./zip-file.ts";

const EXAMPLE = join(import.meta.dirname, "../../examples/azure-guest");
const COMMANDS = ["install", "uninstall", "update", "enable", "disable"];
const MANIFEST = JSON.stringify([
  {
    handlerManifest: Object.fromEntries(
      COMMANDS.map((name) => [`${name}Command`, `bin/run ${name}`]),
    ),
  },
]);
const GOOD: ZipEntry[] = [
  { name: "HandlerManifest.json", data: MANIFEST },
  { name: "bin/run", data: "#!/bin/sh\n" },
];

/** A role with one extension at `source`. */
function tenantWith(role: object) {
  return parseTenant(
    {
      ...{ tenant: "t", vnet: { name: "n", addressSpace: "10.0.0.0/24" } },
      roles: [{ name: "vm", ...role }],
    },
    "t.yaml",
  );
}

const extension = (source: string) => ({ name: "A.Echo", version: "1.0.0", source });

function write(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

/** What becomes of an extension with this source. */
async function read(folder: string, source: string) {
  const artifacts = new ArtifactFolder(folder);
  const role = { extensions: [extension(source)] };
  const { vm } = await readMaterial(tenantWith(role), folder, artifacts);
  return { artifacts, reference: vm!.packages!["a.echo"]! };
}

async function readZip(entries: readonly ZipEntry[]) {
  const folder = temporaryFolder("package");
  writeFileSync(join(folder, "e.zip"), zipOf(entries));
  return read(folder, "./e.zip");
}

describe("the package of an extension", () => {
  test("is made of the example's folder, and unzip finds its files with their modes", async () => {
    const { tenant, folder } = readTenantFile(join(EXAMPLE, "tenant.yaml"));
    const data = temporaryFolder("data");
    const artifacts = new ArtifactFolder(data);
    const { vm } = await readMaterial(tenant, folder, artifacts);
    const { sha256, bytes } = vm!.packages!["goalstate.echo"]!;
    const file = join(data, "artifacts", `${sha256}.zip`);
    const content = readFileSync(file);
    expect(content).toHaveLength(bytes);
    expect(createHash("sha256").update(content).digest("hex")).toBe(sha256);
    const list = execFileSync("python3", [
      "-c",
      `import sys,zipfile
for i in zipfile.ZipFile(sys.argv[1]).infolist(): print(i.filename, oct(i.external_attr >> 16), i.date_time[0])`,
      file,
    ]);
    expect(list.toString().trim().split("\n")).toEqual([
      "HandlerManifest.json 0o100644 2000",
      "bin/echo-handler 0o100755 2000",
    ]);
    expect(Buffer.from(vm!.customData!, "base64").toString()).toMatch(/^#cloud-config\n/);
    expect(Buffer.from(vm!.userData!, "base64").toString()).toBe("hello from the metadata service");
    expect(readdirSync(join(data, "artifacts"))).toEqual([`${sha256}.zip`]);
  });

  test("is the same bytes for the same files, whatever their times, owners' masks and time zone", async () => {
    const first = temporaryFolder("data");
    cpSync(EXAMPLE, join(first, "copy"), { recursive: true });
    const source = join(first, "copy/Goalstate.Echo");
    const one = await read(first, source);
    utimesSync(join(source, "HandlerManifest.json"), 1, 1);
    chmodSync(join(source, "HandlerManifest.json"), 0o600);
    const zone = process.env["TZ"];
    process.env["TZ"] = "Pacific/Auckland";
    try {
      expect((await read(first, source)).reference).toEqual(one.reference);
    } finally {
      if (zone === undefined) delete process.env["TZ"];
      else process.env["TZ"] = zone;
    }
  });

  test("is a zip as it was given", async () => {
    const { artifacts, reference } = await readZip(GOOD);
    const bytes = zipOf(GOOD);
    expect(reference.bytes).toBe(bytes.length);
    expect(Buffer.from(await artifacts.read(reference.sha256, 0, 10_000))).toEqual(bytes);
    expect(Buffer.from(await artifacts.read(reference.sha256, 4, 3))).toEqual(bytes.subarray(4, 7));
    expect(await artifacts.read(reference.sha256, bytes.length, 3)).toHaveLength(0);
    await expect(artifacts.read("../../etc/passwd", 0, 1)).rejects.toThrow("is no SHA-256 sum");
    await expect(artifacts.read("0".repeat(64), 0, 1)).rejects.toThrow("ENOENT");
  });

  test.each<[string, ZipEntry[], string]>([
    ["climbs out", [...GOOD, { name: "../evil" }], "invalid relative path: ../evil"],
    ["climbs out in the middle", [...GOOD, { name: "a/../../evil" }], "invalid relative path"],
    ["is absolute", [...GOOD, { name: "/etc/evil" }], "absolute path: /etc/evil"],
    ["is a drive's", [...GOOD, { name: "C:/evil" }], "absolute path: C:/evil"],
    ["has backslashes", [...GOOD, { name: "..\\evil" }], "invalid characters in fileName"],
    [
      "has a line end",
      [...GOOD, { name: "a\nb", flags: 0x800 }],
      'has an entry "a\\nb" with a control',
    ],
    ["comes twice", [...GOOD, GOOD[1]!], "has bin/run twice"],
    ["is a symbolic link", [...GOOD, { name: "l", mode: 0o120777 }], '"l" is no plain file'],
    ["is a device", [...GOOD, { name: "d", mode: 0o020666 }], '"d" is no plain file'],
    ["is encrypted", [...GOOD, { name: "e", flags: 1, method: 8 }], '"e" is encrypted'],
    ["is in bzip2", [...GOOD, { name: "b", method: 12 }], '"b" is compressed in a way'],
    ["is damaged", [...GOOD, { name: "x", data: "x", crc: 1 }], "x is damaged"],
    [
      "is more than it says",
      [...GOOD, { name: "x", data: "xxxx", method: 8, says: 2 }],
      "too many bytes in the stream",
    ],
    [
      "says more than there may be",
      [...GOOD, { name: "x", data: "x", method: 8, says: 600 * 2 ** 20 }],
      "unpacks to more than 512 MiB",
    ],
    ["overlaps others", [...GOOD, { name: "x", packed: 10_000 }], "has entries that overlap"],
  ])("with an entry that %s is refused", async (_name, entries, text) => {
    const refused = readZip(entries);
    await expect(refused).rejects.toThrow(text);
    await expect(refused).rejects.toMatchObject({ code: "ERR_USAGE_EXTENSION" });
    await expect(refused).rejects.toThrow(/^roles\[0\] \(vm\), extension A\.Echo: .*e\.zip: /);
  });

  test("with too many entries, or a bomb of a manifest, is refused", async () => {
    const many = Array.from({ length: 10_000 }, (_, index) => ({ name: `f${index}` }));
    await expect(readZip([...GOOD, ...many])).rejects.toThrow("has more than 10000 files");
    const bomb = { name: "HandlerManifest.json", data: " ".repeat(2 ** 20 + 1), method: 8 };
    await expect(readZip([bomb])).rejects.toThrow("HandlerManifest.json is larger than 1 MiB");
  });

  test.each([
    ["is no JSON", "[{", /HandlerManifest\.json: is no JSON: /],
    ["is no list", "{}", "HandlerManifest.json:1:1: (top): "],
    ["is empty", "[]", "HandlerManifest.json:1:1: (top): is a list of one object"],
    [
      "lacks a command",
      MANIFEST.replace("updateCommand", "upgradeCommand"),
      "[0].handlerManifest.updateCommand: ",
    ],
    [
      "names a program that is not there",
      MANIFEST.replace("bin/run enable", "bin/enable.sh"),
      "enableCommand runs bin/enable.sh, which is not in the package",
    ],
  ])("whose manifest %s is refused", async (_name, manifest, text) => {
    const folder = temporaryFolder("package");
    write(folder, { "e/HandlerManifest.json": manifest, "e/bin/run": "" });
    await expect(read(folder, "e")).rejects.toThrow(text);
    expect(readdirSync(join(folder, "artifacts"))).toEqual([]);
  });

  test("without a manifest, or with one below a folder, is refused", async () => {
    await expect(readZip([GOOD[1]!])).rejects.toThrow("has no HandlerManifest.json");
    const below = GOOD.map((entry) => ({ ...entry, name: `echo/${entry.name}` }));
    await expect(readZip(below)).rejects.toThrow(
      "has its HandlerManifest.json at echo/HandlerManifest.json; it must be at the top",
    );
  });

  test("may be one file, one folder; nothing else", async () => {
    const folder = temporaryFolder("package");
    write(folder, { "e/HandlerManifest.json": MANIFEST, "e/bin/run": "", text: "no zip" });
    symlinkSync("/etc/passwd", join(folder, "e/link"));
    await expect(read(folder, "e")).rejects.toThrow("e/link: is a symbolic link");
    await expect(read(folder, "none")).rejects.toThrow("none: ENOENT");
    await expect(read(folder, "text")).rejects.toThrow("text: is no zip, and no folder");
    await expect(read(folder, "/dev/null")).rejects.toThrow("is neither a folder nor a zip");
  });
});

describe("readMaterial()", () => {
  const artifacts = () => new ArtifactFolder(temporaryFolder("data"));
  const provisioning = (data: object) => ({
    provisioning: { adminUsername: "u", adminPassword: "p", ...data },
  });

  test("reads nothing for a tenant that names nothing, and makes no folder", async () => {
    const folder = temporaryFolder("data");
    const read = await readMaterial(tenantWith({}), "/", new ArtifactFolder(folder));
    expect(read).toEqual({});
    expect(readdirSync(folder)).toEqual([]);
  });

  test("takes any bytes of a file, up to 64 KiB", async () => {
    const folder = temporaryFolder("files");
    const bytes = Buffer.alloc(65_536, 0xff);
    writeFileSync(join(folder, "data"), bytes);
    const tenant = tenantWith(provisioning({ customData: { file: "data" } }));
    const { vm } = await readMaterial(tenant, folder, artifacts());
    expect(vm).toEqual({ customData: bytes.toString("base64") });
    writeFileSync(join(folder, "data"), Buffer.alloc(65_537));
    await expect(readMaterial(tenant, folder, artifacts())).rejects.toThrow(
      `roles[0] (vm).provisioning.customData: ${join(folder, "data")} is larger than 65536 bytes`,
    );
  });

  test("refuses text that is larger in UTF-8, and files that are none", async () => {
    const large = tenantWith(provisioning({ userData: "\u00e4".repeat(40_000) }));
    await expect(readMaterial(large, "/", artifacts())).rejects.toThrow(
      "roles[0] (vm).provisioning.userData: is larger than 65536 bytes",
    );
    for (const file of ["/none", "/dev", "/dev/zero"]) {
      const tenant = tenantWith(provisioning({ customData: { file } }));
      const refused = readMaterial(tenant, "/", artifacts());
      await expect(refused).rejects.toThrow(
        `roles[0] (vm).provisioning.customData: Cannot read ${file}`,
      );
      await expect(refused).rejects.toMatchObject({ code: "ERR_USAGE_FILE" });
    }
  });

  test("refuses more than the store keeps", async () => {
    const settings = { text: "x".repeat(200_000) };
    const role = {
      extensions: ["A.One", "A.Two"].map((name) => ({ ...extension("e"), name, settings })),
    };
    const folder = temporaryFolder("package");
    write(folder, { "e/HandlerManifest.json": MANIFEST, "e/bin/run": "" });
    const refused = readMaterial(tenantWith(role), folder, artifacts());
    await expect(refused).rejects.toMatchObject({ code: "ERR_USAGE_TENANT" });
    await expect(refused).rejects.toThrow(/^t: has \d+ bytes .* at most 400000 can be kept/);
  });
});

describe("GuestMaterials", () => {
  async function open() {
    const data = temporaryFolder("data");
    writeFileSync(join(data, "e.zip"), zipOf(GOOD));
    const store = openMemoryStore();
    const errors: unknown[] = [];
    const materials = new GuestMaterials(new ArtifactFolder(data), store, (error) =>
      errors.push(error),
    );
    const tenant = tenantWith({ extensions: [extension("e.zip")] });
    const list = () => readdirSync(join(data, "artifacts"));
    const put = (key: string, value: unknown) =>
      store.txn({ success: [{ kind: "put", key, value }] });
    return { data, store, errors, materials, submission: { tenant, folder: data }, list, put };
  }

  test("keeps what a tenant, an update that waits, or a goal names, and removes it with the last", async () => {
    const { store, errors, materials, submission, list, put } = await open();
    const sum = await materials.submit(submission, async (material) => {
      await put(keys.tenant("t"), { material });
      return material["vm"]!.packages!["a.echo"]!.sha256;
    });
    await materials.sweep();
    expect(list()).toEqual([`${sum}.zip`]);
    const extensions = [{ package: { sha256: sum } }];
    await put(keys.containerGoal("t.vm_0"), { extensions });
    await put(keys.tenant("t"), {});
    await materials.sweep();
    expect(list()).toEqual([`${sum}.zip`]);
    const material = { vm: { packages: { "a.echo": { sha256: sum, bytes: 1 } } } };
    await put(keys.tenant("t"), { pending: { material } });
    await store.txn({ success: [{ kind: "delete", key: keys.containerGoal("t.vm_0") }] });
    await materials.sweep();
    expect(list()).toEqual([`${sum}.zip`]);
    await put(keys.tenant("t"), {});
    await materials.sweep();
    expect(list()).toEqual([]);
    expect(errors).toEqual([]);
  });

  test("removes nothing of a submission that is under way, and what a rejected one brought", async () => {
    const { materials, submission, list } = await open();
    const rejected = materials.submit(submission, async () => {
      await materials.sweep();
      expect(list()).toHaveLength(1);
      throw new Error("no room");
    });
    await expect(rejected).rejects.toThrow("no room");
    await materials.sweep();
    expect(list()).toEqual([]);
  });

  test("removes what an interrupted process left", async () => {
    const { data, materials, list } = await open();
    write(data, { "artifacts/new-1": "half" });
    await materials.sweep();
    expect(list()).toEqual([]);
  });

  test("tells why it cannot remove something, and goes on", async () => {
    const { data, store, errors, materials, submission } = await open();
    await store[Symbol.asyncDispose]();
    write(data, { "artifacts/new-1": "half" });
    await materials.sweep();
    expect(errors).toHaveLength(1);
    expect(await materials.submit(submission, async () => "done")).toBe("done");
  });
});
