import type { FastifyInstance, InjectOptions } from "fastify";
import { describe, expect, test } from "vitest";
import { parseSubnet } from "../../src/model/ipv4-address.ts";
import { createHostPlugin, createMetadataService } from "../../src/wireserver/index.ts";
import { CONTAINER, createDirectory, createRecorder } from "./fixtures.ts";

async function ask(create: typeof createHostPlugin, request: InjectOptions) {
  const recorder = createRecorder();
  const app: FastifyInstance = create({
    directory: createDirectory(CONTAINER),
    observer: recorder,
  });
  const response = await app.inject({ remoteAddress: "10.20.0.4", ...request });
  await app.close();
  return { response, recorder };
}

describe("host plugin", () => {
  const own = { "x-ms-containerid": CONTAINER.containerId };
  const foreign = { "x-ms-containerid": "00000000-0000-0000-0000-000000000000" };
  const cases = [
    [{ url: "/versions", headers: own }, 200, '["2015-09-01"]', "hostPluginVersions"],
    [{ url: "/health" }, 200, "", "hostPluginHealth"],
    [{ url: "/vmSettings", headers: own }, 404, /"errorCode":"ResourceNotFound"/, "vmSettings"],
    [{ method: "PUT", url: "/status", headers: own, payload: "{}" }, 200, "", "hostPluginStatus"],
    [
      { method: "PUT", url: "/status", headers: foreign, payload: "{}" },
      410,
      /ask for the goal/,
      undefined,
    ],
    [{ method: "PUT", url: "/vmAgentLog", payload: "zip" }, 404, /vmAgentLog/, undefined],
    [{ url: "/health", remoteAddress: "10.20.0.9" }, 403, /ValidateIpAddress/, undefined],
  ] as const;
  for (const [request, status, body, kind] of cases) {
    test(`${"method" in request ? request.method : "GET"} ${request.url}: ${status}`, async () => {
      const { response, recorder } = await ask(createHostPlugin, request);
      expect(response.statusCode).toBe(status);
      if (typeof body === "string") expect(response.body).toBe(body);
      else expect(response.body).toMatch(body);
      if (kind !== undefined) expect(recorder.lines).toEqual([`hello.web_0 ${kind}`]);
    });
  }
});

describe("metadata service", () => {
  const headers = { Metadata: "True" };
  const version = "api-version=2021-08-01";

  test("GET /metadata/instance has what waagent, cloud-init, azure-init and Talos read", async () => {
    const url = `/metadata/instance?${version}&extended=true`;
    const { response, recorder } = await ask(createMetadataService, { url, headers });
    expect(response.statusCode).toBe(200);
    const { compute, network, extended } = response.json();
    expect(compute.osProfile).toEqual({
      adminUsername: "azureuser",
      computerName: "web-0",
      disablePasswordAuthentication: "true",
    });
    expect(compute.publicKeys).toEqual([]);
    expect(compute.resourceId).toMatch(
      /^\/subscriptions\/[^/]+\/resourceGroups\/hello\/providers\//,
    );
    expect(extended.compute.ppsType).toBe("None");
    expect(network.interface[0].macAddress).toBe("00155D0A0B0C");
    expect(network.interface[0].ipv4).toEqual({
      ipAddress: [{ privateIpAddress: "10.20.0.4", publicIpAddress: "" }],
      subnet: [{ address: "10.20.0.0", prefix: "24" }],
    });
    expect(recorder.lines).toEqual(["hello.web_0 metadata"]);
  });

  test("the subnet is the container's own where it is known", async () => {
    const app = createMetadataService({
      directory: createDirectory({ ...CONTAINER, subnet: parseSubnet("10.20.0.0/16") }),
      observer: createRecorder(),
      place: { location: "lab" },
    });
    const get = (path: string) =>
      app.inject({
        url: `/metadata/instance${path}?${version}`,
        headers,
        remoteAddress: "10.20.0.4",
      });
    expect((await get("/network/interface/0/ipv4/subnet/0/prefix")).body).toBe("16");
    expect((await get("/compute/location")).body).toBe("lab");
  });

  for (const [path, extra, status, body] of [
    ["/compute/name", "&format=text", 200, "web_0"],
    ["/compute/vmsize/", "&format=text", 200, "Standard_G1"],
    ["/compute/userData", "&format=text", 200, ""],
    ["/compute/publicKeys", "", 200, "[]"],
    ["/compute", "&format=text", 400, /format=text/],
    ["/compute/nothing", "", 404, /nothing/],
    ["/compute/name/0", "", 404, /name/],
    ["/compute/__proto__", "", 404, /__proto__/],
  ] as const) {
    test(`GET ${path}${extra}: ${status}`, async () => {
      const url = `/metadata/instance${path}?${version}${extra}`;
      const { response } = await ask(createMetadataService, { url, headers });
      expect(response.statusCode).toBe(status);
      if (typeof body === "string") expect(response.body).toBe(body);
      else expect(response.body).toMatch(body);
    });
  }

  for (const [name, request, status, text] of [
    ["no Metadata header", { url: `/metadata/instance?${version}` }, 400, "Metadata: true"],
    [
      "a forwarded request",
      {
        url: `/metadata/instance?${version}`,
        headers: { ...headers, "X-Forwarded-For": "1.2.3.4" },
      },
      400,
      "X-Forwarded-For",
    ],
    ["no api-version", { url: "/metadata/instance", headers }, 400, "newest versions"],
    ["a path with two slashes", { url: "//[", headers }, 404, "//["],
    ["another path", { url: `/metadata/loadbalancer?${version}`, headers }, 404, "loadbalancer"],
    [
      "an unknown caller",
      { url: `/metadata/instance?${version}`, headers, remoteAddress: "1.2.3.4" },
      403,
      "ValidateIpAddress",
    ],
  ] as const) {
    test(`${name} gets ${status}`, async () => {
      const { response } = await ask(createMetadataService, request);
      expect(response.statusCode).toBe(status);
      expect(response.json().error).toContain(text);
    });
  }
});
