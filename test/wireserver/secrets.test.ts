/** Documents with something in them that only this guest may read, and those that travel by the host plugin. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InjectOptions } from "fastify";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { parseStringPromise } from "xml2js";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import {
  createHostPlugin,
  createWireServer,
  type WireContainer,
  type WireVault,
} from "../../src/wireserver/index.ts";
import { decryptDer, makeTransport, type Transport } from "./crypto/openssl.ts";
import { createDirectory, createRecorder, FULL } from "./fixtures.ts";

const folder = mkdtempSync(join(tmpdir(), "goalstate-secrets-"));
const THUMBPRINT = "0123456789ABCDEF0123456789ABCDEF01234567";
const FAST = { ...FULL, fastTrack: true } as const;
let transport: Transport;
let tenant: Transport;

beforeAll(async () => {
  transport = await makeTransport(folder, "transport");
  tenant = await makeTransport(folder, "tenant");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const workingVault = (): WireVault => ({
  identityOf: async () => ({
    certificate: tenant.certificate,
    privateKey: "",
    thumbprint: THUMBPRINT,
  }),
});
const BROKEN: WireVault = { identityOf: () => Promise.reject(new Error("the store is away")) };

function serve(container: WireContainer = FULL, vault: WireVault | "none" = workingVault()) {
  const recorder = createRecorder();
  const directory = createDirectory(container);
  const options = { directory, observer: recorder, ...(vault !== "none" && { vault }) };
  const wire = createWireServer({ ...options, endpoint: parseIpv4("168.63.129.16") });
  const plugin = createHostPlugin(options);
  onTestFinished(async () => {
    await Promise.all([wire.close(), plugin.close()]);
  });
  const from = { remoteAddress: "10.20.0.4" };
  return {
    recorder,
    directory,
    wire: (request: InjectOptions) => wire.inject({ ...from, ...request }),
    plugin: (request: InjectOptions) => plugin.inject({ ...from, ...request }),
  };
}

const machine = (query: string) =>
  `/machine/${FULL.containerId}/${FULL.instanceId}?${query}&incarnation=${FULL.incarnation}`;
const REMOTE_ACCESS = machine("comp=remoteAccessInfo");
const EXTENSIONS = machine("comp=config&type=extensionsConfig");
const HOSTING = machine("comp=config&type=hostingEnvironmentConfig");
const decrypt = async (base64: string, by: Transport) =>
  decryptDer(folder, Buffer.from(base64, "base64"), by);

describe("remote access", () => {
  for (const cipher of ["AES128_CBC", "DES_EDE3_CBC", undefined]) {
    test(`a password is UTF-16 in a CMS for the caller, with ${cipher ?? "our cipher"}`, async () => {
      const { wire, recorder } = serve();
      const response = await wire({
        url: REMOTE_ACCESS,
        headers: {
          "x-ms-guest-agent-public-x509-cert": transport.header,
          ...(cipher !== undefined && { "x-ms-cipher-name": cipher }),
        },
      });
      expect(response.statusCode).toBe(200);
      const { RemoteAccess } = await parseStringPromise(response.body);
      expect(RemoteAccess.Version).toEqual(["1"]);
      expect(RemoteAccess.Incarnation).toEqual(["3"]);
      const [user] = RemoteAccess.Users[0].User;
      expect(user.Name).toEqual(["jit"]);
      expect(user.Expiration).toEqual(["Wed, 25 Nov 2026 18:00:00 GMT"]);
      const text = await decrypt(user.Password[0], transport);
      expect(text.toString("utf16le")).toBe("\ufeffpa\u00df");
      expect(response.body).not.toContain("pa\u00df");
      expect(recorder.lines).toEqual(["hello.web_0 remoteAccessInfo 3"]);
    });
  }

  for (const [name, headers, url, status] of [
    ["no certificate", {}, REMOTE_ACCESS, 400],
    ["a broken one", { "x-ms-guest-agent-public-x509-cert": "AAAA" }, REMOTE_ACCESS, 400],
    ["an old incarnation", {}, REMOTE_ACCESS.replace("=3", "=2"), 410],
    ["another container", {}, REMOTE_ACCESS.replace("5b0c3c52", "00000000"), 410],
  ] as const) {
    test(`${name}: ${status}`, async () => {
      const { wire } = serve();
      expect((await wire({ url, headers })).statusCode).toBe(status);
    });
  }

  test("an unknown cipher: 400, and a cipher in any case but its own is unknown too", async () => {
    const { wire } = serve();
    for (const name of ["RC2_CBC", "aes128_cbc", "__proto__"]) {
      const headers = {
        "x-ms-guest-agent-public-x509-cert": transport.header,
        "x-ms-cipher-name": name,
      };
      expect((await wire({ url: REMOTE_ACCESS, headers })).statusCode).toBe(400);
    }
  });

  test("the goal state names it only while there are accounts", async () => {
    const server = serve();
    const ask = () =>
      server.wire({ url: "/machine?comp=goalstate", headers: { "x-ms-version": "x" } });
    expect((await ask()).body).toContain("RemoteAccessInfo");
    server.directory.replace({ ...FULL, users: [] });
    expect((await ask()).body).not.toContain("RemoteAccessInfo");
  });
});

describe("protected settings", () => {
  test("are a CMS for the VM's certificate, which is named", async () => {
    const { wire } = serve();
    const response = await wire({ url: EXTENSIONS });
    expect(response.body).not.toContain("s3cret");
    const { Extensions } = await parseStringPromise(response.body);
    const [echo, other] = Extensions.PluginSettings[0].Plugin.map(
      (each: { RuntimeSettings: [{ _: string }] }) =>
        JSON.parse(each.RuntimeSettings[0]._).runtimeSettings[0].handlerSettings,
    );
    expect(echo.protectedSettingsCertThumbprint).toBe(THUMBPRINT);
    expect(JSON.parse(String(await decrypt(echo.protectedSettings, tenant)))).toEqual({
      secret: "s3cret",
    });
    expect(other).toEqual({ publicSettings: {} });
  });

  for (const [name, vault] of [
    ["a vault that fails", BROKEN],
    ["no vault", "none"],
  ] as const) {
    test(`${name}: 503, and never without them`, async () => {
      const { wire, plugin } = serve(FAST, vault);
      const response = await wire({ url: EXTENSIONS });
      expect([response.statusCode, response.body.includes("s3cret")]).toEqual([503, false]);
      expect((await plugin({ url: "/vmSettings" })).statusCode).toBe(503);
    });
  }

  test("the hosting environment of an Azure guest names its certificate; no key is made for another", async () => {
    const thumbprint = "F".repeat(40);
    const certificates = [{ certificate: "", privateKey: "", thumbprint }];
    const server = serve({ ...FULL, certificates });
    const { body } = await server.wire({ url: HOSTING });
    expect(body).toContain(`name="Stored0web" certificateId="sha1:${THUMBPRINT}"`);
    expect(body).toContain(`name="Stored1web" certificateId="sha1:${thumbprint}"`);
    const { extensions, users, extensionsChangedMs, ...plain } = FULL;
    expect([extensions, users, extensionsChangedMs]).not.toContain(undefined);
    const other = serve(plain, BROKEN);
    const response = await other.wire({ url: HOSTING });
    expect([response.statusCode, response.body.includes("Stored")]).toEqual([200, false]);
  });
});

describe("vmSettings", () => {
  test("is 404 unless the container is of fast track", async () => {
    const { plugin } = serve();
    expect((await plugin({ url: "/vmSettings" })).statusCode).toBe(404);
  });

  test("has an ETag of digits, and is not modified while nothing is", async () => {
    const server = serve(FAST);
    const first = await server.plugin({ url: "/vmSettings" });
    expect(first.statusCode).toBe(200);
    const etag = String(first.headers["etag"]);
    expect(etag).toMatch(/^\d+$/);
    expect(first.body).not.toContain("s3cret");
    const [echo] = first.json().extensionGoalStates;
    const [{ protectedSettings, protectedSettingsCertThumbprint }] = echo.settings;
    expect(protectedSettingsCertThumbprint).toBe(THUMBPRINT);
    expect(String(await decrypt(protectedSettings, tenant))).toBe('{"secret":"s3cret"}');
    for (const known of [etag, `"${etag}"`, `W/"${etag}"`]) {
      const again = await server.plugin({
        url: "/vmSettings",
        headers: { "if-none-match": known },
      });
      expect([again.statusCode, again.body]).toEqual([304, ""]);
      expect(again.headers["etag"]).toBe(etag);
    }
    server.directory.replace({ ...FAST });
    const same = await server.plugin({ url: "/vmSettings", headers: { "if-none-match": etag } });
    expect(same.statusCode).toBe(304);
  });

  const [echo, ...others] = FULL.extensions;
  for (const [name, change] of [
    ["other settings", { extensions: [{ ...echo, settings: {} }, ...others] }],
    ["other protected settings", { extensions: [{ ...echo, protectedSettings: {} }, ...others] }],
    ["a later change", { extensionsChangedMs: FULL.extensionsChangedMs + 1 }],
    ["one extension less", { extensions: others }],
    ["another type of status blob", { statusBlobType: "PageBlob" }],
  ] as const) {
    test(`${name}: another ETag`, async () => {
      const server = serve(FAST);
      const { etag } = (await server.plugin({ url: "/vmSettings" })).headers;
      server.directory.replace({ ...FAST, ...change } as WireContainer);
      const headers = { "if-none-match": String(etag) };
      const next = await server.plugin({ url: "/vmSettings", headers });
      expect(next.statusCode).toBe(200);
      expect(next.headers["etag"]).not.toBe(etag);
    });
  }
});
