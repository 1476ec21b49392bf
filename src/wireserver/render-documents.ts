/** Wire documents to text. Pure; element and attribute names and their nesting are exactly as on the wire. */

import type {
  GoalStateDocument,
  HostingEnvironmentDocument,
  RoleIdentity,
  SharedConfigDocument,
} from "./documents.ts";
import { GOAL_STATE_VERSION, WIRE_VERSIONS } from "./documents.ts";
import type { WireEndpoint } from "./wire-container.ts";
import { XML_DECLARATION, xmlElement, xmlText } from "./xml.ts";

/** How long a guest may take to stop its roles. GuestProxyAgent refuses a goal state without it. */
const STOP_ROLES_DEADLINE_MS = 300_000;
const LOAD_BALANCER_PROBE_PORT = 16_001;

const GOAL_STATE_SCHEMA = {
  "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
  "xsi:noNamespaceSchemaLocation": "goalstate10.xsd",
};

/**
 * Renders the answer to `comp=versions`. Both versions are under `Supported`, also the preferred one: afterburn
 * looks nowhere else, and cloudbase-init needs at least two there.
 */
export function renderVersions(): string {
  const supported = WIRE_VERSIONS.map((version) => xmlText("Version", version)).join("");
  const preferred = xmlElement("Preferred", {}, xmlText("Version", WIRE_VERSIONS[0]));
  return page("Versions", {}, preferred + xmlElement("Supported", {}, supported));
}

/** Renders the answer to `comp=goalstate`. */
export function renderGoalState(goalState: GoalStateDocument): string {
  const machine =
    xmlText("ExpectedState", goalState.expectedState) +
    xmlText("StopRolesDeadlineHint", STOP_ROLES_DEADLINE_MS) +
    xmlElement("LBProbePorts", {}, xmlText("Port", LOAD_BALANCER_PROBE_PORT)) +
    xmlText("ExpectHealthReport", "FALSE");
  const instance =
    xmlText("InstanceId", goalState.instanceId) +
    xmlText("State", goalState.expectedState) +
    xmlElement("Configuration", {}, configuration(goalState.configuration));
  const container =
    xmlText("ContainerId", goalState.containerId) +
    optionalText("RemoteAccessInfo", goalState.remoteAccessInfo) +
    xmlElement("RoleInstanceList", {}, xmlElement("RoleInstance", {}, instance));
  return page(
    "GoalState",
    GOAL_STATE_SCHEMA,
    xmlText("Version", GOAL_STATE_VERSION) +
      xmlText("Incarnation", goalState.incarnation) +
      xmlElement("Machine", {}, machine) +
      xmlElement("Container", {}, container),
  );
}

/** Renders `type=hostingEnvironmentConfig`. */
export function renderHostingEnvironment(document: HostingEnvironmentDocument): string {
  return XML_DECLARATION + hostingEnvironment(document);
}

/** Renders `type=sharedConfig`. */
export function renderSharedConfig(document: SharedConfigDocument): string {
  return XML_DECLARATION + sharedConfig(document);
}

/** Renders `type=fullConfig`: both of the others in one. No Linux client fetches it, GuestProxyAgent wants its URL. */
export function renderFullConfig(
  hosting: HostingEnvironmentDocument,
  shared: SharedConfigDocument,
): string {
  return page("FullConfig", stamp(hosting), hostingEnvironment(hosting) + sharedConfig(shared));
}

function page(name: string, attributes: Readonly<Record<string, string>>, content: string): string {
  return XML_DECLARATION + xmlElement(name, attributes, content);
}

function optionalText(name: string, text: string | undefined): string {
  return text === undefined ? "" : xmlText(name, text);
}

function configuration(urls: GoalStateDocument["configuration"]): string {
  return (
    xmlText("HostingEnvironmentConfig", urls.hostingEnvironmentConfig) +
    xmlText("SharedConfig", urls.sharedConfig) +
    xmlText("ExtensionsConfig", urls.extensionsConfig) +
    xmlText("FullConfig", urls.fullConfig) +
    optionalText("Certificates", urls.certificates) +
    xmlText("ConfigName", urls.configName)
  );
}

function hostingEnvironment(document: HostingEnvironmentDocument): string {
  const settings = document.settings.map(({ name, value }) =>
    xmlElement("Setting", { name, value }),
  );
  return xmlElement(
    "HostingEnvironmentConfig",
    stamp(document),
    storedCertificates(document) +
      identity(document) +
      xmlElement("ApplicationSettings", {}, settings.join("")),
  );
}

/** cloudbase-init looks the certificates up here before it asks for them. */
function storedCertificates({ thumbprints, roleName }: HostingEnvironmentDocument): string {
  if (thumbprints.length === 0) return "";
  const certificates = thumbprints.map((thumbprint, index) =>
    xmlElement("StoredCertificate", {
      name: `Stored${index}${roleName}`,
      certificateId: `sha1:${thumbprint}`,
      storeName: "My",
      configurationLevel: "System",
    }),
  );
  return xmlElement("StoredCertificates", {}, certificates.join(""));
}

function sharedConfig(document: SharedConfigDocument): string {
  const instances = document.instances.map(({ id, address, endpoints }) =>
    // afterburn fails on an Instance without InputEndpoints, so it is there even if it is empty.
    xmlElement(
      "Instance",
      { id, address },
      xmlElement("InputEndpoints", {}, endpoints.map((each) => endpoint(each, address)).join("")),
    ),
  );
  return xmlElement(
    "SharedConfig",
    stamp(document),
    identity(document) + xmlElement("Instances", {}, instances.join("")),
  );
}

function endpoint({ name, protocol, port }: WireEndpoint, address: string): string {
  const range = xmlElement("LocalPortRange", { from: port, to: port });
  return xmlElement(
    "Endpoint",
    { name, address: `${address}:${port}`, protocol, isPublic: false },
    xmlElement("LocalPorts", {}, range),
  );
}

function stamp(of: RoleIdentity): { version: string; goalStateIncarnation: string } {
  return { version: "1.0.0.0", goalStateIncarnation: String(of.incarnation) };
}

function identity(of: RoleIdentity): string {
  const roleGuid = `{${of.roleGuid}}`;
  return (
    xmlElement("Deployment", {
      name: of.deployment.name,
      guid: `{${of.deployment.guid}}`,
      incarnation: of.incarnation,
    }) +
    xmlElement("Incarnation", {
      number: of.incarnation,
      instance: of.roleInstance,
      guid: roleGuid,
    }) +
    xmlElement("Role", { guid: roleGuid, name: of.roleName })
  );
}
