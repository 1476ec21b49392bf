import { expect, test } from "vitest";
import { FAULT_ENDPOINTS, type WireService } from "../../../src/model/playbook.ts";
import { endpointOf } from "../../../src/wireserver/faults/fault-endpoint.ts";

const CONFIG = "/machine/5b0c3c52/9f6f2a8e.%5Fweb?comp=config&type=";
const CASES: readonly (readonly [WireService, string, string])[] = [
  ["wireServer", "/?comp=Versions", "versions"],
  ["wireServer", "/machine?comp=goalstate", "goalstate"],
  ["wireServer", "/machine/?comp=goalstate", "goalstate"],
  ["wireServer", `${CONFIG}hostingEnvironmentConfig&incarnation=3`, "hostingEnvironmentConfig"],
  ["wireServer", `${CONFIG}sharedConfig&incarnation=3`, "sharedConfig"],
  ["wireServer", `${CONFIG}extensionsConfig&incarnation=3`, "extensionsConfig"],
  ["wireServer", `${CONFIG}fullConfig&incarnation=3`, "fullConfig"],
  ["wireServer", "/machine/a/b?comp=certificates&incarnation=3", "certificates"],
  ["wireServer", "/machine/a/b?comp=remoteAccessInfo&incarnation=3", "remoteAccessInfo"],
  ["wireServer", "/machine?comp=health", "health"],
  ["wireServer", "/provisioning/health", "provisioningHealth"],
  ["wireServer", "/machine?comp=roleProperties", "roleProperties"],
  ["wireServer", "/machine/?comp=telemetrydata", "telemetrydata"],
  ["wireServer", "/HealthService", "healthService"],
  ["wireServer", "/store/5b0c/status?sv=1&sig=x", "statusBlob"],
  ["wireServer", "/store/5b0c/status?sv=1&sig=x&comp=page", "statusBlob"],
  ["wireServer", "/store/5b0c/profile?sv=1", "artifactsProfile"],
  ["wireServer", "/store/5b0c/Lab.Echo/manifest.xml?sv=1", "artifact"],
  ["wireServer", "/secure-channel/status", "wireServerOther"],
  ["hostPlugin", "/versions", "hostPluginVersions"],
  ["hostPlugin", "/health", "hostPluginHealth"],
  ["hostPlugin", "/vmSettings", "vmSettings"],
  ["hostPlugin", "/extensionArtifact", "extensionArtifact"],
  ["hostPlugin", "/status", "hostPluginStatus"],
  ["hostPlugin", "/vmAgentLog", "hostPluginLog"],
  ["hostPlugin", "/", "hostPluginOther"],
  ["metadata", "/metadata/instance/compute?api-version=2018-02-01", "instanceMetadata"],
  ["metadata", "/metadata/scheduledevents?api-version=2020-07-01", "scheduledEvents"],
  ["metadata", "/metadata/attested/document?api-version=2020-09-01", "attestedDocument"],
  ["metadata", "/metadata/instances", "metadataOther"],
];

for (const [service, url, endpoint] of CASES) {
  test(`${service} ${url} is ${endpoint}`, () => {
    expect(endpointOf({ service, method: "GET", url })).toBe(endpoint);
  });
}

test("every endpoint that a playbook may name is one that a request can be for", () => {
  const named = Object.entries(FAULT_ENDPOINTS).flatMap(([service, names]) =>
    names.map((name) => `${service} ${name}`),
  );
  expect(new Set(CASES.map(([service, , name]) => `${service} ${name}`))).toEqual(new Set(named));
});
