import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import { Certificate, id_ce_subjectKeyIdentifier } from "@peculiar/asn1-x509";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ContentCipher, encryptEnvelope } from "../../../src/wireserver/crypto/envelope.ts";
import {
  CERTIFICATE_CHARACTERS_MAX,
  parseTransportCertificate,
} from "../../../src/wireserver/crypto/recipient.ts";
import { sealPassword, sealProtectedSettings } from "../../../src/wireserver/crypto/sealed.ts";
import {
  decryptDer,
  makeTransport,
  openssl,
  type Transport,
  WITHOUT_KEY_IDENTIFIER,
} from "./openssl.ts";

const folder = mkdtempSync(join(tmpdir(), "goalstate-envelope-"));
let named: Transport;
let unnamed: Transport;

beforeAll(async () => {
  named = await makeTransport(folder, "named");
  unnamed = await makeTransport(folder, "unnamed", WITHOUT_KEY_IDENTIFIER);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What openssl says of the structure. */
async function describeEnvelope(der: Uint8Array): Promise<string> {
  const file = join(folder, "described.der");
  await writeFile(file, der);
  return String(await openssl("cms", "-cmsout", "-print", "-inform", "DER", "-in", file));
}

describe("an envelope", () => {
  const ciphers: readonly (readonly [ContentCipher, string])[] = [
    ["AES128_CBC", "aes-128-cbc (2.16.840.1.101.3.4.1.2)"],
    ["AES256_CBC", "aes-256-cbc (2.16.840.1.101.3.4.1.42)"],
    ["DES_EDE3_CBC", "des-ede3-cbc (1.2.840.113549.3.7)"],
  ];
  for (const [cipher, oid] of ciphers) {
    for (const kind of ["subjectKeyIdentifier", "issuerAndSerialNumber"]) {
      test(`of ${cipher} to a recipient by ${kind} is read by openssl`, async () => {
        const transport = kind === "subjectKeyIdentifier" ? named : unnamed;
        const recipient = parseTransportCertificate(transport.header);
        const content = Buffer.from("the content\n\0\r\n");
        const der = encryptEnvelope(recipient, content, cipher);
        expect(await decryptDer(folder, der, transport)).toEqual(content);
        const described = await describeEnvelope(der);
        expect(described).toContain(`d.${kind}`);
        expect(described).toContain(oid);
        const version = kind === "subjectKeyIdentifier" ? 2 : 0;
        expect(described.match(/version: \d/g)).toEqual(Array(2).fill(`version: ${version}`));
      });
    }
  }

  test("of any size is read by openssl", async () => {
    const recipient = parseTransportCertificate(named.header);
    const near = [0, 1, 7, 8, 9, 15, 16, 17, 127, 128, 255, 256, 65_535, 65_536, 1_048_576];
    const property = fc.asyncProperty(
      fc.oneof(fc.constantFrom(...near), fc.nat(5_000)),
      fc.constantFrom(...ciphers.map(([cipher]) => cipher)),
      fc.nat(255),
      async (size, cipher, octet) => {
        const content = Buffer.alloc(size, octet);
        const der = encryptEnvelope(recipient, content, cipher);
        expect((await decryptDer(folder, der, named)).equals(content)).toBe(true);
      },
    );
    await fc.assert(property, { numRuns: 15 });
  });

  test("is another one each time", () => {
    const recipient = parseTransportCertificate(named.header);
    const envelopes = [1, 2].map(() => encryptEnvelope(recipient, Buffer.alloc(9), "AES128_CBC"));
    expect(envelopes[0]).not.toEqual(envelopes[1]);
  });

  test("cannot be read with another key", async () => {
    const recipient = parseTransportCertificate(named.header);
    const content = Buffer.from("not for everybody");
    const der = encryptEnvelope(recipient, content, "AES128_CBC");
    await expect(decryptDer(folder, der, unnamed)).rejects.toThrow("Error decrypting CMS");
    const forged = { ...named, keyFile: unnamed.keyFile };
    // Since OpenSSL 3.2 a wrong key gives random bytes instead of an error: that is no oracle for attackers.
    const read = await decryptDer(folder, der, forged).catch(() => Buffer.alloc(0));
    expect(read.includes(content)).toBe(false);
  });
});

describe("a transport certificate", () => {
  const refused = (header: string | string[] | undefined, says: string) =>
    expect(() => parseTransportCertificate(header)).toThrow(
      expect.objectContaining({
        code: "ERR_WIRE_CERTIFICATE_REFUSED",
        message: expect.stringContaining(says),
      }),
    );

  test("of RSA 2048, 3072 and 4096 bits is taken", async () => {
    for (const bits of [3072, 4096]) {
      const { header } = await makeTransport(folder, `rsa-${bits}`, { key: [`rsa:${bits}`] });
      expect(header.length).toBeLessThan(CERTIFICATE_CHARACTERS_MAX);
      expect(parseTransportCertificate(header).publicKey.asymmetricKeyType).toBe("rsa");
    }
    expect(parseTransportCertificate(named.header).publicKey.asymmetricKeyType).toBe("rsa");
  });

  test("that is absent, twice, empty, long or no base64 is refused", () => {
    refused(undefined, "is missing");
    refused("", "is missing");
    refused([named.header, named.header], "is missing");
    refused(`${named.header}, ${named.header}`, "is no base64");
    refused("A".repeat(CERTIFICATE_CHARACTERS_MAX + 4), "is longer than");
    refused("not base64!!", "is no base64");
    refused(named.header.slice(0, -1), "is no base64");
    refused(named.certificate.replaceAll("\n", " "), "is no base64");
  });

  test("that is cut, changed or no certificate is refused", () => {
    refused(named.header.slice(0, 400), "is no X.509 certificate");
    refused(Buffer.alloc(600, "x").toString("base64"), "is no X.509 certificate");
    refused(Buffer.from("3000", "hex").toString("base64"), "is no X.509 certificate");
  });

  test("that is nested without end is refused", () => {
    const nested = Buffer.alloc(3_000);
    for (let at = 0; at < nested.length; at += 2) nested.writeUInt16BE(0x3080, at);
    refused(nested.toString("base64"), "is no X.509 certificate");
  });

  test("whose key identifier is nested without end, or is none, is refused", () => {
    const nested = Buffer.alloc(2_000);
    for (let at = 0; at < nested.length; at += 2) nested.writeUInt16BE(0x3080, at);
    for (const value of [
      nested,
      Buffer.from("0401"),
      Buffer.from("020101", "hex"),
      Buffer.alloc(0),
    ]) {
      const parsed = AsnConvert.parse(Buffer.from(named.header, "base64"), Certificate);
      const { extensions } = parsed.tbsCertificate;
      const found = extensions?.find(({ extnID }) => extnID === id_ce_subjectKeyIdentifier);
      found!.extnValue = new OctetString(value);
      const header = Buffer.from(AsnConvert.serialize(parsed)).toString("base64");
      refused(header, "is no X.509 certificate");
    }
  });

  test("with a short RSA key, a long one, a huge exponent, an EC or an Ed25519 key is refused", async () => {
    const cases = [
      [["rsa:1024"], "1024 bits"],
      [["rsa:2047"], "2047 bits"],
      [["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "no RSA key"],
      [["ed25519"], "no RSA key"],
      [
        ["rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:340282366920938463463374607431768211457"],
        "too large an RSA exponent",
      ],
    ] as const;
    for (const [key, says] of cases) {
      const { header } = await makeTransport(folder, "weak", { key });
      refused(header, says);
    }
  });

  test("whatever it is, is taken or refused, and nothing else happens", () => {
    const der = Buffer.from(named.header, "base64");
    const property = fc.property(fc.nat(der.length - 1), fc.nat(255), (at, octet) => {
      const changed = Buffer.from(der);
      changed[at] = octet;
      try {
        encryptEnvelope(
          parseTransportCertificate(changed.toString("base64")),
          Buffer.alloc(1),
          "AES128_CBC",
        );
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_WIRE_CERTIFICATE_REFUSED" });
      }
    });
    fc.assert(property, { numRuns: 300 });
  });
});

describe("what is sealed", () => {
  test("of settings is JSON for the VM's certificate", async () => {
    const settings = { token: 'a "secret" ü', list: [1, null] };
    const sealed = sealProtectedSettings({ certificate: named.certificate }, settings);
    const json = await decryptDer(folder, Buffer.from(sealed, "base64"), named);
    expect(JSON.parse(json.toString("utf8"))).toEqual(settings);
  });

  test("of a password is UTF-16 for the certificate of who asks", async () => {
    const recipient = parseTransportCertificate(named.header);
    for (const cipher of ["AES128_CBC", "DES_EDE3_CBC"] as const) {
      const sealed = sealPassword(recipient, "Pässw0rd €𝄞", cipher);
      const octets = await decryptDer(folder, Buffer.from(sealed, "base64"), named);
      expect(new TextDecoder("utf-16le", { ignoreBOM: true }).decode(octets)).toBe(
        "\uFEFFPässw0rd €𝄞",
      );
    }
  });
});
