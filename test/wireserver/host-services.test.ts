import type { FastifyInstance, InjectOptions } from "fastify";
import { describe, expect, test } from "vitest";
import { createHostPlugin } from "../../src/wireserver/index.ts";
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

/** Longer than any other body that is taken, and no text. */
const ZIP = Buffer.alloc(3 * 1024 * 1024, 0xff);
const TOO_LONG = Buffer.alloc(64 * 1024 * 1024 + 1);

describe("host plugin", () => {
  const own = { "x-ms-containerid": CONTAINER.containerId };
  const foreign = { "x-ms-containerid": "00000000-0000-0000-0000-000000000000" };
  const cases = [
    [{ url: "/versions", headers: own }, 200, '["2015-09-01"]', "hostPluginVersions"],
    [{ url: "/health" }, 200, "", "hostPluginHealth"],
    [{ url: "/vmSettings", headers: own }, 404, /"errorCode":"ResourceNotFound"/, "vmSettings"],
    [
      { method: "PUT", url: "/status", headers: foreign, payload: "{}" },
      410,
      /ask for the goal/,
      undefined,
    ],
    [{ method: "PUT", url: "/vmAgentLog", payload: ZIP }, 200, "", "hostPluginLog"],
    [{ method: "POST", url: "/vmAgentLog", payload: "zip" }, 404, /vmAgentLog/, undefined],
    [
      { method: "PUT", url: "/vmAgentLog", payload: TOO_LONG },
      413,
      /RequestBodyTooLarge/,
      undefined,
    ],
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
