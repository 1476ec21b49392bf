/** What a hostile guest sends: it is refused, told once, and the next guest is served. */
import { describe, expect, onTestFinished, test } from "vitest";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { createHostPlugin, createWireServer } from "../../src/wireserver/index.ts";
import { ARTIFACTS, CONTAINER, createDirectory, createRecorder, FULL } from "./fixtures.ts";

const OTHER = { ...CONTAINER, name: "hello.web_1", address: parseIpv4("10.20.0.5") };

function serve() {
  const recorder = createRecorder();
  const options = {
    directory: createDirectory(FULL, OTHER),
    observer: recorder,
    artifacts: ARTIFACTS,
  };
  const wire = createWireServer({ ...options, endpoint: parseIpv4("168.63.129.16") });
  const plugin = createHostPlugin(options);
  onTestFinished(async () => {
    await Promise.all([wire.close(), plugin.close()]);
  });
  return { recorder, wire, plugin };
}

const DOCTYPE = (inner: string) => `<?xml version="1.0"?><!DOCTYPE Health [${inner}]>`;
const HEALTH = (state: string) =>
  `<Health><GoalStateIncarnation>1</GoalStateIncarnation><Container><ContainerId>${FULL.containerId}</ContainerId>
  <RoleInstanceList><Role><Health><State>${state}</State></Health></Role></RoleInstanceList></Container></Health>`;
const LAUGHS = Array.from({ length: 9 }, (_, index) => {
  const inner = index === 0 ? "ha" : `&l${index - 1};`.repeat(10);
  return `<!ENTITY l${index} "${inner}">`;
}).join("");
const DEPTH = 7_000;

describe("XML that is an attack", () => {
  for (const [name, body] of [
    ["entities that grow", DOCTYPE(LAUGHS) + HEALTH("&l8;")],
    [
      "an entity that is a file",
      DOCTYPE('<!ENTITY f SYSTEM "file:///etc/passwd">') + HEALTH("&f;"),
    ],
    ["a document type in lower case", `<!doctype html>${HEALTH("Ready")}`],
    ["an entity that is not declared", HEALTH("&anything;")],
    ["a depth of thousands", "<Health>".repeat(DEPTH) + "</Health>".repeat(DEPTH)],
    ["a depth that never ends", "<Health>".repeat(DEPTH)],
    [
      "thousands of attributes",
      `<Health ${Array.from({ length: 9_000 }, (_, i) => `a${i}=""`).join(" ")}/>`,
    ],
    ["thousands of elements", `<Health>${"<a/>".repeat(20_000)}</Health>`],
    ["a prototype", "<Health><__proto__><x/></__proto__><constructor/></Health>"],
    ["a NUL", HEALTH("Ready\u0000")],
    ["UTF-16", Buffer.from(`\ufeff${HEALTH("Ready")}`, "utf16le")],
    ["bytes that are no UTF-8", Buffer.from([0x3c, 0xff, 0xfe, 0x3e])],
  ] as const) {
    test(`${name}: 400, and others are served`, async () => {
      const { wire, recorder } = serve();
      for (const url of ["/machine?comp=health", "/machine?comp=roleProperties"]) {
        const from = { remoteAddress: "10.20.0.4" };
        const response = await wire.inject({ method: "POST", url, payload: body, ...from });
        expect(response.statusCode).toBe(400);
        expect(response.body.length).toBeLessThan(1_000);
      }
      expect(recorder.lines).toEqual(Array(2).fill("10.20.0.4 refused malformed-request"));
      expect(Object.keys(Object.prototype)).toEqual([]);
      const next = await wire.inject({ url: "/?comp=versions", remoteAddress: "10.20.0.5" });
      expect(next.statusCode).toBe(200);
    });
  }
});

describe("JSON that is an attack", () => {
  for (const [name, payload] of [
    ["a depth of thousands", `{"requestUri":${"[".repeat(100_000)}`],
    ["a depth that ends", `{"requestUri":${"[".repeat(50_000)}${"]".repeat(50_000)}}`],
    ["a prototype", '{"__proto__":{"requestUri":"http://168.63.129.16/"}}'],
    ["a long URL", JSON.stringify({ requestUri: "x".repeat(900_000) })],
    ["a number that is no URL", '{"requestUri":1e999}'],
  ] as const) {
    test(`${name}: 400 from the host plugin, and others are served`, async () => {
      const { plugin, recorder } = serve();
      const from = { remoteAddress: "10.20.0.4" };
      const response = await plugin.inject({ method: "PUT", url: "/status", payload, ...from });
      expect(response.statusCode).toBe(400);
      expect(response.body.length).toBeLessThan(1_000);
      expect(recorder.statuses).toEqual([]);
      const next = await plugin.inject({ url: "/versions", remoteAddress: "10.20.0.5" });
      expect(next.statusCode).toBe(200);
    });
  }

  test("a status of many thousand parts is bounded before it is told", async () => {
    const { wire, recorder } = serve();
    const handler = { handlerName: "A".repeat(10), status: "s".repeat(300), code: 1e300 };
    const payload = JSON.stringify({
      aggregateStatus: {
        guestAgentStatus: { version: "v" },
        handlerAggregateStatus: Array(2_000).fill(handler),
      },
    });
    const taken = await wire.inject({
      method: "PUT",
      url: `/store/${FULL.instanceId}/status`,
      headers: { "x-ms-blob-type": "BlockBlob" },
      payload,
      remoteAddress: "10.20.0.4",
    });
    expect(taken.statusCode).toBe(201);
    expect(JSON.stringify(recorder.statuses).length).toBeLessThan(64 * 2_048);
    expect(recorder.statuses.at(-1)?.extensions).toHaveLength(64);
  });
});

describe("a guest that asks for another's", () => {
  const asks = [
    `/machine/${FULL.containerId}/${FULL.instanceId}?comp=config&type=sharedConfig&incarnation=3`,
    `/machine/${FULL.containerId}/${FULL.instanceId}?comp=config&type=extensionsConfig&incarnation=3`,
    `/machine/${FULL.containerId}/${FULL.instanceId}?comp=certificates&incarnation=3`,
    `/machine/${FULL.containerId}/${FULL.instanceId}?comp=remoteAccessInfo&incarnation=3`,
    `/store/${FULL.instanceId}/Lab.Echo/manifest.xml`,
    `/store/${FULL.instanceId}/Lab.Echo-1.0.0.zip`,
    `/store/${FULL.instanceId}/status`,
    "/machine/?comp=goalstate",
  ];
  const forged = {
    "x-ms-version": "x",
    "x-ms-containerid": FULL.containerId,
    "x-forwarded-for": "10.20.0.4",
    forwarded: "for=10.20.0.4",
    "x-real-ip": "10.20.0.4",
    host: "10.20.0.4",
  };
  for (const url of asks) {
    test(`${url.replace(FULL.containerId, "ID")}: nothing of it, whatever headers say`, async () => {
      const recorder = createRecorder();
      const stranger = { ...OTHER, containerId: "7c4f6a2e-6f0e-4c51-9a37-3c1b8a0d55e2" };
      const app = createWireServer({
        directory: createDirectory(FULL, stranger),
        observer: recorder,
        artifacts: ARTIFACTS,
        endpoint: parseIpv4("168.63.129.16"),
      });
      onTestFinished(() => app.close());
      const response = await app.inject({ url, headers: forged, remoteAddress: "10.20.0.5" });
      const isOwn = url.includes("goalstate");
      expect(isOwn ? [200] : [404, 410]).toContain(response.statusCode);
      // A refusal may repeat what was asked, and has nothing else.
      expect(response.body.replace(url.replaceAll("&", "&amp;"), "")).not.toContain(
        FULL.containerId,
      );
      expect(recorder.lines.every((line) => !line.startsWith("hello.web_0"))).toBe(true);
    });
  }
});
