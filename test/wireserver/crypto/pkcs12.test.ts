import { execFile } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeIdentity } from "../../../src/wireserver/crypto/certificate.ts";
import { derivePkcs12Key } from "../../../src/wireserver/crypto/pkcs12-key.ts";
import { writePfx } from "../../../src/wireserver/crypto/pkcs12-write.ts";
import type { WireIdentity } from "../../../src/wireserver/index.ts";
import { openssl } from "./openssl.ts";

const folder = mkdtempSync(join(tmpdir(), "goalstate-pkcs12-"));
const file = join(folder, "bundle.pfx");
let identities: readonly WireIdentity[];

beforeAll(async () => {
  const names = ["one", "two", "three"];
  identities = await Promise.all(names.map((name) => makeIdentity(name, 1_795_000_000_000)));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Certificates and keys as openssl writes them for an agent, each by what identifies it. */
async function readAsAgents(...flags: string[]) {
  const read = ["pkcs12", "-nodes", "-in", file, "-password", "pass:"];
  const pem = String(await openssl(...read, ...flags));
  const blocks = pem.match(/-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----/g) ?? [];
  const isKey = (block: string) => block.includes("PRIVATE KEY");
  const keys = blocks.filter(isKey).map((block) => {
    return createPrivateKey(block).export({ type: "pkcs8", format: "pem" });
  });
  const certificates = blocks
    .filter((block) => !isKey(block))
    .map((block) => {
      return new X509Certificate(block).toString();
    });
  return { pem, keys, certificates };
}

describe("a bundle for guests", () => {
  const contents = [
    ["nothing", 0, 0],
    ["a certificate with its key", 1, 1],
    ["three with their keys", 3, 3],
    ["one with its key and two without", 3, 1],
    ["two without a key", 2, 0],
  ] as const;
  for (const [what, certificates, keys] of contents) {
    for (const flags of [[], ["-nomacver"]]) {
      test(`of ${what} is read by openssl ${flags.join(" ")}`, async () => {
        const entries = identities
          .slice(0, certificates)
          .map(({ certificate, privateKey }, at) => ({
            certificate,
            ...(at < keys && { privateKey }),
          }));
        await writeFile(file, await writePfx(entries));
        const read = await readAsAgents(...flags);
        expect(read.certificates).toEqual(entries.map(({ certificate }) => certificate));
        expect(read.keys).toEqual(identities.slice(0, keys).map(({ privateKey }) => privateKey));
      });
    }
  }

  test("says which key belongs to which certificate", async () => {
    await writeFile(file, await writePfx(identities));
    const { pem } = await readAsAgents();
    for (const { thumbprint } of identities) {
      const id = thumbprint.match(/../g)!.join(" ");
      expect(pem.split(`localKeyID: ${id}`)).toHaveLength(3); // at the certificate and at the key
    }
  });

  test("has no cipher that OpenSSL 3 lacks, and a MAC with SHA-256", async () => {
    await writeFile(file, await writePfx(identities.slice(0, 1)));
    const args = ["pkcs12", "-in", file, "-info", "-noout", "-password", "pass:"];
    const { stderr } = await promisify(execFile)("openssl", args);
    expect(
      stderr
        .trim()
        .split("\n")
        .filter((line) => /PBE|MAC:/.test(line)),
    ).toEqual([
      "MAC: sha256, Iteration 2048",
      "PKCS7 Encrypted data: PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA256",
      "Shrouded Keybag: PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA256",
    ]);
  });

  test("with RC2-40, as many tools make it, is what OpenSSL 3 refuses", async () => {
    const [certificate, key] = [join(folder, "one.pem"), join(folder, "one.key")];
    await writeFile(certificate, identities[0]!.certificate);
    await writeFile(key, identities[0]!.privateKey);
    const made = ["-legacy", "-in", certificate, "-inkey", key, "-out", file, "-passout", "pass:"];
    await openssl("pkcs12", "-export", ...made);
    await expect(readAsAgents()).rejects.toThrow("RC2-40-CBC");
  });

  test("is not opened with another password", async () => {
    await writeFile(file, await writePfx(identities));
    await expect(openssl("pkcs12", "-nodes", "-in", file, "-password", "pass:x")).rejects.toThrow(
      "invalid password",
    );
  });
});

test("keys are derived as in the published examples", () => {
  // The two of a widely used test: password "smeg", SHA-1, one and a thousand rounds.
  const derive = (
    salt: string,
    iterations: number,
    purpose: "encryption" | "iv" | "mac",
    bytes: number,
    password = "smeg",
  ) =>
    derivePkcs12Key({
      digest: "sha1",
      password,
      salt: Buffer.from(salt, "hex"),
      iterations,
      purpose,
      bytes,
    }).toString("hex");
  expect(derive("0a58cf64530d823f", 1, "encryption", 24)).toBe(
    "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3",
  );
  expect(derive("0a58cf64530d823f", 1, "iv", 8)).toBe("79993dfe048d3b76");
  expect(derive("3d83c0e4546ac140", 1, "mac", 20)).toBe("8d967d88f6caa9d714800ab3d48051d63f73a312");
  expect(derive("05dec959acff72f7", 1_000, "encryption", 24, "queeg")).toBe(
    "ed2034e36328830ff09df1e1a07dd357185dac0d4f9eb3d4",
  );
});
