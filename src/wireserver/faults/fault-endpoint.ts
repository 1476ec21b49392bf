/** What a request is for, by the names that playbooks use. */
import type { FaultEndpoint } from "../../model/playbook.ts";
import type { FaultableRequest } from "../wire-host.ts";
import { parseWireQuery } from "../wire-query.ts";

/** Lower case: `comp`, or `type` where `comp` is `config`. */
const BY_QUERY: ReadonlyMap<string, FaultEndpoint> = new Map(
  (
    [
      "versions",
      "goalstate",
      "hostingEnvironmentConfig",
      "sharedConfig",
      "extensionsConfig",
      "fullConfig",
      "certificates",
      "remoteAccessInfo",
      "health",
      "roleProperties",
      "telemetrydata",
    ] as const
  ).map((name) => [name.toLowerCase(), name]),
);

const BY_PATH: Readonly<Record<"hostPlugin" | "wireServer", ReadonlyMap<string, FaultEndpoint>>> = {
  wireServer: new Map([
    ["/provisioning/health", "provisioningHealth"],
    ["/healthservice", "healthService"],
  ]),
  hostPlugin: new Map([
    ["/versions", "hostPluginVersions"],
    ["/health", "hostPluginHealth"],
    ["/vmsettings", "vmSettings"],
    ["/extensionartifact", "extensionArtifact"],
    ["/status", "hostPluginStatus"],
    ["/vmagentlog", "hostPluginLog"],
  ]),
};

const METADATA: readonly (readonly [string, FaultEndpoint])[] = [
  ["/metadata/instance", "instanceMetadata"],
  ["/metadata/scheduledevents", "scheduledEvents"],
  ["/metadata/attested", "attestedDocument"],
];

/** `/store/CONTAINER/status`, `/store/CONTAINER/profile`, and everything else there. */
const STORE = /^\/store\/[^/]+\/(?:(status|profile)$)?/;

/** The endpoint that a request is for, served or not. Case never counts. */
export function endpointOf({ service, url }: FaultableRequest): FaultEndpoint {
  const query = parseWireQuery(url);
  const path = query.path.toLowerCase();
  switch (service) {
    case "hostPlugin":
      return BY_PATH.hostPlugin.get(path) ?? "hostPluginOther";
    case "metadata":
      return (
        METADATA.find(([start]) => path === start || path.startsWith(`${start}/`))?.[1] ??
        "metadataOther"
      );
    case "wireServer":
      return wireServerEndpoint(path, query.comp === "config" ? query.type : query.comp);
  }
}

function wireServerEndpoint(path: string, comp: string): FaultEndpoint {
  const found = BY_QUERY.get(comp) ?? BY_PATH.wireServer.get(path);
  if (found !== undefined) return found;
  const stored = STORE.exec(path);
  if (stored === null) return "wireServerOther";
  if (stored[1] === "status") return "statusBlob";
  return stored[1] === "profile" ? "artifactsProfile" : "artifact";
}
