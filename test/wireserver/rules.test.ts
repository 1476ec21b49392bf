/**
 * The rules that a wire server must keep so that every client gets on with it, each as a test. The first list is of
 * what a server is, the second of traps that clients lay. Rules that are kept elsewhere are named with the test that
 * holds them; the last test sees that it is still there.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { FastifyInstance, InjectOptions } from "fastify";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseStringPromise } from "xml2js";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import {
  createHostPlugin,
  createMetadataService,
  createWireServer,
  type WireContainer,
  type WireVault,
} from "../../src/wireserver/index.ts";
import { ARTIFACTS, CONTAINER, createDirectory, createRecorder, FULL } from "./fixtures.ts";

const OTHER: WireContainer = {
  ...CONTAINER,
  name: "hello.web_1",
  containerId: "7c4f6a2e-6f0e-4c51-9a37-3c1b8a0d55e2",
  instanceId: "9f6f2a8e-0d4b-4f0e-8a44-1be0c2f4d9aa.web_1",
  roleInstance: "web_1",
  incarnation: 9,
  address: parseIpv4("10.20.0.5"),
  settings: { OTHERS: "secret" },
};
const VERSION = { "x-ms-version": "2012-11-30" };
const VAULT: WireVault = {
  identityOf: () => Promise.reject(new Error("not needed here")),
};
const STATUS = JSON.stringify({
  aggregateStatus: {
    guestAgentStatus: { version: "2.7.3.0", status: "Ready" },
    handlerAggregateStatus: [
      {
        handlerName: "Lab.Echo",
        status: "Ready",
        runtimeSettingsStatus: {
          sequenceNumber: 3,
          settingsStatus: { status: { status: "success" } },
        },
      },
    ],
  },
});

function serve(...containers: readonly WireContainer[]) {
  const recorder = createRecorder();
  const directory = createDirectory(...(containers.length === 0 ? [FULL, OTHER] : containers));
  const options = { directory, observer: recorder, artifacts: ARTIFACTS };
  const apps = {
    wire: createWireServer({ ...options, vault: VAULT, endpoint: parseIpv4("168.63.129.16") }),
    plugin: createHostPlugin(options),
    metadata: createMetadataService(options),
  };
  onTestFinished(async () => {
    await Promise.all(Object.values(apps).map((app) => app.close()));
  });
  const asks =
    (app: FastifyInstance) =>
    (request: InjectOptions | string, from = "10.20.0.4") =>
      app.inject({
        headers: VERSION,
        ...(typeof request === "string" ? { url: request } : request),
        remoteAddress: from,
      });
  const { wire, plugin, metadata } = apps;
  return { recorder, directory, wire: asks(wire), plugin: asks(plugin), metadata: asks(metadata) };
}

/** Paths of a goal state's documents by the name of their element. */
async function documentsOf(wire: ReturnType<typeof serve>["wire"], from?: string) {
  const { body } = await wire("/machine/?comp=goalstate", from);
  const paths = body.matchAll(/<(\w+)>http:\/\/168\.63\.129\.16:80([^<]+)</g);
  return Object.fromEntries(
    [...paths].map(([, name, path]) => [name!, path!.replaceAll("&amp;", "&")]),
  );
}

const health = (parts: { state?: string; incarnation?: string; details?: string } = {}) => ({
  method: "POST" as const,
  url: "/machine?comp=health",
  headers: { "content-type": "text/xml;charset=utf-8" },
  payload: `<Health><GoalStateIncarnation>${parts.incarnation ?? "1"}</GoalStateIncarnation><Container><ContainerId>${
    FULL.containerId
  }</ContainerId><RoleInstanceList><Role><InstanceId>x</InstanceId><Health><State>${
    parts.state ?? "Ready"
  }</State>${parts.details ?? ""}</Health></Role></RoleInstanceList></Container></Health>`,
});
const status = (url: string, type = "BlockBlob") => ({
  method: "PUT" as const,
  url,
  headers: { "x-ms-blob-type": type },
  payload: STATUS,
});

describe("rules of the server", () => {
  test("1: a guest is known by its source address, on all three services", async () => {
    const { wire, plugin, metadata } = serve();
    for (const [from, containerId] of [
      ["10.20.0.4", FULL.containerId],
      ["10.20.0.5", OTHER.containerId],
      ["::ffff:10.20.0.5", OTHER.containerId],
    ] as const) {
      const { body } = await wire("/machine/?comp=goalstate", from);
      expect(body).toContain(`<ContainerId>${containerId}</ContainerId>`);
    }
    for (const ask of [wire, plugin, metadata]) {
      expect((await ask("/versions", "10.20.0.6")).statusCode).toBe(403);
    }
  });

  test("2: each guest has its own ids, names, incarnation and settings, and no other's", async () => {
    const { wire } = serve();
    const documents = await documentsOf(wire, "10.20.0.5");
    const { body } = await wire(documents["HostingEnvironmentConfig"]!, "10.20.0.5");
    expect(body).toContain('goalStateIncarnation="9"');
    expect(body).toContain('instance="web_1"');
    expect(body).toContain("OTHERS");
    const own = await documentsOf(wire);
    for (const path of Object.values(documents)) {
      expect((await wire(path, "10.20.0.4")).statusCode).toBe(410);
    }
    expect(JSON.stringify(own)).not.toContain(OTHER.containerId);
  });

  test("3: another container id needs no new incarnation: it is in the next goal state", async () => {
    const { wire, directory } = serve();
    directory.replace({ ...FULL, containerId: OTHER.containerId });
    const { body } = await wire("/machine/?comp=goalstate");
    expect(body).toContain("<Incarnation>3</Incarnation>");
    expect(body).toContain(`<ContainerId>${OTHER.containerId}</ContainerId>`);
  });

  test("4: what is stale or another's is a 410 ResourceNotAvailable; the goal state never is", async () => {
    const { wire, plugin, directory } = serve();
    const before = await documentsOf(wire);
    directory.replace({ ...FULL, incarnation: 4 });
    for (const [name, path] of Object.entries(before)) {
      const response = await wire(path);
      expect([name, response.statusCode]).toEqual([name, 410]);
      expect(response.body).toContain("<Code>ResourceNotAvailable</Code>");
    }
    const headers = { "x-ms-containerid": OTHER.containerId };
    for (const url of ["/versions", "/vmSettings", "/extensionArtifact"]) {
      expect((await plugin({ url, headers })).statusCode).toBe(410);
    }
    expect((await wire("/machine/?comp=goalstate")).statusCode).toBe(200);
  });

  test("5: no header is needed but x-ms-version, and that for the goal state alone; its lack is told", async () => {
    const { wire, plugin, recorder } = serve();
    const bare = { headers: {} };
    const { HostingEnvironmentConfig: hosting, ...others } = await documentsOf(wire);
    expect(hosting).toContain("hostingEnvironmentConfig");
    for (const url of ["/?comp=versions", others["SharedConfig"]!, others["FullConfig"]!]) {
      expect((await wire({ url, ...bare })).statusCode).toBe(200);
    }
    for (const url of ["/versions", "/health"]) {
      expect((await plugin({ url, ...bare })).statusCode).toBe(200);
    }
    expect((await wire({ url: "/machine/?comp=goalstate", ...bare })).statusCode).toBe(400);
    expect(recorder.lines.at(-1)).toBe("10.20.0.4 refused version-header-missing");
    const odd = { "x-ms-version": "2099-01-01", "x-ms-agent-name": "my own" };
    expect((await wire({ url: "/machine/?comp=goalstate", headers: odd })).statusCode).toBe(200);
  });

  test("6: health is taken with any incarnation, and answered 200 without a body", async () => {
    const { wire, recorder } = serve();
    for (const incarnation of ["1", "3", "99"]) {
      const response = await wire(health({ incarnation }));
      expect([response.statusCode, response.body]).toEqual([200, ""]);
      expect(response.headers["content-length"]).toBe("0");
    }
    expect(recorder.reports).toHaveLength(3);
  });

  test("7: no CDATA, no compression although it is asked for, no redirect, a length always", async () => {
    const { wire, plugin } = serve();
    const headers = { ...VERSION, "accept-encoding": "gzip, deflate, br" };
    const paths = ["/?comp=versions", "/machine?comp=goalstate", "/machine/?comp=goalstate"];
    const documents = await documentsOf(wire);
    for (const url of [
      ...paths,
      documents["SharedConfig"]!,
      documents["FullConfig"]!,
      "/machine",
    ]) {
      const response = await wire({ url, headers });
      expect(response.headers["content-encoding"]).toBeUndefined();
      expect(response.headers["location"]).toBeUndefined();
      expect(response.headers["content-length"]).toBe(String(response.rawPayload.length));
      expect(response.body).not.toContain("CDATA");
      expect(response.body.startsWith("<?xml")).toBe(true);
    }
    const { headers: got } = await plugin({ url: "/versions", headers });
    expect(got["content-encoding"]).toBeUndefined();
  });

  test("8: each upload of a status is told, by either way: it is the heartbeat", async () => {
    const { wire, plugin, recorder } = serve({ ...CONTAINER });
    const url = `/store/${CONTAINER.instanceId}/status?sv=1`;
    await wire(status(url));
    const described = {
      requestUri: `http://168.63.129.16${url}`,
      headers: [{ headerName: "x-ms-blob-type", headerValue: "BlockBlob" }],
      content: Buffer.from(STATUS).toString("base64"),
    };
    const upload = { method: "PUT" as const, url: "/status", payload: described };
    await plugin(upload);
    await plugin(upload);
    expect(recorder.statuses).toHaveLength(3);
    const uploads = ["statusBlob", "hostPluginStatus", "hostPluginStatus"];
    expect(recorder.lines.filter((line) => !line.includes("agent"))).toEqual(
      uploads.map((kind) => `hello.web_0 ${kind}`),
    );
  });

  test("10: a status says which settings it speaks of, so that who waits sees when they are done", async () => {
    const { wire, recorder } = serve();
    await wire(status(`/store/${FULL.instanceId}/status?sv=1`));
    const [extension] = recorder.statuses[0]!.extensions;
    expect(extension).toMatchObject({ name: "Lab.Echo", status: "success", seqNo: 3 });
    expect(extension?.seqNo).not.toBe(FULL.extensions[0].seqNo);
  });
});

describe("traps of clients", () => {
  test("1, 2: /vmSettings is 404, or 200 or 304 with an ETag of digits", async () => {
    const { plugin, directory } = serve(CONTAINER);
    expect((await plugin("/vmSettings")).statusCode).toBe(404);
    directory.replace({ ...CONTAINER, fastTrack: true });
    const offered = await plugin("/vmSettings");
    expect(offered.statusCode).toBe(200);
    const etag = String(offered.headers["etag"]);
    expect(etag).toMatch(/^\d{1,20}$/);
    const again = await plugin({ url: "/vmSettings", headers: { "if-none-match": etag } });
    expect(again.statusCode).toBe(304);
  });

  test("3: every goal state leads to a status blob, also that of a guest without extensions", async () => {
    const { wire } = serve(CONTAINER);
    const documents = await documentsOf(wire);
    const { body } = await wire(documents["ExtensionsConfig"]!);
    const { Extensions } = await parseStringPromise(body);
    const [blob] = Extensions.StatusUploadBlob;
    expect(blob.$.statusBlobType).toBe("BlockBlob");
    expect((await wire(status(new URL(blob._).pathname))).statusCode).toBe(201);
  });

  test("7: goal state and health have no 4xx for anything that a client is known to send", async () => {
    const { wire } = serve();
    for (const headers of [
      { "x-ms-version": "2012-11-30", "x-ms-agent-name": "WALinuxAgent", connection: "close" },
      { "x-ms-version": "2015-04-05", "x-ms-agent-name": "com.coreos.afterburn" },
      { "x-ms-version": "2012-11-30", "x-ms-guest-agent-name": "cloudbase-init" },
    ]) {
      for (const url of ["/machine/?comp=goalstate", "/machine?comp=goalstate"]) {
        expect((await wire({ url, headers })).statusCode).toBe(200);
      }
    }
    const details = (subStatus: string, length: number) =>
      `<Details><SubStatus>${subStatus}</SubStatus><Description>${"x".repeat(length)}</Description></Details>`;
    for (const parts of [
      {},
      { state: "NotReady", details: details("Provisioning", 8) },
      { state: "NotReady", details: details("ProvisioningFailed", 3_686) },
      { state: "NotReady", details: details("ProvisioningFailed", 4_096) },
    ]) {
      for (const url of ["/machine?comp=health", "/machine/?comp=health"]) {
        expect((await wire({ ...health(parts), url })).statusCode).toBe(200);
      }
    }
  });

  test("8: success is 200, 201 or 202 and never 204; a status blob is 201, role properties 202", async () => {
    const { wire, plugin } = serve();
    const properties = `<RoleProperties><Container><ContainerId>${FULL.containerId}</ContainerId><RoleInstances>
      <RoleInstance><Id>x</Id><Properties><Property name="a" value="b"/></Properties></RoleInstance>
      </RoleInstances></Container></RoleProperties>`;
    const post = (url: string, payload = "{}") => ({ method: "POST" as const, url, payload });
    for (const [request, expected] of [
      [health(), 200],
      [post("/machine?comp=roleProperties", properties), 202],
      [post("/machine?comp=telemetrydata", "<TelemetryData/>"), 200],
      [post("/HealthService"), 200],
      [post("/provisioning/health", '{"state":"Ready"}'), 201],
      [status(`/store/${FULL.instanceId}/status`), 201],
    ] as const) {
      expect((await wire(request)).statusCode).toBe(expected);
    }
    const log = { method: "PUT" as const, url: "/vmAgentLog", payload: Buffer.from([0x50, 0xff]) };
    expect((await plugin(log)).statusCode).toBe(200);
  });

  test("9: comp=Versions, and paths with and without their last slash", async () => {
    const { wire } = serve();
    for (const comp of ["versions", "Versions"]) {
      for (const path of ["/", "/machine", "/machine/"]) {
        expect((await wire(`${path}?comp=${comp}`)).statusCode).toBe(200);
      }
    }
  });

  test("10: URLs of the store have a query; both versions are under Supported", async () => {
    const { wire } = serve();
    const { ExtensionsConfig } = await documentsOf(wire);
    const { protectedSettings: _, ...echo } = FULL.extensions[0];
    const open = serve({ ...FULL, extensions: [echo] });
    const { body } = await open.wire(ExtensionsConfig!);
    const urls = [...body.matchAll(/http:\/\/[\d.:]+\/store\/[^<"]*/g)].map(([url]) => url);
    expect(urls).toHaveLength(3);
    for (const url of urls) expect(url).toMatch(/\?sv=[^&]+&amp;sig=\w{4,}$/);
    const { Versions } = await parseStringPromise((await wire("/?comp=versions")).body);
    expect(Versions.Supported[0].Version).toEqual(["2015-04-05", "2012-11-30"]);
    expect(Versions.Preferred).toHaveLength(1);
  });

  test("11, 12: settings are escaped text, and their version is the plugin's exactly", async () => {
    const settings = { text: "]]> <![CDATA[ & \" ' < \u2028 \ud800" };
    const { protectedSettings: _, ...echo } = FULL.extensions[0];
    const version = "1.0.00";
    const { wire } = serve({ ...FULL, extensions: [{ ...echo, settings, version }] });
    const { ExtensionsConfig } = await documentsOf(wire);
    const { body } = await wire(ExtensionsConfig!);
    expect(body).not.toContain("<![CDATA[");
    const { Extensions } = await parseStringPromise(body);
    expect(Extensions.Plugins[0].Plugin[0].$.version).toBe(version);
    const [own] = Extensions.PluginSettings[0].Plugin;
    expect(own.$.version).toBe(version);
    const [{ handlerSettings }] = JSON.parse(own.RuntimeSettings[0]._).runtimeSettings;
    expect(handlerSettings.publicSettings).toEqual(settings);
  });

  test("13: the URL of accounts for a while is directly in Container", async () => {
    const { wire } = serve();
    const { body } = await wire("/machine/?comp=goalstate");
    const { GoalState } = await parseStringPromise(body);
    expect(GoalState.Container[0].RemoteAccessInfo).toHaveLength(1);
  });

  test("15: everything is asked twice at a start, and is the same", async () => {
    const { wire, recorder } = serve();
    const { SharedConfig, FullConfig } = await documentsOf(wire);
    const urls = ["/?comp=versions", "/machine/?comp=goalstate", SharedConfig!, FullConfig!];
    for (const url of urls) expect((await wire(url)).body).toBe((await wire(url)).body);
    expect(recorder.lines).toHaveLength(1 + 2 * urls.length);
  });

  test("21: no family of agents is named, so that no agent replaces itself", async () => {
    const { wire, plugin } = serve({ ...CONTAINER, fastTrack: true });
    const { ExtensionsConfig } = await documentsOf(wire);
    expect((await wire(ExtensionsConfig!)).body).toContain("<GAFamilies/>");
    expect((await plugin("/vmSettings")).json().gaFamilies).toEqual([]);
  });

  test("22: no feature is required", async () => {
    const { wire, plugin } = serve({ ...CONTAINER, fastTrack: true });
    const { ExtensionsConfig } = await documentsOf(wire);
    expect((await wire(ExtensionsConfig!)).body).not.toContain("RequiredFeature");
    expect((await plugin("/vmSettings")).json().requiredFeatures).toEqual([]);
  });

  test("23: vmSettings are of FastTrack, and of the same moment and ids as extensionsConfig", async () => {
    const { wire, plugin } = serve({ ...CONTAINER, fastTrack: true, extensionsChangedMs: 5 });
    const { ExtensionsConfig } = await documentsOf(wire);
    const { Extensions } = await parseStringPromise((await wire(ExtensionsConfig!)).body);
    const { $: metadata } = Extensions.InVMGoalStateMetaData[0];
    const { body } = await plugin("/vmSettings");
    expect(JSON.parse(body)).toMatchObject({
      extensionGoalStatesSource: "FastTrack",
      activityId: metadata.activityId,
      correlationId: metadata.correlationId,
      onHold: false,
    });
    expect(body).toContain(`"extensionsLastModifiedTickCount":${metadata.createdOnTicks},`);
  });

  test("24: 409 says that the type of the blob is another, and nothing else does", async () => {
    const { wire, directory } = serve();
    const url = `/store/${FULL.instanceId}/status?sv=1`;
    expect((await wire(status(url))).statusCode).toBe(201);
    expect((await wire(status(url, "PageBlob"))).statusCode).toBe(409);
    directory.replace({ ...FULL, statusBlobType: "PageBlob" });
    const response = await wire(status(url));
    expect(response.statusCode).toBe(409);
    expect(response.body).toContain("<Code>InvalidBlobType</Code>");
  });

  test("26: an error is XML or JSON and never HTML, whatever was asked", async () => {
    const { wire, plugin } = serve();
    for (const request of [
      "/nothing",
      "/machine/%zz?comp=config",
      { method: "DELETE" as const, url: "/" },
      { ...health(), payload: "<html/>" },
      { ...health(), payload: "x".repeat(200_000) },
    ]) {
      const xml = await wire(request);
      expect(xml.headers["content-type"]).toBe("text/xml; charset=utf-8");
      const { Error: error } = await parseStringPromise(xml.body);
      expect(Object.keys(error)).toEqual(["Code", "Message", "Details"]);
      const json = await plugin(request);
      expect(json.headers["content-type"]).toBe("application/json; charset=utf-8");
      expect(Object.keys(json.json())).toEqual(["errorCode", "message", "details"]);
    }
  });

  test("27: after a move the old container id is a 410 although the incarnation is the same", async () => {
    const { wire, plugin, directory } = serve();
    const { SharedConfig } = await documentsOf(wire);
    directory.replace({ ...FULL, containerId: OTHER.containerId });
    expect((await wire(SharedConfig!)).statusCode).toBe(410);
    expect((await wire(health())).statusCode).toBe(410);
    const ask = (id: string) => plugin({ url: "/versions", headers: { "x-ms-containerid": id } });
    expect((await ask(FULL.containerId)).statusCode).toBe(410);
    expect((await ask(OTHER.containerId)).statusCode).toBe(200);
  });

  test("28: /provisioning/health needs no goal state before, and takes states in any case", async () => {
    const { wire, recorder } = serve();
    for (const state of ["Ready", "ready", "NotReady", "notready"]) {
      const url = "/provisioning/health?api-version=2024-01-01";
      const response = await wire({ method: "POST", url, headers: {}, payload: { state } });
      expect(response.statusCode).toBe(201);
    }
    expect(recorder.reports.map((report) => report.state)).toEqual([
      ...["Ready", "Ready", "NotReady", "NotReady"],
    ]);
  });
});

/** Held by other tests: the rule, the file from `test/`, and words of the test's name. */
const ELSEWHERE = [
  [
    "server 3: what an agent must notice raises the incarnation",
    "compute/manager/guest-update.test.ts",
    "incarnation",
  ],
  [
    "server 9: certificates to who asks, none to a weak key",
    "wireserver/certificates.test.ts",
    "are not served without a sound certificate",
  ],
  [
    "server 11: faults by endpoint",
    "wireserver/faults/inject.test.ts",
    "a sequence by request: 500, slow, 410, normal",
  ],
  [
    "trap 4: base64 in lines",
    "wireserver/certificates.test.ts",
    "in one line are what openssl refuses",
  ],
  ["trap 5: no RC2", "wireserver/crypto/pkcs12.test.ts", "has no cipher that OpenSSL 3 lacks"],
  [
    "trap 6: certificates have data, or no URL",
    "wireserver/certificates.test.ts",
    "are linked from the goal state if there is a vault, and not without",
  ],
  [
    "trap 9: Metadata: True",
    "wireserver/metadata/clients.test.ts",
    "finds what it adds to its telemetry",
  ],
  [
    "trap 13: a password is UTF-16",
    "wireserver/secrets.test.ts",
    "a password is UTF-16 in a CMS for the caller",
  ],
  [
    "trap 14: Ready is not repeated",
    "compute/agent/compute-agent.test.ts",
    "a repeat and a heartbeat are not stored",
  ],
  [
    "trap 18: the MAC of the metadata is the NIC's",
    "wireserver/metadata/clients.test.ts",
    "finds a MAC and an address",
  ],
  [
    "trap 20: ProvisionGuestAgent as the tenant says",
    "wireserver/ovf-environment.test.ts",
    "ProvisionGuestAgent",
  ],
  [
    "trap 30: the disc is UDF",
    "compute/provisioning-disc.test.ts",
    "makes a UDF disc with Azure's label",
  ],
] as const;

describe("rules that other tests hold", () => {
  for (const [rule, file, words] of ELSEWHERE) {
    test(`${rule}: in ${file}`, () => {
      const text = readFileSync(join(import.meta.dirname, "..", file), "utf8");
      expect(text).toContain(words);
    });
  }
});
