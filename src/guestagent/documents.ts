/** Reads and writes wire documents on the guest's side. Reads tolerate everything that the protocol lets be absent. */

import { parseStringPromise } from "xml2js";
import { errorText, FabricError } from "../model/errors.ts";

/** What the agent needs of `comp=goalstate`. URLs are used exactly as they came. */
export interface GoalState {
  /** As text: versions are compared by being different, never by being larger. */
  readonly incarnation: string;
  readonly expectedState: string;
  readonly containerId: string;
  readonly instanceId: string;
  readonly hostingEnvironmentUrl: string;
  readonly sharedConfigUrl: string;
}

/** What the agent needs of the hosting environment. */
export interface HostingEnvironment {
  readonly roleInstance: string;
  readonly roleName: string;
  readonly settings: ReadonlyMap<string, string>;
}

/** One of the role instance's own endpoints. */
export interface RoleEndpoint {
  readonly name: string;
  readonly port: number;
}

/** What the agent says of the guest. */
export interface Health {
  readonly state: "Ready" | "NotReady";
  readonly subStatus?: string;
  readonly description?: string;
}

/** The service's limit is 4096 bytes, and clients agree on 512 characters. */
const DESCRIPTION_CHARACTERS_MAX = 512;

/** @throws FabricError ERR_AGENT_DOCUMENT_MALFORMED */
export async function parseVersions(text: string): Promise<readonly string[]> {
  const supported = (await parseRoot(text, "Versions")).need("Supported");
  return supported.all("Version").map((version) => version.text);
}

/**
 * @returns undefined while the fabric has put no role instance into the container yet, which passes
 * @throws FabricError ERR_AGENT_DOCUMENT_MALFORMED
 */
export async function parseGoalState(text: string): Promise<GoalState | undefined> {
  const root = await parseRoot(text, "GoalState");
  const container = root.need("Container");
  const instance = container.find("RoleInstanceList")?.find("RoleInstance");
  if (instance === undefined) return undefined;
  const configuration = instance.need("Configuration");
  return {
    incarnation: root.need("Incarnation").text,
    expectedState: root.need("Machine").need("ExpectedState").text,
    containerId: container.need("ContainerId").text,
    instanceId: instance.need("InstanceId").text,
    hostingEnvironmentUrl: configuration.need("HostingEnvironmentConfig").text,
    sharedConfigUrl: configuration.need("SharedConfig").text,
  };
}

/** @throws FabricError ERR_AGENT_DOCUMENT_MALFORMED */
export async function parseHostingEnvironment(text: string): Promise<HostingEnvironment> {
  const root = await parseRoot(text, "HostingEnvironmentConfig");
  const settings = root.find("ApplicationSettings")?.all("Setting") ?? [];
  return {
    roleInstance: root.need("Incarnation").attribute("instance"),
    roleName: root.need("Role").attribute("name"),
    settings: new Map(settings.map((each) => [each.attribute("name"), each.attribute("value")])),
  };
}

/**
 * The endpoints of one role instance.
 *
 * @throws FabricError ERR_AGENT_DOCUMENT_MALFORMED
 */
export async function parseOwnEndpoints(
  text: string,
  roleInstance: string,
): Promise<readonly RoleEndpoint[]> {
  const root = await parseRoot(text, "SharedConfig");
  const instances = root.find("Instances")?.all("Instance") ?? [];
  const own = instances.find((each) => each.attribute("id") === roleInstance);
  return (own?.find("InputEndpoints")?.all("Endpoint") ?? []).map((each) => ({
    name: each.attribute("name"),
    port: Number(each.attribute("address").split(":").at(-1)),
  }));
}

/** Writes the body of `POST /machine?comp=health`; a long description is cut, before it is escaped. */
export function renderHealth(goalState: GoalState, health: Health): string {
  const description = health.description?.slice(0, DESCRIPTION_CHARACTERS_MAX);
  const details =
    (health.subStatus === undefined ? "" : element("SubStatus", health.subStatus)) +
    (description === undefined ? "" : element("Description", description));
  return (
    `<?xml version="1.0" encoding="utf-8"?><Health>` +
    element("GoalStateIncarnation", goalState.incarnation) +
    `<Container>${element("ContainerId", goalState.containerId)}<RoleInstanceList><Role>` +
    element("InstanceId", goalState.instanceId) +
    `<Health>${element("State", health.state)}${details && `<Details>${details}</Details>`}</Health>` +
    `</Role></RoleInstanceList></Container></Health>`
  );
}

/** Writes the body of `POST /machine?comp=roleProperties` with one property. */
export function renderRoleProperty(goalState: GoalState, name: string, value: string): string {
  return (
    `<?xml version="1.0" encoding="utf-8"?><RoleProperties><Container>` +
    `${element("ContainerId", goalState.containerId)}<RoleInstances><RoleInstance>` +
    `${element("Id", goalState.instanceId)}<Properties>` +
    `<Property name="${escapeXml(name)}" value="${escapeXml(value.slice(0, DESCRIPTION_CHARACTERS_MAX))}"/>` +
    `</Properties></RoleInstance></RoleInstances></Container></RoleProperties>`
  );
}

function element(name: string, text: string): string {
  return `<${name}>${escapeXml(text)}</${name}>`;
}

/** Anything outside printable ASCII goes as a character reference, and what XML forbids as a question mark. */
function escapeXml(text: string): string {
  return text.toWellFormed().replaceAll(/[^ !#-%(-;=?-~]/gu, (character) => {
    const code = character.codePointAt(0)!;
    const allowed = code >= 0x20 ? code !== 0xfffe && code !== 0xffff : [9, 10, 13].includes(code);
    return allowed ? `&#${code};` : "?";
  });
}

/** One element of a parsed document. */
interface XmlElement {
  readonly text: string;
  all(name: string): readonly XmlElement[];
  find(name: string): XmlElement | undefined;
  need(name: string): XmlElement;
  /** "" if it is absent, as other clients read it. */
  attribute(name: string): string;
}

async function parseRoot(text: string, name: string): Promise<XmlElement> {
  // A front server's HTML comes here too, with status 200 even; it has another root, or is no XML at all.
  const parsed: unknown = await parseStringPromise(text, {
    explicitArray: true,
    explicitCharkey: true,
    emptyTag: () => ({}),
  }).catch((cause: unknown) => {
    throw malformed(`a ${name} was expected, but it is not XML: ${errorText(cause)}`);
  });
  const root = member(parsed, name);
  if (root === undefined)
    throw malformed(`a ${name} was expected, but the root element is another`);
  return elementOf(root, name);
}

function elementOf(node: unknown, path: string): XmlElement {
  const all = (name: string) => {
    const list = member(node, name);
    return Array.isArray(list) ? list.map((each) => elementOf(each, `${path}/${name}`)) : [];
  };
  return {
    text: textOf(member(node, "_")).trim(),
    all,
    find: (name) => all(name)[0],
    need: (name) => {
      const found = all(name)[0];
      if (found === undefined) throw malformed(`${path} has no ${name}`);
      return found;
    },
    attribute: (name) => textOf(member(member(node, "$"), name)),
  };
}

function member(node: unknown, name: string): unknown {
  if (typeof node !== "object" || node === null || !Object.hasOwn(node, name)) return undefined;
  return Reflect.get(node, name);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function malformed(message: string): FabricError {
  return new FabricError("ERR_AGENT_DOCUMENT_MALFORMED", message);
}
