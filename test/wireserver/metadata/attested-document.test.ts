/** Attested documents as their readers check them: openssl is the oracle. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  type CertifiedKey,
  createMetadataService,
  makeAuthority,
  makeCertificate,
  signAttestation,
  type WireAttester,
} from "../../../src/wireserver/index.ts";
import { REQUESTS_AT_ONCE } from "../../../src/wireserver/request-budget.ts";
import { temporaryFolder } from "../../temporary-folder.ts";
import { CONTAINER, createDirectory, createRecorder } from "../fixtures.ts";
import { ask } from "./ask.ts";

const headers = { Metadata: "true" };
const NOW_MS = Date.UTC(2026, 10, 25, 14, 30, 5);
const URL_OF = (query: string) => `/metadata/attested/document?${query}`;

let authority: CertifiedKey;
let stranger: CertifiedKey;
let attester: WireAttester;

beforeAll(async () => {
  [authority, stranger] = await Promise.all([
    makeAuthority("lab authority", NOW_MS),
    makeAuthority("another authority", NOW_MS),
  ]);
  const named = { commonName: "metadata.azure.com", isAuthority: false, nowMs: NOW_MS };
  const signer = await makeCertificate({ ...named, issuer: authority });
  attester = {
    attest: async (container, question) => {
      expect(container).toBe("hello.web_0");
      const vmId = CONTAINER.containerId;
      const issuers = [authority.certificate];
      return signAttestation({ ...question, vmId, signer, issuers, nowMs: NOW_MS });
    },
  };
});

async function read(query: string): Promise<string> {
  const { response } = await ask({ url: URL_OF(query), headers }, undefined, { attester });
  expect(response.statusCode).toBe(200);
  const { encoding, signature } = response.json();
  expect(encoding).toBe("pkcs7");
  return signature;
}

/** What openssl finds in it; throws unless it leads to the authority. */
function verify(signature: string, trusted: CertifiedKey): unknown {
  const folder = temporaryFolder("attested");
  writeFileSync(join(folder, "ca.pem"), trusted.certificate);
  writeFileSync(join(folder, "document.der"), Buffer.from(signature, "base64"));
  const text = execFileSync(
    "openssl",
    [
      ...["cms", "-verify", "-inform", "DER", "-in", "document.der", "-CAfile", "ca.pem"],
      ...["-attime", String(NOW_MS / 1000), "-purpose", "any"],
    ],
    { cwd: folder, stdio: ["ignore", "pipe", "pipe"] },
  );
  return JSON.parse(text.toString());
}

describe("an attested document", () => {
  test("says whose it is and until when, signed by the fabric's authority", async () => {
    const document = verify(await read("api-version=2020-09-01&nonce=1234567890"), authority);
    expect(document).toEqual({
      licenseType: "",
      nonce: "1234567890",
      plan: { name: "", product: "", publisher: "" },
      sku: "",
      subscriptionId: "00000000-0000-0000-0000-000000000000",
      timeStamp: { createdOn: "11/25/26 14:30:05 -0000", expiresOn: "11/25/26 20:30:05 -0000" },
      vmId: CONTAINER.containerId,
    });
  });

  test("of another authority is not believed", async () => {
    const signature = await read("api-version=2020-09-01");
    expect(() => verify(signature, stranger)).toThrow(/verify error/i);
  });

  test("that was changed is not believed", async () => {
    const octets = Buffer.from(await read("api-version=2020-09-01&nonce=1234567890"), "base64");
    octets[octets.indexOf("1234567890")] = 0x39;
    expect(() => verify(octets.toString("base64"), authority)).toThrow(/fail/i);
  });

  test("without a nonce has the time in its place", async () => {
    const document = verify(await read("api-version=2018-10-01"), authority);
    expect(document).toMatchObject({ nonce: "11/25/26 14:30:05 -0000" });
    expect(document).not.toHaveProperty("subscriptionId");
  });

  for (const [name, query, status] of [
    ["with a space in its nonce", "api-version=2020-09-01&nonce=1%202", 400],
    ["with a long nonce", `api-version=2020-09-01&nonce=${"1".repeat(65)}`, 400],
    ["in a version that had none", "api-version=2018-04-02", 400],
    ["in no version", "nonce=1", 400],
  ] as const) {
    test(`${name} is refused`, async () => {
      const { response } = await ask({ url: URL_OF(query), headers }, undefined, { attester });
      expect(response.statusCode).toBe(status);
    });
  }

  test("is not there where nobody attests, and 503 where that fails", async () => {
    const request = { url: URL_OF("api-version=2020-09-01"), headers };
    expect((await ask(request)).response.statusCode).toBe(404);
    const broken: WireAttester = { attest: () => Promise.reject(new Error("no key")) };
    const { response } = await ask(request, undefined, { attester: broken });
    expect(response.statusCode).toBe(503);
    expect(response.body).not.toContain("no key");
  });

  test("counts as five requests: a signature costs the node more", async () => {
    await using app = createMetadataService({
      ...{ directory: createDirectory(CONTAINER), observer: createRecorder(), attester },
      now: () => 0,
    });
    const url = URL_OF("api-version=2020-09-01");
    const statuses: number[] = [];
    for (let count = 0; count <= REQUESTS_AT_ONCE / 5; count += 1) {
      statuses.push((await app.inject({ url, headers, remoteAddress: "10.20.0.4" })).statusCode);
    }
    expect(statuses.pop()).toBe(429);
    expect(new Set(statuses)).toEqual(new Set([200]));
  });
});
