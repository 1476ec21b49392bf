/** What documents point to: as agents ask for it themselves, and through the host plugin. */
import type { FastifyInstance, InjectOptions } from "fastify";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseStringPromise } from "xml2js";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import {
  createHostPlugin,
  createWireServer,
  type WireContainer,
} from "../../src/wireserver/index.ts";
import {
  readAgentStatus,
  STATUS_MESSAGE_CHARACTERS_MAX,
} from "../../src/wireserver/store/agent-status.ts";
import { STATUS_BLOB_BYTES_MAX, StatusBlobs } from "../../src/wireserver/store/status-blob.ts";
import { storeUrl } from "../../src/wireserver/wire-urls.ts";
import {
  ARTIFACTS,
  CONTAINER,
  createDirectory,
  createRecorder,
  FULL,
  PACKAGE,
} from "./fixtures.ts";

const AUTHORITY = { address: parseIpv4("168.63.129.16"), port: 80 };
const ORIGIN = "http://168.63.129.16:80";
const [ECHO] = FULL.extensions;
const STATUS_URL = storeUrl(FULL, AUTHORITY, { kind: "status" });
const MANIFEST_URL = storeUrl(FULL, AUTHORITY, { kind: "manifest", extension: ECHO });
const PACKAGE_URL = storeUrl(FULL, AUTHORITY, { kind: "package", extension: ECHO });
const PROFILE_URL = storeUrl(FULL, AUTHORITY, { kind: "profile" });
const PAGES = { ...FULL, statusBlobType: "PageBlob" } as const;

/** As WALinuxAgent 2.7.3 writes it. */
const STATUS = {
  version: "1.1",
  timestampUTC: "2026-11-25T13:56:47Z",
  aggregateStatus: {
    guestAgentStatus: {
      version: "2.7.3.0",
      status: "Ready",
      formattedMessage: { lang: "en-US", message: "Guest Agent is running" },
    },
    handlerAggregateStatus: [
      {
        handlerVersion: "1.0.0",
        handlerName: "Lab.Echo",
        status: "Ready",
        code: 0,
        useExactVersion: true,
        formattedMessage: { lang: "en-US", message: "Plugin enabled" },
        runtimeSettingsStatus: {
          settingsStatus: {
            status: {
              name: "Lab.Echo",
              operation: "enable",
              status: "success",
              code: "0",
              formattedMessage: { lang: "en-US", message: "said hi" },
            },
            version: 1.0,
          },
          sequenceNumber: 4,
        },
      },
      { handlerVersion: "2.1.0.3", handlerName: "Lab.Other", status: "NotReady", code: 1009 },
    ],
  },
  guestOSInfo: { computerName: "web-0", osName: "debian", osVersion: "12", version: "2.7.3.0" },
};
const STATUS_TEXT = JSON.stringify(STATUS);
const AGENT_STATUS = {
  version: "2.7.3.0",
  status: "Ready",
  message: "Guest Agent is running",
  extensions: [
    {
      ...{ name: "Lab.Echo", version: "1.0.0", handler: "Ready", status: "success", code: 0 },
      ...{ message: "said hi", seqNo: 4 },
    },
    { name: "Lab.Other", version: "2.1.0.3", handler: "NotReady", code: 1009 },
  ],
};

function serve(container: WireContainer = FULL) {
  const recorder = createRecorder();
  const options = {
    directory: createDirectory(container),
    observer: recorder,
    artifacts: ARTIFACTS,
  };
  const wire = createWireServer({ ...options, endpoint: AUTHORITY.address });
  const plugin = createHostPlugin(options);
  onTestFinished(async () => {
    await Promise.all([wire.close(), plugin.close()]);
  });
  const asks = (app: FastifyInstance) => (request: InjectOptions) =>
    app.inject({ remoteAddress: "10.20.0.4", ...request });
  return { recorder, wire: asks(wire), plugin: asks(plugin) };
}

/** An upload, said to the storage or described to the host plugin. */
function upload(
  channel: "direct" | "described",
  url: string,
  headers: Record<string, string>,
  content = "",
): InjectOptions {
  if (channel === "direct")
    return { method: "PUT", url: url.slice(ORIGIN.length), headers, payload: content };
  return {
    method: "PUT",
    url: "/status",
    payload: JSON.stringify({
      requestUri: url,
      headers: Object.entries(headers).map(([headerName, headerValue]) => ({
        headerName,
        headerValue,
      })),
      ...(content !== "" && { content: Buffer.from(content).toString("base64") }),
    }),
  };
}

const BLOCK = { "x-ms-blob-type": "BlockBlob", "x-ms-version": "2014-02-14" };
const page = (length: number) => ({
  "x-ms-blob-type": "PageBlob",
  "x-ms-blob-content-length": String(length),
});
const range = (first: number, last: number) => ({
  "x-ms-range": `bytes=${first}-${last}`,
  "x-ms-page-write": "update",
});

describe("manifests and packages", () => {
  test("a manifest leads to the package, whose bytes are those of the artifact", async () => {
    const { wire, recorder } = serve();
    const manifest = await wire({ url: MANIFEST_URL.slice(ORIGIN.length) });
    expect(manifest.statusCode).toBe(200);
    const { PluginVersionManifest } = await parseStringPromise(manifest.body);
    const [plugin] = PluginVersionManifest.Plugins[0].Plugin;
    expect(plugin.Version).toEqual(["1.0.0"]);
    expect(plugin.Uris[0].Uri).toEqual([PACKAGE_URL]);
    const zip = await wire({ url: PACKAGE_URL.slice(ORIGIN.length) });
    expect(zip.statusCode).toBe(200);
    expect(zip.headers["content-length"]).toBe(String(PACKAGE.length));
    expect(zip.rawPayload.equals(PACKAGE)).toBe(true);
    expect(recorder.lines).toEqual(["hello.web_0 artifact", "hello.web_0 artifact"]);
  });

  test("HEAD tells the length alone, a range is part of it, another range is the whole", async () => {
    const { wire } = serve();
    const url = PACKAGE_URL.slice(ORIGIN.length);
    const head = await wire({ method: "HEAD", url });
    expect([head.statusCode, head.body]).toEqual([200, ""]);
    expect(head.headers["content-length"]).toBe(String(PACKAGE.length));
    for (const [asked, first, last] of [
      ["bytes=0-9", 0, 9],
      ["bytes=70000-", 70_000, PACKAGE.length - 1],
      ["bytes=-5", PACKAGE.length - 5, PACKAGE.length - 1],
      ["bytes=10-9999999999", 10, PACKAGE.length - 1],
    ] as const) {
      const part = await wire({ url, headers: { range: asked } });
      expect(part.statusCode).toBe(206);
      expect(part.headers["content-range"]).toBe(`bytes ${first}-${last}/${PACKAGE.length}`);
      expect(part.rawPayload.equals(PACKAGE.subarray(first, last + 1))).toBe(true);
    }
    for (const asked of [
      "bytes=9-5",
      "bytes=0-1,5-6",
      "lines=1-2",
      "bytes=-",
      "bytes=999999999-",
    ]) {
      expect((await wire({ url, headers: { range: asked } })).statusCode).toBe(200);
    }
  });

  test("a package that cannot be read is a 503 that can be tried again", async () => {
    const { sha256 } = ECHO.package;
    const broken = { ...ECHO, package: { sha256: sha256.replaceAll(/./g, "0"), bytes: 5 } };
    const { wire } = serve({ ...FULL, extensions: [broken] });
    const response = await wire({ url: PACKAGE_URL.slice(ORIGIN.length) });
    expect(response.statusCode).toBe(503);
    expect(response.headers["content-type"]).toContain("text/xml");
  });

  test("the artifacts profile holds nothing back", async () => {
    const { wire } = serve();
    expect((await wire({ url: PROFILE_URL.slice(ORIGIN.length) })).json()).toEqual({
      onHold: false,
    });
  });

  test("the host plugin hands out the same, and counts it as its own", async () => {
    const { plugin, recorder } = serve();
    for (const location of [MANIFEST_URL, PACKAGE_URL, PROFILE_URL]) {
      const headers = {
        "x-ms-artifact-location": location,
        "x-ms-artifact-manifest-location": MANIFEST_URL,
        "x-ms-containerid": FULL.containerId,
      };
      const response = await plugin({ url: "/extensionArtifact", headers });
      expect(response.statusCode).toBe(200);
      if (location === PACKAGE_URL) expect(response.rawPayload.equals(PACKAGE)).toBe(true);
    }
    expect(recorder.lines).toEqual(Array(3).fill("hello.web_0 extensionArtifact"));
  });

  const OTHER = "00000000-0000-0000-0000-000000000000";
  const own = (rest: string) => `/store/${FULL.instanceId}/${rest}`;
  for (const [name, path, status] of [
    ["another container", `/store/${OTHER}/Lab.Echo/manifest.xml`, 410],
    ["another container, encoded", `/store/${OTHER.replace("-", "%2D")}/status`, 410],
    ["an extension that it has not", own("Lab.None/manifest.xml"), 404],
    ["another version", own("Lab.Echo-1.0.1.zip"), 404],
    ["a path upwards", own("../../etc/passwd"), 404],
    ["an encoded path upwards", own("..%2F..%2Fetc%2Fpasswd"), 404],
    ["a path upwards inside a name", own("Lab.Echo/../../secrets"), 404],
    ["an absolute path", own("%2Fetc%2Fpasswd"), 404],
    ["a NUL", own("Lab.Echo-1.0.0.zip%00.xml"), 404],
    ["a broken escape", own("Lab.Echo%E0%A4%A/manifest.xml"), 400],
    ["a prototype", own("__proto__"), 404],
    ["the status, to read it", own("status"), 404],
    ["a folder", own("Lab.Echo/"), 404],
    ["nothing", "/store/", 404],
  ] as const) {
    test(`${name} is ${status}, directly and through the host plugin`, async () => {
      const { wire, plugin, recorder } = serve();
      expect((await wire({ url: path })).statusCode).toBe(status);
      const headers = { "x-ms-artifact-location": `http://168.63.129.16${path}` };
      const described = await plugin({ url: "/extensionArtifact", headers });
      // The host plugin reads it as a URL, in which two points go upwards: out of the store, or into another's.
      expect([status, 404, 410]).toContain(described.statusCode);
      expect(described.json().errorCode).toMatch(/^Resource/);
      expect(recorder.statuses).toEqual([]);
    });
  }

  for (const location of [
    "http://169.254.169.254/metadata/instance",
    "http://127.0.0.1/store/x/status",
    "http://168.63.129.16:32526/status",
    "https://168.63.129.16/store/x/status",
    "http://user:word@168.63.129.16/store/x/status",
    "http://168.63.129.16.example.org/store/x/status",
    "file:///etc/passwd",
    "/store/x/status",
    "",
  ]) {
    test(`the host plugin asks nobody for ${location || "no location"}: 400`, async () => {
      const { plugin, recorder } = serve();
      const headers = { "x-ms-artifact-location": location };
      const artifact = await plugin({ url: "/extensionArtifact", headers });
      expect(artifact.statusCode).toBe(400);
      const status = await plugin(upload("described", location, BLOCK, STATUS_TEXT));
      expect(status.statusCode).toBe(400);
      expect(recorder.statuses).toEqual([]);
    });
  }
});

describe.each(["direct", "described"] as const)("status blob, %s", (channel) => {
  const done = channel === "direct" ? 201 : 200;
  const send = (server: ReturnType<typeof serve>) =>
    channel === "direct" ? server.wire : server.plugin;

  test("a block blob comes in one piece, and its status is told", async () => {
    const server = serve();
    const response = await send(server)(upload(channel, STATUS_URL, BLOCK, STATUS_TEXT));
    expect([response.statusCode, response.body]).toEqual([done, ""]);
    expect(response.headers["content-length"]).toBe("0");
    expect(server.recorder.statuses).toEqual([AGENT_STATUS]);
  });

  test("a page blob is made, then filled by ranges; its status is told when it is whole", async () => {
    const server = serve(PAGES);
    const put = send(server);
    const text = STATUS_TEXT.padEnd(Math.ceil(STATUS_TEXT.length / 512) * 512, " ");
    expect((await put(upload(channel, STATUS_URL, page(text.length)))).statusCode).toBe(done);
    for (let first = 0; first < text.length; first += 512) {
      expect(server.recorder.statuses).toEqual([]);
      const piece = text.slice(first, first + 512);
      const url = `${STATUS_URL}&comp=page`;
      const response = await put(upload(channel, url, range(first, first + 511), piece));
      expect(response.statusCode).toBe(done);
    }
    expect(server.recorder.statuses).toEqual([AGENT_STATUS]);
    const cleared = { ...range(0, text.length - 1), "x-ms-page-write": "clear" };
    expect((await put(upload(channel, `${STATUS_URL}&comp=page`, cleared))).statusCode).toBe(done);
    expect(server.recorder.statuses).toHaveLength(1);
  });

  test("what is no status is taken, as storage does, and counted as malformed", async () => {
    const server = serve();
    const bodies = ["{", "[]", "null", "\u0000", '{"aggregateStatus":{}}', "[".repeat(100_000)];
    for (const body of bodies) {
      const response = await send(server)(upload(channel, STATUS_URL, BLOCK, body));
      expect(response.statusCode).toBe(done);
      expect(server.recorder.lines.at(-1)).toBe("10.20.0.4 refused malformed-request");
    }
    expect(server.recorder.statuses).toEqual([]);
  });

  for (const [name, container, url, headers, content, status] of [
    ["a page blob where a block blob is said", FULL, STATUS_URL, page(512), "", 409],
    ["pages of a block blob", FULL, `${STATUS_URL}&comp=page`, range(0, 511), "x".repeat(512), 409],
    ["a block blob where a page blob is said", PAGES, STATUS_URL, BLOCK, STATUS_TEXT, 409],
    ["no type", FULL, STATUS_URL, {}, STATUS_TEXT, 400],
    ["a length that is no whole pages", PAGES, STATUS_URL, page(513), "", 400],
    ["no length", PAGES, STATUS_URL, { "x-ms-blob-type": "PageBlob" }, "", 400],
    ["a page blob with content", PAGES, STATUS_URL, page(512), "x", 400],
    ["a page blob that is too long", PAGES, STATUS_URL, page(STATUS_BLOB_BYTES_MAX + 512), "", 413],
    [
      "pages before the blob",
      PAGES,
      `${STATUS_URL}&comp=page`,
      range(0, 511),
      "x".repeat(512),
      404,
    ],
    ["another operation", FULL, `${STATUS_URL}&comp=lease`, BLOCK, STATUS_TEXT, 400],
    ["a package", FULL, PACKAGE_URL, BLOCK, STATUS_TEXT, channel === "direct" ? 404 : 400],
    [
      "another container's",
      FULL,
      STATUS_URL.replace("9f6f2a8e", "00000000"),
      BLOCK,
      STATUS_TEXT,
      410,
    ],
  ] as const) {
    test(`${name}: ${status}`, async () => {
      const server = serve(container);
      const response = await send(server)(upload(channel, url, headers, content));
      expect(response.statusCode).toBe(status);
      expect(server.recorder.statuses).toEqual([]);
    });
  }

  for (const [first, last, length] of [
    [0, 510, 511],
    [1, 512, 512],
    [0, 1023, 512],
    [1024, 1535, 512],
    [512, 511, 0],
    [0, 999_999_999_999, 512],
  ] as const) {
    test(`pages ${first} to ${last} of 1024 with ${length} bytes: 416`, async () => {
      const server = serve(PAGES);
      const put = send(server);
      expect((await put(upload(channel, STATUS_URL, page(1024)))).statusCode).toBe(done);
      const url = `${STATUS_URL}&comp=page`;
      const response = await put(upload(channel, url, range(first, last), " ".repeat(length)));
      expect(response.statusCode).toBe(416);
    });
  }

  test("a status that cannot be kept is a 503", async () => {
    const server = serve();
    server.recorder.agentStatus = () => Promise.reject(new Error("the store is away"));
    const response = await send(server)(upload(channel, STATUS_URL, BLOCK, STATUS_TEXT));
    expect(response.statusCode).toBe(503);
  });
});

describe("the request that is described to the host plugin", () => {
  for (const [name, payload] of [
    ["no JSON", "<x/>"],
    ["a list", "[]"],
    ["no requestUri", "{}"],
    ["content that is no base64", JSON.stringify({ requestUri: STATUS_URL, content: "%%" })],
    [
      "too many headers",
      JSON.stringify({
        requestUri: STATUS_URL,
        headers: Array(100).fill({ headerName: "a", headerValue: "b" }),
      }),
    ],
    ["deep nesting", "[".repeat(200_000)],
    ["bytes that are no UTF-8", Buffer.from([0xff, 0xfe])],
  ] as const) {
    test(`${name}: 400`, async () => {
      const { plugin } = serve();
      const response = await plugin({ method: "PUT", url: "/status", payload });
      expect(response.statusCode).toBe(400);
      expect(response.json().errorCode).toBe("InvalidInput");
    });
  }

  test("a body beyond the limit: 413, with the limit of the direct way", async () => {
    const { plugin, wire } = serve();
    const content = "x".repeat(STATUS_BLOB_BYTES_MAX + 1);
    expect((await wire(upload("direct", STATUS_URL, BLOCK, content))).statusCode).toBe(413);
    const longer = "x".repeat(STATUS_BLOB_BYTES_MAX + 20_000);
    expect((await plugin(upload("described", STATUS_URL, BLOCK, longer))).statusCode).toBe(413);
  });

  test("a wrong container id is a 410; a wrong configuration name says InvalidContainerConfiguration", async () => {
    const { plugin } = serve();
    const ask = (headers: Record<string, string>) => plugin({ url: "/versions", headers });
    expect((await ask({ "x-ms-containerid": "x" })).statusCode).toBe(410);
    const guid = FULL.deployment.guid;
    const name = `${guid}.2.${guid}.2.web_0.1.xml`;
    expect((await ask({ "x-ms-host-config-name": name })).statusCode).toBe(200);
    const foreign = await ask({ "x-ms-host-config-name": name.replace("web_0", "web_1") });
    expect(foreign.statusCode).toBe(400);
    expect(foreign.body).toContain("InvalidContainerConfiguration");
  });
});

describe("page blobs that are being filled", () => {
  test("take 32 MiB together; then the one that waits longest must be made again", () => {
    const blobs = new StatusBlobs();
    const put = (container: string, comp: string, headers: Record<string, string>, body = "") =>
      blobs.put(container, "PageBlob", {
        comp,
        header: (name) => headers[name],
        body: Buffer.from(body),
      });
    const length = STATUS_BLOB_BYTES_MAX;
    for (let index = 0; index <= 32; index++) put(`c${index}`, "", page(length));
    for (let index = 0; index <= 32; index++) {
      expect(put(`c${index}`, "page", range(0, 511), " ".repeat(512))).toBeUndefined();
    }
    const again = () => put("c0", "page", range(0, 511), " ".repeat(512));
    expect(again).toThrow(expect.objectContaining({ code: "ERR_WIRE_BLOB_NOT_FOUND" }));
    put("c1", "page", range(length - 512, length - 1), "x".repeat(512));
    expect(put("c0", "", page(512))).toBeUndefined();
    expect(again()?.length).toBe(512);
  });
});

describe("reading a status", () => {
  const read = (value: unknown) => readAgentStatus(Buffer.from(JSON.stringify(value)));
  const withHandlers = (list: unknown) => ({
    aggregateStatus: { guestAgentStatus: { status: "Ready" }, handlerAggregateStatus: list },
  });

  test("an entry that cannot be read hides no other", () => {
    const list = [
      null,
      5,
      { handlerName: 5 },
      { handlerName: "" },
      { handlerName: "Good", code: "x" },
    ];
    expect(read(withHandlers(list))?.extensions).toEqual([
      { name: "Good", version: "", handler: "" },
    ]);
  });

  test("many entries and long messages are cut", () => {
    const long = { message: "m".repeat(5_000) };
    const list = Array(100).fill({ handlerName: "A", formattedMessage: long });
    const status = read(withHandlers(list));
    expect(status?.extensions).toHaveLength(64);
    expect(status?.extensions[0]?.message).toHaveLength(STATUS_MESSAGE_CHARACTERS_MAX);
  });

  test("a container without extensions reports an agent alone", () => {
    expect(read(withHandlers([]))).toEqual({ version: "", status: "Ready", extensions: [] });
    expect(read(withHandlers(null))?.extensions).toEqual([]);
    expect(CONTAINER).not.toHaveProperty("extensions");
  });
});
