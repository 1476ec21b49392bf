import type { InjectOptions } from "fastify";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseStringPromise } from "xml2js";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { createWireServer, type WireObserver } from "../../src/wireserver/index.ts";
import { WIRE_BODY_BYTES_MAX } from "../../src/wireserver/wire-server.ts";
import { CONTAINER, createDirectory, createRecorder } from "./fixtures.ts";

const VERSION = { "x-ms-version": "2012-11-30" };
const BASE = `/machine/${CONTAINER.containerId}/${CONTAINER.instanceId}`;
const CONFIG = `${BASE}?comp=config&incarnation=3&type=`;

function health(parts: {
  containerId?: string;
  state?: string;
  details?: string;
  incarnation?: string;
}) {
  return `<?xml version="1.0" encoding="utf-8"?>
<Health xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <GoalStateIncarnation>${parts.incarnation ?? "3"}</GoalStateIncarnation>
  <Container><ContainerId>${parts.containerId ?? CONTAINER.containerId}</ContainerId><RoleInstanceList><Role>
    <InstanceId>${CONTAINER.instanceId}</InstanceId>
    <Health><State>${parts.state ?? "Ready"}</State>${parts.details ?? ""}</Health>
  </Role></RoleInstanceList></Container></Health>`;
}

function properties(list: string, containerId = CONTAINER.containerId) {
  return `<RoleProperties><Container><ContainerId>${containerId}</ContainerId><RoleInstances><RoleInstance>
    <Id>x</Id><Properties>${list}</Properties></RoleInstance></RoleInstances></Container></RoleProperties>`;
}

async function ask(request: InjectOptions, observer?: Partial<WireObserver>) {
  const recorder = createRecorder();
  const app = createWireServer({
    directory: createDirectory(CONTAINER),
    observer: { ...recorder, ...observer },
    endpoint: parseIpv4("168.63.129.16"),
  });
  const response = await app.inject({ remoteAddress: "10.20.0.4", ...request });
  await app.close();
  return { response, recorder };
}

function post(url: string, payload: string | Buffer, type = "text/xml; charset=utf-8") {
  return { method: "POST", url, payload, headers: { ...VERSION, "content-type": type } } as const;
}

describe("wire server: documents", () => {
  const cases = [
    ["/?comp=versions", "Versions", "versions"],
    ["/?comp=Versions", "Versions", "versions"],
    ["/machine?comp=versions", "Versions", "versions"],
    ["/machine?comp=goalstate", "GoalState", "goalstate 3"],
    ["/machine/?comp=goalstate", "GoalState", "goalstate 3"],
    ["/machine/?COMP=GoalState", "GoalState", "goalstate 3"],
    [`${CONFIG}hostingEnvironmentConfig`, "HostingEnvironmentConfig", "hostingEnvironmentConfig 3"],
    [`${CONFIG}HOSTINGENVIRONMENTCONFIG`, "HostingEnvironmentConfig", "hostingEnvironmentConfig 3"],
    [`${CONFIG}sharedConfig`, "SharedConfig", "sharedConfig 3"],
    [`${CONFIG}fullConfig`, "FullConfig", "fullConfig 3"],
    [`${CONFIG}extensionsConfig`, "Extensions", "extensionsConfig 3"],
    [`${CONFIG}sharedConfig`.replace("web_0", "web%5F0"), "SharedConfig", "sharedConfig 3"],
  ] as const;
  for (const [url, root, line] of cases) {
    test(`GET ${url} gives ${root}`, async () => {
      const { response, recorder } = await ask({ url, headers: VERSION });
      expect(response.statusCode).toBe(200);
      expect(response.headers["content-type"]).toBe("text/xml; charset=utf-8");
      expect(response.headers["content-encoding"]).toBeUndefined();
      expect(Object.keys(await parseStringPromise(response.body))).toEqual([root]);
      expect(recorder.lines).toEqual([`hello.web_0 ${line}`]);
    });
  }

  test("an IPv4-mapped source address is the IPv4 address", async () => {
    const { response } = await ask({ url: "/?comp=versions", remoteAddress: "::ffff:10.20.0.4" });
    expect(response.statusCode).toBe(200);
  });
});

describe("wire server: refusals", () => {
  const from = { remoteAddress: "10.20.0.99" };
  const cases = [
    [
      "an unknown caller",
      { url: "/?comp=versions", ...from },
      403,
      "AuthenticationFailed",
      "unknown-caller",
    ],
    [
      "an IPv6 caller",
      { url: "/?comp=versions", remoteAddress: "fe80::1" },
      403,
      "AuthenticationFailed",
      "unknown-caller",
    ],
    [
      "an unknown caller's report",
      { ...post("/machine?comp=health", health({})), ...from },
      403,
      "AuthenticationFailed",
      "unknown-caller",
    ],
    [
      "a goal state request without x-ms-version",
      { url: "/machine?comp=goalstate" },
      400,
      "MissingRequiredHeader",
      "version-header-missing",
    ],
    [
      "a stale incarnation",
      { url: `${BASE}?comp=config&type=sharedConfig&incarnation=2` },
      410,
      "ResourceNotAvailable",
      "stale-resource",
    ],
    [
      "no incarnation",
      { url: `${BASE}?comp=config&type=sharedConfig` },
      410,
      "ResourceNotAvailable",
      "stale-resource",
    ],
    [
      "another container",
      { url: `/machine/x/${CONTAINER.instanceId}?comp=config&type=sharedConfig&incarnation=3` },
      410,
      "ResourceNotAvailable",
      "stale-resource",
    ],
    [
      "another instance",
      { url: `/machine/${CONTAINER.containerId}/x?comp=config&type=sharedConfig&incarnation=3` },
      410,
      "ResourceNotAvailable",
      "stale-resource",
    ],
    [
      "another container's report",
      post("/machine?comp=health", health({ containerId: "x" })),
      410,
      "ResourceNotAvailable",
      "stale-resource",
    ],
    [
      "another container's properties",
      post("/machine?comp=roleProperties", properties("", "x")),
      410,
      "ResourceNotAvailable",
      "stale-resource",
    ],
    [
      "a report that is no XML",
      post("/machine?comp=health", "Ready"),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    ["an empty report", post("/machine?comp=health", ""), 400, "InvalidInput", "malformed-request"],
    [
      "a truncated report",
      post("/machine?comp=health", health({}).slice(0, -9)),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "a report with a document type",
      post("/machine?comp=health", `<!DOCTYPE Health [<!ENTITY a "b">]>${health({}).slice(39)}`),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "another root",
      post("/machine?comp=health", "<Wealth/>"),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "a report without a state",
      post("/machine?comp=health", health({}).replace(/<State>.*<.State>/, "")),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "an unknown state",
      post("/machine?comp=health", health({ state: "Busy" })),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "an incarnation that is no number",
      post("/machine?comp=health", health({ incarnation: "x" })),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "a property without a value",
      post("/machine?comp=roleProperties", '<Property name="a"/>'),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "65 properties",
      post("/machine?comp=roleProperties", properties('<Property name="a" value="b"/>'.repeat(65))),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "bytes that are not UTF-8",
      post("/machine?comp=health", Buffer.from([0xff, 0xfe])),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "JSON that is none",
      post("/provisioning/health", "{", "application/json"),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "JSON without a state",
      post("/provisioning/health", "{}", "application/json"),
      400,
      "InvalidInput",
      "malformed-request",
    ],
    [
      "a body that is too large",
      post("/machine?comp=telemetrydata", "x".repeat(WIRE_BODY_BYTES_MAX + 1)),
      413,
      "RequestBodyTooLarge",
      "body-too-large",
    ],
    ["an unknown path", { url: "/secure-channel/status" }, 404, "ResourceNotFound", undefined],
    ["an unknown comp", { url: "/machine?comp=x" }, 404, "ResourceNotFound", undefined],
    ["an unknown type", { url: `${CONFIG}x` }, 404, "ResourceNotFound", undefined],
    [
      "another method",
      { method: "DELETE", url: "/machine?comp=goalstate" },
      404,
      "ResourceNotFound",
      undefined,
    ],
    [
      "a broken percent escape",
      { url: "/machine/%zz?comp=goalstate" },
      400,
      "InvalidInput",
      undefined,
    ],
  ] as const;
  for (const [name, request, status, code, reason] of cases) {
    test(`${name}: ${status} ${code}`, async () => {
      const { response, recorder } = await ask(request);
      expect(response.statusCode).toBe(status);
      const { Error: error } = await parseStringPromise(response.body);
      expect(error.Code).toEqual([code]);
      expect(error.Message[0]).not.toBe("");
      expect(recorder.lines).toEqual(
        reason === undefined ? [] : [expect.stringMatching(new RegExp(` refused ${reason}$`))],
      );
    });
  }

  test("a missing x-ms-version is refused with the fix", async () => {
    const { response } = await ask({ url: "/machine?comp=goalstate" });
    expect(response.body).toContain("send x-ms-version: 2012-11-30");
  });
});

describe("wire server: reports", () => {
  const starting =
    "<Details><SubStatus>Provisioning</SubStatus><Description>Starting &amp; more</Description></Details>";
  const cases = [
    ["Ready without details", health({}), { state: "Ready", incarnation: 3 }],
    ["a stale incarnation", health({ incarnation: "1" }), { state: "Ready", incarnation: 1 }],
    ["a byte order mark", `\ufeff${health({})}`, { state: "Ready", incarnation: 3 }],
    [
      "NotReady with details",
      health({ state: "NotReady", details: starting }),
      {
        state: "NotReady",
        subStatus: "Provisioning",
        description: "Starting & more",
        incarnation: 3,
      },
    ],
  ] as const;
  for (const [name, body, report] of cases) {
    test(`POST health takes ${name}`, async () => {
      for (const path of ["/machine", "/machine/"]) {
        const { response, recorder } = await ask(post(`${path}?comp=health`, body));
        expect(response.statusCode).toBe(200);
        expect(response.headers["content-length"]).toBe("0");
        expect(recorder.reports).toEqual([report]);
      }
    });
  }

  for (const [length, status] of [
    [4095, 200],
    [4096, 200],
    [4097, 400],
  ] as const) {
    test(`a description of ${length} characters gets ${status}`, async () => {
      const details = `<Details><Description>${"d".repeat(length)}</Description></Details>`;
      const { response } = await ask(post("/machine?comp=health", health({ details })));
      expect(response.statusCode).toBe(status);
    });
  }

  test("200 is sent only after the report was stored", async () => {
    const order: string[] = [];
    const app = createWireServer({
      directory: createDirectory(CONTAINER),
      observer: {
        ...createRecorder(),
        health: async () => {
          await new Promise(setImmediate);
          order.push("stored");
        },
      },
      endpoint: parseIpv4("168.63.129.16"),
    });
    const request = { remoteAddress: "10.20.0.4", ...post("/machine?comp=health", health({})) };
    await app.inject(request).then(() => order.push("answered"));
    expect(order).toEqual(["stored", "answered"]);
  });

  test("a report that cannot be stored gets 503, which every client tries again", async () => {
    const fail = async () => {
      throw new Error("disk full");
    };
    const reports = [
      post("/machine?comp=health", health({})),
      post("/machine?comp=roleProperties", properties("")),
      post("/provisioning/health", '{"state":"Ready"}'),
    ];
    for (const report of reports) {
      const { response } = await ask(report, { health: fail, roleProperties: fail });
      expect(response.statusCode).toBe(503);
      expect(response.body).not.toContain("disk full");
    }
  });

  test("what nobody expected gets 500 without its text", async () => {
    const contact = () => {
      throw new TypeError("secret");
    };
    const { response } = await ask({ url: "/?comp=versions" }, { contact });
    expect(response.statusCode).toBe(500);
    expect(response.body).not.toContain("secret");
  });

  test("POST roleProperties gets 202", async () => {
    const list =
      '<Property name="RoleState" value="Started"/><Property name="__proto__" value="&lt;"/>';
    const { response, recorder } = await ask(
      post("/machine?comp=roleProperties", properties(list)),
    );
    expect(response.statusCode).toBe(202);
    expect([...recorder.properties]).toEqual([
      ["RoleState", "Started"],
      ["__proto__", "<"],
    ]);
  });

  for (const [body, report] of [
    ['{"state":"Ready"}', { state: "Ready", incarnation: 3 }],
    [
      '{"state":"notready","details":{"subStatus":"ProvisioningFailed","description":"x"}}',
      { state: "NotReady", subStatus: "ProvisioningFailed", description: "x", incarnation: 3 },
    ],
  ] as const) {
    test(`POST /provisioning/health takes ${body}`, async () => {
      const { response, recorder } = await ask(
        post("/provisioning/health", body, "application/json"),
      );
      expect(response.statusCode).toBe(201);
      expect(recorder.reports).toEqual([report]);
    });
  }

  for (const [url, kind] of [
    ["/machine?comp=telemetrydata", "telemetrydata"],
    ["/machine/?comp=telemetrydata", "telemetrydata"],
    ["/HealthService", "healthService"],
  ] as const) {
    test(`POST ${url} is taken unread`, async () => {
      const { response, recorder } = await ask(post(url, "<not even XML"));
      expect(response.statusCode).toBe(200);
      expect(recorder.lines).toEqual([`hello.web_0 ${kind}`]);
    });
  }
});

describe("wire server: telemetry", () => {
  test("15 calls in 15 s, then 429 until the period is over; others are not concerned", async () => {
    const recorder = createRecorder();
    const other = { ...CONTAINER, name: "hello.web_1", address: parseIpv4("10.20.0.5") };
    let now = 5_000;
    const app = createWireServer({
      directory: createDirectory(CONTAINER, other),
      observer: recorder,
      endpoint: parseIpv4("168.63.129.16"),
      now: () => now,
    });
    onTestFinished(() => app.close());
    const statusOf = async (remoteAddress = "10.20.0.4") => {
      const request = post("/machine?comp=telemetrydata", "<TelemetryData/>");
      return (await app.inject({ ...request, remoteAddress })).statusCode;
    };
    for (let call = 0; call < 15; call++) {
      expect(await statusOf()).toBe(200);
      now += 900;
    }
    expect(await statusOf()).toBe(429);
    expect(recorder.lines.at(-1)).toBe("10.20.0.4 refused rate-limit");
    expect(await statusOf("10.20.0.5")).toBe(200);
    now = 5_000 + 15_000;
    expect(await statusOf()).toBe(200);
  });

  test("what is not here is a 404 with a short text, for every method", async () => {
    for (const [method, url] of [
      ["GET", "/secure-channel/status"],
      ["POST", "/secure-channel/key"],
      ["POST", "/secure-channel/key/5b0c3c52/key-attestation"],
      ["GET", "/metadata/instance?api-version=2018-02-01"],
      ["OPTIONS", "/"],
      ["PATCH", "/store/x"],
    ] as const) {
      const { response } = await ask({ method, url });
      expect(response.statusCode).toBe(404);
      expect(response.body).toContain("<Code>ResourceNotFound</Code>");
    }
  });
});
