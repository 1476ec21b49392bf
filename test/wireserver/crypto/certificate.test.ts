import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type CertifiedKey,
  makeAuthority,
  makeCertificate,
  makeIdentity,
} from "../../../src/wireserver/crypto/certificate.ts";
import { signContent } from "../../../src/wireserver/crypto/signed-data.ts";
import { openssl } from "./openssl.ts";

const NOW_MS = Date.now();
const folder = mkdtempSync(join(tmpdir(), "goalstate-certificate-"));
let authority: CertifiedKey;
let other: CertifiedKey;
let leaf: CertifiedKey;

async function fileOf(name: string, content: string | Uint8Array): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, content);
  return file;
}

beforeAll(async () => {
  [authority, other] = await Promise.all([
    makeAuthority("goalstate lab", NOW_MS),
    makeAuthority("goalstate lab", NOW_MS),
  ]);
  const request = { commonName: "metadata.azure.com", nowMs: NOW_MS, isAuthority: false };
  leaf = await makeCertificate({ ...request, issuer: authority });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a VM's certificate", () => {
  test("signs itself, has a subject key identifier, and its key fits", async () => {
    const identity = await makeIdentity("goalstate VM", NOW_MS);
    const file = await fileOf("vm.pem", identity.certificate);
    await openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", file, file);
    const text = String(await openssl("x509", "-in", file, "-noout", "-text"));
    expect(text).toContain("Signature Algorithm: sha256WithRSAEncryption");
    expect(text).toContain("Public-Key: (2048 bit)");
    expect(text).toContain("X509v3 Subject Key Identifier");
    expect(text).toContain("CA:FALSE");
    const parsed = new X509Certificate(identity.certificate);
    expect(parsed.checkPrivateKey(createPrivateKey(identity.privateKey))).toBe(true);
    const printed = String(await openssl("x509", "-in", file, "-noout", "-fingerprint"));
    expect(printed.trim().replaceAll(":", "").split("=")[1]).toBe(identity.thumbprint);
  });

  test("is good a week before it was made and for ten years after", async () => {
    const { certificate } = await makeIdentity("goalstate VM", NOW_MS);
    const { validFromDate, validToDate } = new X509Certificate(certificate);
    expect(validFromDate.getTime()).toBe(Math.floor(NOW_MS / 1000) * 1000 - 7 * 86_400_000);
    expect(validToDate.getTime() - NOW_MS).toBeGreaterThan(3_652 * 86_400_000);
  });

  test("is written with a four-digit year where it ends after 2049", async () => {
    const { certificate } = await makeIdentity("goalstate VM", Date.UTC(2045, 0));
    expect(new X509Certificate(certificate).validToDate.getUTCFullYear()).toBe(2055);
    const file = await fileOf("late.pem", certificate);
    expect(String(await openssl("asn1parse", "-in", file))).toContain("GENERALIZEDTIME");
  });
});

describe("an authority", () => {
  test("vouches for what it issued and for nothing else", async () => {
    const trusted = await fileOf("ca.pem", authority.certificate);
    const issued = await fileOf("leaf.pem", leaf.certificate);
    await openssl("verify", "-x509_strict", "-CAfile", trusted, trusted, issued);
    const stranger = await fileOf("other.pem", other.certificate);
    await expect(openssl("verify", "-CAfile", stranger, issued)).rejects.toThrow("verif");
  });

  test("issues for a name and a key that is not its own", () => {
    const { subject, issuer, subjectAltName, publicKey } = new X509Certificate(leaf.certificate);
    expect([subject, issuer]).toEqual(["CN=metadata.azure.com", "CN=goalstate lab"]);
    expect(subjectAltName).toBe("DNS:metadata.azure.com");
    expect(publicKey.equals(createPublicKey(leaf.privateKey))).toBe(true);
    expect(publicKey.equals(createPublicKey(authority.privateKey))).toBe(false);
  });
});

describe("signed content", () => {
  const content = Buffer.from('{"nonce":"1","vmId":"x"}');
  const verify = async (der: Uint8Array, trusted: CertifiedKey) =>
    await openssl(
      ...["cms", "-verify", "-binary", "-inform", "DER", "-in", await fileOf("signed.der", der)],
      ...["-CAfile", await fileOf("trusted.pem", trusted.certificate), "-purpose", "any"],
    );

  test("is verified by openssl against the authority", async () => {
    const der = signContent(leaf, [authority.certificate], content, NOW_MS);
    expect(await verify(der, authority)).toEqual(content);
    const file = await fileOf("signed.p7", der);
    const certificates = await openssl("pkcs7", "-inform", "DER", "-in", file, "-print_certs");
    expect(String(certificates).match(/subject=.*/g)).toEqual([
      "subject=CN = metadata.azure.com",
      "subject=CN = goalstate lab",
    ]);
  });

  test("of any size is verified, also of none", async () => {
    for (const size of [0, 1, 127, 128, 65_536]) {
      const der = signContent(leaf, [], Buffer.alloc(size, 7), NOW_MS);
      expect((await verify(der, authority)).length).toBe(size);
    }
  });

  test("is not verified against another authority, nor when it was changed", async () => {
    const der = signContent(leaf, [authority.certificate], content, NOW_MS);
    await expect(verify(der, other)).rejects.toThrow("CMS Verification failure");
    const changed = Buffer.from(der);
    changed[changed.indexOf("vmId")] = 0x56;
    await expect(verify(changed, authority)).rejects.toThrow("CMS Verification failure");
  });
});
