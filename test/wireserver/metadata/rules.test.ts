/** What the metadata service asks of every request, and how it refuses. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseIpv4 } from "../../../src/model/ipv4-address.ts";
import { createMetadataService } from "../../../src/wireserver/index.ts";
import { REQUESTS_AT_ONCE, REQUESTS_PER_SECOND } from "../../../src/wireserver/request-budget.ts";
import { CONTAINER, createDirectory, createRecorder } from "../fixtures.ts";
import { ask, PROVISIONED } from "./ask.ts";

const headers = { Metadata: "True" };
const version = "api-version=2021-08-01";

describe("a path", () => {
  for (const [path, extra, status, body] of [
    ["/compute/name", "&format=text", 200, "web_0"],
    ["/compute/name", "", 200, "web_0"],
    ["/compute/vmsize/", "&format=text", 200, "Standard_G1"],
    ["/compute/publicKeys/1/keyData", "&format=text", 200, "ecdsa-sha2-nistp256 AAAAE2Vj two"],
    ["/network/interface/0/ipv4/ipAddress/0/privateIpAddress", "&format=text", 200, "10.20.0.4"],
    ["/compute/tagsList", "&format=json", 200, "[]"],
    ["/compute", "&format=text", 400, /format=text/],
    ["/compute/name", "&format=json", 400, /format=text/],
    ["/compute", "&format=xml", 400, /json or text/],
    ["/compute/nothing", "", 404, /nothing/],
    ["/compute/name/0", "", 404, /name/],
    ["/network/interface/1", "", 404, /interface/],
    ["/compute/__proto__", "", 404, /__proto__/],
    ["/compute/publicKeys/length", "", 404, /length/],
  ] as const) {
    test(`${path}${extra}: ${status}`, async () => {
      const { response } = await ask({
        url: `/metadata/instance${path}?${version}${extra}`,
        headers,
      });
      expect(response.statusCode).toBe(status);
      if (typeof body === "string") expect(response.body).toBe(body);
      else expect(response.body).toMatch(body);
    });
  }
});

describe("a version", () => {
  for (const [text, status] of [
    ["2017-03-01", 200],
    ["2016-01-01", 200],
    ["2021-08-01", 200],
    ["2025-04-07", 200],
    ["2025-04-08", 400],
    ["9999-12-31", 400],
    ["2021-13-01", 400],
    ["2021-8-1", 400],
    ["latest", 400],
    ["", 400],
  ] as const) {
    test(`"${text}": ${status}`, async () => {
      const url = `/metadata/instance?api-version=${text}`;
      const { response, recorder } = await ask({ url, headers });
      expect(response.statusCode).toBe(status);
      if (status === 200) return;
      expect(response.json()).toEqual({
        error: expect.stringMatching(/^Bad request\. api-version /),
        "newest-versions": ["2025-04-07", "2024-07-17", "2024-03-15"],
      });
      expect(recorder.lines).toEqual(["10.20.0.4 refused malformed-request"]);
    });
  }

  test("that is absent is said to be absent", async () => {
    const { response } = await ask({ url: "/metadata/instance", headers });
    expect(response.statusCode).toBe(400);
    expect(response.json().error).toContain("was not specified");
  });

  test("older than a field does not have it", async () => {
    const namesIn = async (text: string) => {
      const url = `/metadata/instance/compute?api-version=${text}`;
      return Object.keys((await ask({ url, headers })).response.json());
    };
    const oldest = await namesIn("2017-04-02");
    expect(oldest).toContain("vmId");
    for (const name of ["subscriptionId", "publicKeys", "resourceId", "userData"]) {
      expect(oldest).not.toContain(name);
      expect(await namesIn("2021-02-01")).toContain(name);
    }
  });

  test("all of them are listed", async () => {
    const { response } = await ask({ url: "/metadata/versions", headers });
    const { apiVersions } = response.json();
    expect(apiVersions).toContain("2021-02-01");
    expect(apiVersions.toSorted()).toEqual(apiVersions);
  });
});

describe("a refusal", () => {
  const url = `/metadata/instance?${version}`;
  for (const [name, request, status, text] of [
    ["no Metadata header", { url }, 400, "Required metadata header not specified"],
    ["Metadata: false", { url, headers: { Metadata: "false" } }, 400, "metadata header"],
    [
      "a forwarded request",
      { url, headers: { ...headers, "X-Forwarded-For": "1.2.3.4" } },
      400,
      "X-Forwarded-For",
    ],
    ["no api-version", { url: "/metadata/instance", headers }, 400, "api-version"],
    ["POST", { method: "POST", url, headers, payload: "{}" }, 405, "Method not allowed"],
    ["PUT", { method: "PUT", url, headers, payload: "{}" }, 405, "Method not allowed"],
    ["DELETE", { method: "DELETE", url, headers }, 405, "Method not allowed"],
    ["a path with two slashes", { url: "//[", headers }, 404, "//["],
    ["another path", { url: `/metadata/nothing?${version}`, headers }, 404, "nothing"],
    ["a path below a leaf", { url: "/metadata/versions/0", headers }, 404, "versions"],
    ["/metadata itself", { url: `/metadata?${version}`, headers }, 404, "metadata"],
    ["an unknown caller", { url, headers, remoteAddress: "1.2.3.4" }, 403, "ValidateIpAddress"],
  ] as const) {
    test(`of ${name} is ${status}`, async () => {
      const { response } = await ask(request);
      expect(response.statusCode).toBe(status);
      expect(response.headers["content-type"]).toBe("application/json; charset=utf-8");
      expect(response.json().error).toContain(text);
      expect(response.headers.allow).toBe(status === 405 ? "GET" : undefined);
    });
  }

  test("of a token is the one for a VM without an identity", async () => {
    const { response } = await ask({
      url: "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net",
      headers,
    });
    expect(response.statusCode).toBe(400);
    expect(response.json()).toEqual({
      error: "invalid_request",
      error_description: "Identity not found",
    });
  });
});

test("what is rendered once is rendered anew for a new document of the container", async () => {
  const directory = createDirectory(PROVISIONED);
  await using app = createMetadataService({ directory, observer: createRecorder() });
  const read = async () => {
    const url = `/metadata/instance/compute/osProfile/computerName?${version}`;
    return (await app.inject({ url, headers, remoteAddress: "10.20.0.4" })).body;
  };
  expect(await read()).toBe("lab-vm-01");
  expect(await read()).toBe("lab-vm-01");
  directory.replace({
    ...CONTAINER,
    provisioning: { ...PROVISIONED.provisioning!, hostName: "other" },
  });
  expect(await read()).toBe("other");
});

test("a guest that asks too often gets 429 until it waits, and the others are served", async () => {
  let nowMs = 0;
  const other = { ...CONTAINER, name: "hello.web_1", address: parseIpv4("10.20.0.5") };
  await using app = createMetadataService({
    directory: createDirectory(PROVISIONED, other),
    observer: createRecorder(),
    now: () => nowMs,
  });
  const url = `/metadata/instance/compute/name?${version}&format=text`;
  const get = async (remoteAddress = "10.20.0.4") => app.inject({ url, headers, remoteAddress });
  for (let count = 0; count < REQUESTS_AT_ONCE; count += 1) {
    expect((await get()).statusCode).toBe(200);
  }
  const refused = await get();
  expect(refused.statusCode).toBe(429);
  expect(refused.headers["retry-after"]).toBe("1");
  expect(refused.json()).toEqual({ error: "Too many requests" });
  expect((await get("10.20.0.5")).statusCode).toBe(200);
  nowMs += 1_000;
  for (let count = 0; count < REQUESTS_PER_SECOND; count += 1) {
    expect((await get()).statusCode).toBe(200);
  }
  expect((await get()).statusCode).toBe(429);
});

test("whatever is asked, the answer is one that clients know, and JSON if it is a refusal", async () => {
  await using app = createMetadataService({
    directory: createDirectory(PROVISIONED),
    observer: createRecorder(),
  });
  const word = fc.oneof(
    fc.constantFrom("metadata", "instance", "compute", "network", "interface", "0", "..", "%2e"),
    fc.constantFrom("scheduledevents", "versions", "publicKeys", "__proto__", "constructor", ""),
    fc.string({ maxLength: 8 }).map(encodeURIComponent),
  );
  const query = fc.oneof(
    fc.constantFrom("api-version=2021-02-01", "format=text", "format=json", "extended=true", "%"),
    fc.string({ maxLength: 8 }).map(encodeURIComponent),
  );
  const request = fc.record({
    method: fc.constantFrom("GET", "POST", "PUT", "HEAD", "OPTIONS"),
    path: fc.array(word, { maxLength: 8 }),
    query: fc.array(query, { maxLength: 3 }),
    metadata: fc.constantFrom("true", "True", "no"),
    payload: fc.option(fc.oneof(fc.string(), fc.json()), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(request, async ({ method, path, query: parts, metadata, payload }) => {
      const response = await app.inject({
        ...{ method: method as "GET", url: `/${path.join("/")}?${parts.join("&")}` },
        headers: { metadata },
        ...(payload !== undefined && method !== "GET" && method !== "HEAD" && { payload }),
        remoteAddress: "10.20.0.4",
      });
      expect([200, 400, 404, 405]).toContain(response.statusCode);
      if (response.statusCode !== 200 && method !== "HEAD") {
        expect(response.json().error).toBeTypeOf("string");
      }
    }),
  );
});
