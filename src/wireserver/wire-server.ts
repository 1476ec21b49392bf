/** The wire server's routes, port 80 of 168.63.129.16: parse the request, ask, render. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Ipv4Address } from "../model/ipv4-address.ts";
import {
  CONFIG_TYPES,
  type ConfigType,
  goalStateOf,
  hostingEnvironmentOf,
  sharedConfigOf,
  type WireAuthority,
} from "./documents.ts";
import { createGuestService, type GuestServiceOptions, notFoundText } from "./http-service.ts";
import { parseHealth, parseProvisioningHealth, parseRoleProperties } from "./posted-documents.ts";
import { refuse } from "./refusal.ts";
import {
  renderFullConfig,
  renderGoalState,
  renderHostingEnvironment,
  renderSharedConfig,
  renderVersions,
} from "./render-documents.ts";
import type { WireContainer, WireObserver, WireRequestKind } from "./wire-container.ts";
import { parseWireQuery, type WireQuery } from "./wire-query.ts";
import { XML_DECLARATION, xmlElement, xmlText } from "./xml.ts";

/** Telemetry is the largest that a guest posts: its event buffer is 64,512 bytes and some XML around it. */
export const WIRE_BODY_BYTES_MAX = 128 * 1024;

const XML_TYPE = "text/xml; charset=utf-8";
const HTTP_PORT = 80;

/** What {@link createWireServer} needs. */
export interface WireServerOptions extends GuestServiceOptions {
  /** Where guests reach this server: it is in every URL of a goal state. */
  readonly endpoint: Ipv4Address;
  /** As {@link WireServerOptions.endpoint}; 80 unless a test says otherwise. */
  readonly port?: number;
}

/** Everything that a route's work may look at. */
interface Exchange {
  readonly caller: WireContainer;
  readonly query: WireQuery;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly observer: WireObserver;
  readonly authority: WireAuthority;
}

type Route = (exchange: Exchange) => FastifyReply | Promise<FastifyReply>;

/** By method, path without its last slash, and `comp`. Configuration URLs, which name a container, are not here. */
const ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  ["GET  versions", getVersions],
  ["GET /machine versions", getVersions],
  ["GET /machine goalstate", getGoalState],
  ["POST /machine health", postHealth],
  ["POST /machine roleproperties", postRoleProperties],
  ["POST /machine telemetrydata", (exchange) => acceptUnread(exchange, "telemetrydata")],
  ["POST /provisioning/health ", postProvisioningHealth],
  ["POST /HealthService ", (exchange) => acceptUnread(exchange, "healthService")],
]);

/** `/machine/CONTAINER/INSTANCE`, as the goal state's URLs have it. */
const CONFIG_PATH = /^\/machine\/([^/]+)\/([^/]+)$/;

/**
 * Makes the wire server. It does not listen: `await app.ready()`, then `app.server.listen({ fd })`.
 *
 * Callers are known by their source address only; everybody else gets a 403.
 */
export function createWireServer(options: WireServerOptions): FastifyInstance {
  const authority = { address: options.endpoint, port: options.port ?? HTTP_PORT };
  return createGuestService({
    ...options,
    service: "wireServer",
    bodyBytesMax: WIRE_BODY_BYTES_MAX,
    errorBody: { type: XML_TYPE, render: renderError },
    handle: (caller, request, reply) => {
      const query = parseWireQuery(request.url);
      const exchange = {
        caller,
        query,
        request,
        reply,
        observer: options.observer,
        authority,
      };
      return findRoute(request.method, query)(exchange);
    },
  });
}

function findRoute(method: string, query: WireQuery): Route {
  const route = ROUTES.get(`${method} ${query.path} ${query.comp}`);
  if (route !== undefined) return route;
  if (method === "GET" && query.comp === "config" && CONFIG_PATH.test(query.path)) return getConfig;
  return ({ request }) => {
    throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  };
}

function getVersions(exchange: Exchange): FastifyReply {
  exchange.observer.contact(exchange.caller, { kind: "versions" });
  return sendXml(exchange.reply, renderVersions());
}

function getGoalState({ caller, request, reply, observer, authority }: Exchange): FastifyReply {
  if (!request.headers["x-ms-version"]) {
    throw refuse(
      "ERR_WIRE_VERSION_MISSING",
      "the header x-ms-version is missing; send x-ms-version: 2012-11-30",
    );
  }
  observer.contact(caller, { kind: "goalstate", incarnation: caller.incarnation });
  return sendXml(reply, renderGoalState(goalStateOf(caller, authority)));
}

function getConfig({ caller, query, request, reply, observer }: Exchange): FastifyReply {
  const type = CONFIG_TYPES.find((each) => each.toLowerCase() === query.type);
  if (type === undefined) throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  if (!isCurrent(caller, query)) {
    throw refuse("ERR_WIRE_RESOURCE_STALE", "stale, ask for the goal state again");
  }
  observer.contact(caller, { kind: type, incarnation: caller.incarnation });
  return sendXml(reply, renderConfig(caller, type));
}

/** True if a configuration URL is from the container's present goal state. */
function isCurrent(caller: WireContainer, { path, incarnation }: WireQuery): boolean {
  const [, containerId = "", instanceId = ""] = CONFIG_PATH.exec(path) ?? [];
  return (
    encodesSame(containerId, caller.containerId) &&
    encodesSame(instanceId, caller.instanceId) &&
    incarnation === String(caller.incarnation)
  );
}

/** Clients may write fewer or more percent escapes than we do; a broken escape is just not the same. */
function encodesSame(encoded: string, value: string): boolean {
  try {
    return decodeURIComponent(encoded).toLowerCase() === value.toLowerCase();
  } catch {
    return false;
  }
}

function renderConfig(caller: WireContainer, type: ConfigType): string {
  switch (type) {
    case "hostingEnvironmentConfig":
      return renderHostingEnvironment(hostingEnvironmentOf(caller));
    case "sharedConfig":
      return renderSharedConfig(sharedConfigOf(caller));
    case "fullConfig":
      return renderFullConfig(hostingEnvironmentOf(caller), sharedConfigOf(caller));
    default:
      throw type satisfies never;
  }
}

async function postHealth({ caller, request, reply, observer }: Exchange): Promise<FastifyReply> {
  const { containerId, report } = await parseHealth(request.body);
  assertOwnContainer(caller, containerId);
  // Any incarnation is taken: clients send stale ones, and the vendor's own sample always sends 1.
  observer.contact(caller, { kind: "health", incarnation: report.incarnation });
  await stored(observer.health(caller, report));
  return reply.code(200).send();
}

async function postProvisioningHealth(exchange: Exchange): Promise<FastifyReply> {
  const { caller, request, reply, observer } = exchange;
  const report = parseProvisioningHealth(request.body, caller.incarnation);
  observer.contact(caller, { kind: "provisioningHealth" });
  await stored(observer.health(caller, report));
  return reply.code(201).send();
}

async function postRoleProperties(exchange: Exchange): Promise<FastifyReply> {
  const { caller, request, reply, observer } = exchange;
  const { containerId, properties } = await parseRoleProperties(request.body);
  assertOwnContainer(caller, containerId);
  observer.contact(caller, { kind: "roleProperties" });
  await stored(observer.roleProperties(caller, properties));
  return reply.code(202).send();
}

/** Telemetry and observations are evidence of life; their content is not kept. */
function acceptUnread({ caller, reply, observer }: Exchange, kind: WireRequestKind): FastifyReply {
  observer.contact(caller, { kind });
  return reply.code(200).type("text/plain").send();
}

/** A report for another container comes from a guest that had this address before, or was moved meanwhile. */
function assertOwnContainer(caller: WireContainer, containerId: string): void {
  if (containerId.toLowerCase() === caller.containerId.toLowerCase()) return;
  throw refuse(
    "ERR_WIRE_RESOURCE_STALE",
    `the report is for container ${containerId.slice(0, 64)}; ask for the goal state again`,
  );
}

async function stored(promise: Promise<void>): Promise<void> {
  try {
    await promise;
  } catch (cause) {
    throw refuse("ERR_WIRE_REPORT_NOT_STORED", "the report was not stored, send it again", cause);
  }
}

function sendXml(reply: FastifyReply, document: string): FastifyReply {
  return reply.type(XML_TYPE).send(document);
}

function renderError({ wireCode, message }: { wireCode: string; message: string }): string {
  const content =
    xmlText("Code", wireCode) + xmlText("Message", message) + xmlElement("Details", {});
  return XML_DECLARATION + xmlElement("Error", {}, content);
}
