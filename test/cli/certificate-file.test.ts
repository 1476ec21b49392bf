import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { ArtifactFolder } from "../../src/cli/guest-material/artifact-folder.ts";
import { readMaterial } from "../../src/cli/guest-material/read-material.ts";
import { wireContainerOf } from "../../src/cli/wire-view.ts";
import { type ContainerGoal, keys } from "../../src/model/documents.ts";
import { parseTenant } from "../../src/model/tenant.ts";
import { makeIdentity, type WireIdentity } from "../../src/wireserver/index.ts";
import { FakeFabric } from "../compute/manager/fake-fabric.ts";

const folder = mkdtempSync(join(tmpdir(), "goalstate-certificate-file-"));
let mine: WireIdentity;
let other: WireIdentity;

const openssl = (...args: string[]) =>
  execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });

beforeAll(async () => {
  [mine, other] = (await Promise.all(
    ["mine", "other"].map((name) => makeIdentity(name, Date.now())),
  )) as [WireIdentity, WireIdentity];
  const files = {
    "mine.pem": other.certificate + mine.certificate + mine.privateKey,
    "no-key.pem": mine.certificate + other.privateKey,
    "mine.crt": mine.certificate,
    "mine.key": mine.privateKey,
    "text.txt": "just text",
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const pfx = ["pkcs12", "-export", "-in", "mine.crt", "-inkey", "mine.key"];
  openssl(...pfx, "-out", "mine.pfx", "-passout", "pass:sesame");
  openssl(...pfx, "-out", "open.pfx", "-passout", "pass:");
  openssl("pkcs8", "-topk8", "-in", "mine.key", "-out", "locked.key", "-passout", "pass:sesame");
  execFileSync("sh", ["-c", "cat mine.crt locked.key > locked.pem"], { cwd: folder });
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=ec"];
  openssl("req", "-x509", "-nodes", ...curve, "-keyout", "ec.key", "-out", "ec.crt");
  execFileSync("sh", ["-c", "cat ec.crt ec.key > ec.pem"], { cwd: folder });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tenantWith = (...certificates: object[]) =>
  parseTenant(
    {
      ...{ tenant: "t", vnet: { name: "n", addressSpace: "10.0.0.0/24" } },
      roles: [{ name: "vm", certificates }],
    },
    "t.yaml",
  );

const read = (certificate: object) =>
  readMaterial(
    tenantWith({ name: "tls", thumbprint: mine.thumbprint, ...certificate }),
    folder,
    new ArtifactFolder(folder),
  );

describe("a certificate of a role", () => {
  const files = [
    ["a PKCS#12 file", { file: "mine.pfx", password: "sesame" }],
    ["a PKCS#12 file without a password", { file: "./open.pfx" }],
    ["a PEM file with another certificate in it", { file: "mine.pem" }],
    ["a PEM file whose key has a password", { file: "locked.pem", password: "sesame" }],
  ] as const;
  for (const [what, certificate] of files) {
    test(`is read with its key from ${what}`, async () => {
      const { certificate: pem, privateKey } = mine;
      expect(await read(certificate)).toEqual({
        vm: { certificates: { tls: { certificate: pem, privateKey } } },
      });
    });
  }

  test("without a file is nothing to read", async () => {
    expect(await read({})).toEqual({});
  });

  const refused = [
    ["another password", { file: "mine.pfx", password: "no" }, "password is another one"],
    ["no password for a key", { file: "locked.pem" }, "if it has a password, give it"],
    ["a wrong one for a key", { file: "locked.pem", password: "no" }, "is the password right?"],
    ["no key of it", { file: "no-key.pem" }, "has no private key of"],
    ["neither form", { file: "text.txt" }, "as PKCS#12"],
  ] as const;
  for (const [what, certificate, says] of refused) {
    test(`is refused with its place: ${what}`, async () => {
      const error = await read(certificate).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({
        code: "ERR_USAGE_CERTIFICATE",
        message: expect.stringMatching(/^roles\[0\] \(vm\), certificate tls: /),
      });
      expect(String(error)).toContain(says);
      expect(String(error)).not.toContain("PRIVATE KEY");
    });
  }

  test("with another thumbprint is refused, and the message has that of the file", async () => {
    const { thumbprint } = other;
    await expect(read({ thumbprint, file: "open.pfx" })).rejects.toThrow(
      `has ${mine.thumbprint}, and not ${thumbprint}`,
    );
  });

  test("with a key that is not RSA is refused", async () => {
    const printed = String(openssl("x509", "-in", "ec.crt", "-noout", "-fingerprint"));
    const thumbprint = printed.trim().split("=")[1];
    await expect(read({ thumbprint, file: "ec.pem" })).rejects.toThrow("no RSA key");
  });

  test("that cannot be opened is refused", async () => {
    await expect(read({ file: "none.pfx" })).rejects.toMatchObject({ code: "ERR_USAGE_FILE" });
  });

  test("with a password and no file is refused by the schema", () => {
    const { thumbprint } = mine;
    expect(() => tenantWith({ name: "tls", thumbprint, password: "x" })).toThrow("there is none");
  });
});

test("a certificate goes from the file by the goal to the guest's bundle, and a new one by a new incarnation", async () => {
  const fabric = new FakeFabric();
  onTestFinished(() => fabric[Symbol.asyncDispose]());
  await fabric.addNode("n1");
  fabric.startManager();
  await fabric.settle();
  const submit = async (identity: WireIdentity, file: string) => {
    const { thumbprint } = identity;
    const tenant = tenantWith({ name: "tls", thumbprint, file }, { name: "told", thumbprint });
    const material = await readMaterial(tenant, folder, new ArtifactFolder(folder));
    await fabric.manager.submit(tenant, folder, material);
    await fabric.settle();
    const { kv } = await fabric.store.get(keys.containerGoal("t.vm_0"));
    return kv?.value as ContainerGoal;
  };
  const goal = await submit(mine, "mine.pem");
  const { certificate, privateKey, thumbprint } = mine;
  expect(goal.certificates).toEqual([
    { name: "tls", thumbprint, store: "My", certificate, privateKey },
    { name: "told", thumbprint, store: "My" },
  ]);
  expect(wireContainerOf(goal, []).certificates).toEqual([{ thumbprint, certificate, privateKey }]);
  writeFileSync(join(folder, "other.pem"), other.certificate + other.privateKey);
  const next = await submit(other, "other.pem");
  expect(next.incarnation).toBe(goal.incarnation + 1);
  expect(next.attempt).toBe(goal.attempt);
  expect(wireContainerOf(next, []).certificates?.[0]?.thumbprint).toBe(other.thumbprint);
});
