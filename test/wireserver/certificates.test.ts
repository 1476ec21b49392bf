import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseStringPromise } from "xml2js";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { BoundedMap } from "../../src/wireserver/certificates/bounded-map.ts";
import {
  createWireServer,
  makeIdentity,
  type WireContainer,
  type WireIdentity,
  type WireVault,
} from "../../src/wireserver/index.ts";
import { SECRET_CALLS_MAX, SECRET_PERIOD_MS } from "../../src/wireserver/rate-rule.ts";
import {
  decryptAsAgents,
  makeTransport,
  openssl,
  type Transport,
  WITHOUT_KEY_IDENTIFIER,
} from "./crypto/openssl.ts";
import { CONTAINER, createDirectory, createRecorder } from "./fixtures.ts";

const URL = `/machine/${CONTAINER.containerId}/${CONTAINER.instanceId}?comp=certificates&incarnation=3`;
const OTHER: WireContainer = {
  ...CONTAINER,
  name: "hello.web_1",
  containerId: "c1b4b1de-0000-4000-8000-000000000001",
  address: parseIpv4("10.20.0.5"),
};

const folder = mkdtempSync(join(tmpdir(), "goalstate-certificates-"));
let identity: WireIdentity;
let ofRole: WireIdentity;
let named: Transport;
let unnamed: Transport;

beforeAll(async () => {
  [identity, ofRole, named, unnamed] = await Promise.all([
    makeIdentity("goalstate VM", Date.now()),
    makeIdentity("of the role", Date.now()),
    makeTransport(folder, "named"),
    makeTransport(folder, "unnamed", WITHOUT_KEY_IDENTIFIER),
  ]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function vaultOf(read: () => Promise<WireIdentity>): WireVault & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    identityOf: (container) => {
      asked.push(container);
      return read();
    },
  };
}

async function serve<T>(
  options: {
    vault?: WireVault | undefined;
    containers?: readonly WireContainer[];
    now?: () => number;
  },
  use: (ask: Ask, lines: readonly string[]) => Promise<T>,
): Promise<T> {
  const recorder = createRecorder();
  const vault = "vault" in options ? options.vault : vaultOf(async () => identity);
  const app = createWireServer({
    directory: createDirectory(...(options.containers ?? [CONTAINER, OTHER])),
    observer: recorder,
    endpoint: parseIpv4("168.63.129.16"),
    ...(vault !== undefined && { vault }),
    ...(options.now !== undefined && { now: options.now }),
  });
  try {
    return await use(
      (headers, url = URL, remoteAddress = "10.20.0.4") =>
        app.inject({ url, remoteAddress, headers: { "x-ms-version": "2012-11-30", ...headers } }),
      recorder.lines,
    );
  } finally {
    await app.close();
  }
}

type Ask = (
  headers: Record<string, string>,
  url?: string,
  remoteAddress?: string,
) => Promise<{ statusCode: number; body: string; headers: Record<string, unknown> }>;

const from = ({ header }: Transport, cipher?: string) => ({
  "x-ms-guest-agent-public-x509-cert": header,
  ...(cipher !== undefined && { "x-ms-cipher-name": cipher }),
});

async function dataOf(body: string): Promise<string> {
  const { CertificateFile } = await parseStringPromise(body);
  return CertificateFile.Data[0];
}

/** What an agent gets out of it: PEM of everything in the bundle. */
async function openAsAgents(body: string, transport: Transport, ...flags: string[]) {
  const pfx = join(folder, "Certificates.pfx");
  await writeFile(pfx, await decryptAsAgents(folder, await dataOf(body), transport));
  const args = ["pkcs12", "-nodes", "-in", pfx, "-password", "pass:"];
  return String(await openssl(...args, ...flags));
}

describe("certificates", () => {
  const ciphers = [
    ["DES_EDE3_CBC", "des-ede3-cbc"],
    ["AES128_CBC", "aes-128-cbc"],
    ["AES256_CBC", "aes-256-cbc"],
    [undefined, "aes-128-cbc"],
  ] as const;
  for (const [cipher, oid] of ciphers) {
    for (const kind of ["subject key identifier", "issuer and serial number"]) {
      for (const flags of [[], ["-nomacver"]]) {
        test(`with cipher ${cipher ?? "unnamed"} to ${kind} are read as agents do ${flags.join("")}`, async () => {
          const transport = kind.startsWith("subject") ? named : unnamed;
          await serve({}, async (ask) => {
            const { statusCode, body } = await ask(from(transport, cipher));
            expect(statusCode).toBe(200);
            const pem = await openAsAgents(body, transport, ...flags);
            expect(pem).toContain(identity.certificate.trim());
            expect(pem).toContain(identity.privateKey.trim());
            const der = join(folder, "envelope.der");
            await writeFile(der, Buffer.from(await dataOf(body), "base64"));
            const print = ["cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", der];
            expect(String(await openssl(...print))).toContain(oid);
          });
        });
      }
    }
  }

  test("have the form that every client takes", async () => {
    await serve({}, async (ask, lines) => {
      const { body, headers } = await ask(from(named));
      expect(headers["content-type"]).toBe("text/xml; charset=utf-8");
      const { CertificateFile } = await parseStringPromise(body);
      expect(Object.keys(CertificateFile)).toEqual(["Version", "Incarnation", "Format", "Data"]);
      const { Version, Incarnation, Format, Data } = CertificateFile;
      expect([Version[0], Incarnation[0]]).toEqual(["2012-11-30", "3"]);
      expect(Format[0]).toBe("Pkcs7BlobWithPfxContents");
      const rows = Data[0].trim().split("\n");
      expect(rows.length).toBeGreaterThan(30);
      for (const row of rows.slice(0, -1)) expect(row).toMatch(/^[A-Za-z0-9+/]{64}$/);
      expect(rows.at(-1)).toMatch(/^[A-Za-z0-9+/]{1,64}={0,2}$/);
      expect(lines).toEqual(["hello.web_0 certificates 3"]);
    });
  });

  test("in one line are what openssl refuses: why they are wrapped", async () => {
    await serve({}, async (ask) => {
      const data = await dataOf((await ask(from(named))).body);
      const line = data.replaceAll("\n", "");
      await expect(decryptAsAgents(folder, line, named)).rejects.toThrow(
        "Error reading SMIME Content Info",
      );
    });
  });

  test("are linked from the goal state if there is a vault, and not without", async () => {
    const goalState = "/machine/?comp=goalstate";
    await serve({}, async (ask) => {
      const { body } = await ask({}, goalState);
      const url = /<Certificates>http:\/\/168.63.129.16:80([^<]+)</.exec(body)?.[1] ?? "";
      const { statusCode } = await ask(from(named), url.replaceAll("&amp;", "&"));
      expect(statusCode).toBe(200);
    });
    await serve({ vault: undefined }, async (ask) => {
      expect((await ask({}, goalState)).body).not.toContain("<Certificates>");
      expect((await ask(from(named))).statusCode).toBe(404);
    });
  });

  test("cannot be read by another guest, whatever key it has", async () => {
    await serve({}, async (ask) => {
      const { body } = await ask(from(named));
      await expect(openAsAgents(body, unnamed)).rejects.toThrow("Error decrypting CMS");
    });
  });

  test("of another container are refused to who asks by its own address or for a foreign path", async () => {
    const vault = vaultOf(async () => identity);
    await serve({ vault }, async (ask) => {
      const foreign = await ask(from(named), URL, "10.20.0.5");
      expect(foreign.statusCode).toBe(410);
      expect((await ask(from(named), URL, "10.20.0.99")).statusCode).toBe(403);
      expect((await ask(from(named), URL.replace("=3", "=2"))).statusCode).toBe(410);
      expect(vault.asked).toEqual([]);
      expect((await ask(from(named))).statusCode).toBe(200);
      expect(vault.asked).toEqual(["hello.web_0"]);
    });
  });

  test("are not served without a sound certificate and a known cipher, and the vault is not asked", async () => {
    const vault = vaultOf(async () => identity);
    const header = "x-ms-guest-agent-public-x509-cert";
    const weak = await makeTransport(folder, "weak", { key: ["rsa:1024"] });
    const curve = await makeTransport(folder, "curve", {
      key: ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    });
    const bad: readonly Record<string, string>[] = [
      {},
      { [header]: "" },
      { [header]: "AAAA" },
      { [header]: named.header.slice(0, 800) },
      { [header]: named.header.repeat(4) },
      from(weak),
      from(curve),
      from(named, "RC2_40_CBC"),
      from(named, ""),
      from(named, "constructor"),
      from(named, "AES128_CBC, DES_EDE3_CBC"),
    ];
    await serve({ vault }, async (ask, lines) => {
      for (const headers of bad) {
        const { statusCode, body } = await ask(headers);
        expect([statusCode, body]).toEqual([400, expect.stringContaining("InvalidInput")]);
      }
      expect(lines).toEqual(bad.map(() => "10.20.0.4 refused malformed-request"));
    });
    expect(vault.asked).toEqual([]);
  });

  test("are refused to a guest that asks all the time, and to no other, until it has waited", async () => {
    let nowMs = 0;
    await serve({ now: () => nowMs }, async (ask) => {
      const url = URL.replace(CONTAINER.containerId, OTHER.containerId);
      for (let call = 0; call < SECRET_CALLS_MAX; call++) {
        expect((await ask({})).statusCode).toBe(400); // bad ones count too
      }
      const refused = await ask(from(named));
      expect([refused.statusCode, refused.body]).toEqual([
        429,
        expect.stringContaining("RequestRateLimitExceeded"),
      ]);
      const users = URL.replace("certificates", "remoteAccessInfo");
      expect((await ask(from(named), users)).statusCode).toBe(429);
      expect((await ask(from(named), url, "10.20.0.5")).statusCode).toBe(200);
      nowMs = SECRET_PERIOD_MS;
      expect((await ask(from(named))).statusCode).toBe(200);
    });
  });

  test("that cannot be kept now are a 503 without its cause, and served once they can", async () => {
    let isBroken = true;
    const vault = vaultOf(async () => {
      if (isBroken) throw new Error("the store is away, and this is secret");
      return identity;
    });
    await serve({ vault }, async (ask) => {
      const refused = await ask(from(named));
      expect(refused.statusCode).toBe(503);
      expect(refused.body).not.toContain("secret");
      isBroken = false;
      expect((await ask(from(named))).statusCode).toBe(200);
    });
  });

  test("of the role come with the VM's own, each once", async () => {
    const certificates = [ofRole, identity, ofRole];
    await serve({ containers: [{ ...CONTAINER, certificates }] }, async (ask) => {
      const pem = await openAsAgents((await ask(from(named))).body, named);
      expect(pem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
      expect(pem.match(/BEGIN PRIVATE KEY/g)).toHaveLength(2);
      expect(pem).toContain(ofRole.privateKey.trim());
    });
  });

  test("are another envelope around the same bundle for each request, until the identity changes", async () => {
    let present = identity;
    await serve({ vault: vaultOf(async () => present) }, async (ask) => {
      const open = async () => {
        const { body } = await ask(from(named));
        return { body, pfx: await decryptAsAgents(folder, await dataOf(body), named) };
      };
      const [one, two] = [await open(), await open()];
      expect(one.body).not.toBe(two.body);
      expect(one.pfx.equals(two.pfx)).toBe(true);
      present = ofRole;
      const { body, pfx } = await open();
      expect(pfx.equals(one.pfx)).toBe(false);
      expect(await openAsAgents(body, named)).toContain(ofRole.privateKey.trim());
    });
  });

  test("of two containers that ask at once are not mixed up", async () => {
    const vault: WireVault = {
      identityOf: async (container) => (container === CONTAINER.name ? identity : ofRole),
    };
    await serve({ vault }, async (ask) => {
      const url = URL.replace(CONTAINER.containerId, OTHER.containerId);
      const asked = Array.from({ length: 8 }, (_, at) =>
        at % 2 === 0 ? ask(from(named)) : ask(from(unnamed), url, "10.20.0.5"),
      );
      for (const [at, { body }] of (await Promise.all(asked)).entries()) {
        const pem = await openAsAgents(body, at % 2 === 0 ? named : unnamed);
        expect(pem).toContain((at % 2 === 0 ? identity : ofRole).privateKey.trim());
        expect(pem.match(/BEGIN CERTIFICATE/g)).toHaveLength(1);
      }
    });
  });
});

test("a bounded map forgets what was not used for longest", () => {
  const map = new BoundedMap<number>(2);
  map.keep("a", 1);
  map.keep("b", 2);
  expect(map.find("a")).toBe(1);
  map.keep("c", 3);
  expect(["a", "b", "c"].map((key) => map.find(key))).toEqual([1, undefined, 3]);
  map.forget("a");
  expect(map.find("a")).toBeUndefined();
});
