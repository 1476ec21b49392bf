/** Reads what guests post. Everything is untrusted: a body that breaks a rule is refused with a text that names it. */

import { parseStringPromise } from "xml2js";
import { z } from "zod";
import { errorText } from "../model/errors.ts";
import { refuse } from "./refusal.ts";
import type { HealthReport } from "./wire-container.ts";

/** The real service takes 4096 bytes; clients cut at 3686 characters, which may be more bytes than that. */
export const DESCRIPTION_CHARACTERS_MAX = 4_096;
export const PROPERTIES_MAX = 64;
const PROPERTY_NAME_CHARACTERS_MAX = 256;
const PROPERTY_VALUE_CHARACTERS_MAX = 4_096;

/** A report, and which container its sender believes to be. */
export interface PostedHealth {
  readonly containerId: string;
  readonly report: HealthReport;
}

/** Role properties, and which container their sender believes to be. */
export interface PostedRoleProperties {
  readonly containerId: string;
  readonly properties: ReadonlyMap<string, string>;
}

const healthJson = z.object({
  state: z.string(),
  details: z
    .object({
      subStatus: z.string().max(DESCRIPTION_CHARACTERS_MAX).optional(),
      description: z.string().max(DESCRIPTION_CHARACTERS_MAX).optional(),
    })
    .optional(),
});

/**
 * Reads the body of `POST /machine?comp=health`.
 *
 * @throws FabricError ERR_WIRE_REQUEST_MALFORMED
 */
export async function parseHealth(body: string): Promise<PostedHealth> {
  const root = await parseXml(body, "Health");
  const container = child(root, "Container");
  const role = child(child(container, "RoleInstanceList"), "Role");
  const health = child(role, "Health");
  const details = findChild(health, "Details");
  return {
    containerId: text(child(container, "ContainerId")),
    report: reportOf(
      text(child(health, "State")),
      parseIncarnation(text(child(root, "GoalStateIncarnation"))),
      { subStatus: findText(details, "SubStatus"), description: findText(details, "Description") },
    ),
  };
}

/**
 * Reads the body of `POST /machine?comp=roleProperties`.
 *
 * @throws FabricError ERR_WIRE_REQUEST_MALFORMED
 */
export async function parseRoleProperties(body: string): Promise<PostedRoleProperties> {
  const root = await parseXml(body, "RoleProperties");
  const container = child(root, "Container");
  const instance = child(child(container, "RoleInstances"), "RoleInstance");
  const list = children(child(instance, "Properties"), "Property");
  if (list.length > PROPERTIES_MAX) throw malformed(`more than ${PROPERTIES_MAX} properties`);
  const properties = new Map(
    list.map((property) => [
      bounded(attribute(property, "name"), PROPERTY_NAME_CHARACTERS_MAX, "a property's name"),
      bounded(attribute(property, "value"), PROPERTY_VALUE_CHARACTERS_MAX, "a property's value"),
    ]),
  );
  return { containerId: text(child(container, "ContainerId")), properties };
}

/**
 * Reads the body of `POST /provisioning/health`, which azure-init sends without ever asking for a goal state.
 *
 * @param incarnation - the container's own: this document carries none
 * @throws FabricError ERR_WIRE_REQUEST_MALFORMED
 */
export function parseProvisioningHealth(body: string, incarnation: number): HealthReport {
  const parsed = healthJson.safeParse(parseJson(body));
  if (!parsed.success) throw malformed(z.prettifyError(parsed.error));
  return reportOf(parsed.data.state, incarnation, parsed.data.details ?? {});
}

type XmlNode = Readonly<Record<string, unknown>>;

async function parseXml(body: string, rootName: string): Promise<XmlNode> {
  if (body === "") throw malformed("the body is empty");
  // No guest sends one, and a document type is where XML's own attacks start.
  if (/<!DOCTYPE/i.test(body)) throw malformed("a document type is not allowed");
  const parsed: unknown = await parseStringPromise(body, {
    strict: true,
    async: false,
    explicitArray: true,
    explicitCharkey: true,
    emptyTag: () => ({}),
    attrkey: "$",
    charkey: "_",
  }).catch((cause: unknown) => {
    throw malformed(`the XML is not well-formed: ${errorText(cause)}`);
  });
  const root = isNode(parsed) ? parsed[rootName] : undefined;
  if (!isNode(root)) throw malformed(`the root element is not ${rootName}`);
  return root;
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw malformed(`the JSON is not well-formed: ${errorText(cause)}`);
  }
}

function isNode(value: unknown): value is XmlNode {
  return typeof value === "object" && value !== null;
}

/** With `explicitArray`, every element is in an array under its name. */
function children(node: XmlNode, name: string): readonly XmlNode[] {
  const list = Object.hasOwn(node, name) ? node[name] : undefined;
  return Array.isArray(list) ? list.filter(isNode) : [];
}

function findChild(node: XmlNode, name: string): XmlNode | undefined {
  return children(node, name)[0];
}

function child(node: XmlNode, name: string): XmlNode {
  const found = findChild(node, name);
  if (found === undefined) throw malformed(`the element ${name} is missing`);
  return found;
}

function text(node: XmlNode): string {
  const value = node["_"];
  return typeof value === "string" ? value.trim() : "";
}

function attribute(node: XmlNode, name: string): string {
  const attributes = node["$"];
  const value = isNode(attributes) ? attributes[name] : undefined;
  if (typeof value !== "string") throw malformed(`the attribute ${name} is missing`);
  return value;
}

function findText(node: XmlNode | undefined, name: string): string | undefined {
  const found = node === undefined ? undefined : findChild(node, name);
  return found && bounded(text(found), DESCRIPTION_CHARACTERS_MAX, name);
}

function reportOf(
  state: string,
  incarnation: number,
  details: { readonly subStatus?: string | undefined; readonly description?: string | undefined },
): HealthReport {
  const { subStatus, description } = details;
  return {
    state: parseState(state),
    ...(subStatus === undefined ? {} : { subStatus }),
    ...(description === undefined ? {} : { description }),
    incarnation,
  };
}

function bounded(value: string, charactersMax: number, what: string): string {
  if (value.length <= charactersMax) return value;
  throw malformed(`${what} is longer than ${charactersMax} characters`);
}

/** azure-init's published draft has lower-case states, so case does not count. */
function parseState(value: string): HealthReport["state"] {
  switch (value.toLowerCase()) {
    case "ready":
      return "Ready";
    case "notready":
      return "NotReady";
    default:
      throw malformed(`the state "${value.slice(0, 40)}" is neither Ready nor NotReady`);
  }
}

function parseIncarnation(value: string): number {
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw malformed("GoalStateIncarnation is not a number");
}

function malformed(message: string): Error {
  return refuse("ERR_WIRE_REQUEST_MALFORMED", message);
}
