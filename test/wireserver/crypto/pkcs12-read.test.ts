import { mkdtempSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeIdentity } from "../../../src/wireserver/crypto/certificate.ts";
import { readPfx } from "../../../src/wireserver/crypto/pkcs12-read.ts";
import { writePfx } from "../../../src/wireserver/crypto/pkcs12-write.ts";
import type { WireIdentity } from "../../../src/wireserver/index.ts";
import { openssl } from "./openssl.ts";

const PASSWORD = "pässwörd 1";
const folder = mkdtempSync(join(tmpdir(), "goalstate-pkcs12-read-"));
const [certificateFile, keyFile, chainFile, made] = ["c.pem", "c.key", "chain.pem", "m.pfx"].map(
  (name) => join(folder, name),
) as [string, string, string, string];
let identity: WireIdentity;
let issuer: WireIdentity;

beforeAll(async () => {
  [identity, issuer] = await Promise.all([
    makeIdentity("a service", Date.now()),
    makeIdentity("another", Date.now()),
  ]);
  await writeFile(certificateFile, identity.certificate);
  await writeFile(keyFile, identity.privateKey);
  await writeFile(chainFile, issuer.certificate);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function exportPfx(flags: readonly string[], password = PASSWORD): Promise<Buffer> {
  const source = ["-in", certificateFile, "-inkey", keyFile, "-certfile", chainFile];
  const target = ["-out", made, "-passout", `pass:${password}`];
  await openssl("pkcs12", "-export", ...source, ...target, ...flags);
  return await readFile(made);
}

function expectIdentity(file: Uint8Array, password: string): void {
  const { certificates, keys } = readPfx(file, password);
  expect(certificates.map(String)).toEqual([identity, issuer].map((each) => each.certificate));
  const pems = keys.map((key) => key.export({ type: "pkcs8", format: "pem" }));
  expect(pems).toEqual([identity.privateKey]);
}

describe("a PKCS#12 file of openssl is read", () => {
  const cases = [
    [],
    ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
    ["-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC", "-macalg", "sha384"],
    ["-keypbe", "DES-EDE3-CBC", "-certpbe", "DES-EDE3-CBC", "-macalg", "sha512"],
    ["-keypbe", "NONE", "-certpbe", "NONE"],
    ["-nomac"],
    ["-iter", "100000"],
    ["-noiter", "-nomaciter"],
  ];
  for (const flags of cases) {
    test(`with ${flags.join(" ") || "no flags"}`, async () => {
      expectIdentity(await exportPfx(flags), PASSWORD);
    });
  }

  test("with an empty password", async () => {
    expectIdentity(await exportPfx([], ""), "");
  });
});

test("a PKCS#12 file of ours is read", async () => {
  const { certificate } = issuer;
  expectIdentity(await writePfx([identity, { certificate }]), "");
});

describe("a PKCS#12 file is refused", () => {
  test("with another password, in words", async () => {
    const file = await exportPfx([]);
    for (const password of ["", "password", `${PASSWORD} `]) {
      expect(() => readPfx(file, password)).toThrow("its password is another one");
    }
  });

  test("with RC2-40, in words", async () => {
    const file = await exportPfx(["-legacy"]);
    expect(() => readPfx(file, PASSWORD)).toThrow("RC2 with 40 bits");
  });

  test("however it is broken, by an error", async () => {
    const file = await exportPfx(["-noiter", "-nomaciter"]);
    const property = fc.property(fc.nat(file.length - 1), fc.nat(255), (at, octet) => {
      const changed = Buffer.from(file);
      changed[at] = octet;
      try {
        readPfx(changed, PASSWORD);
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    });
    fc.assert(property, { numRuns: 200 });
    for (const length of [0, 1, 2, 100, file.length - 1]) {
      expect(() => readPfx(file.subarray(0, length), PASSWORD)).toThrow();
    }
  });
});
