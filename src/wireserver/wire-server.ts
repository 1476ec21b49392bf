/** The wire server's routes, port 80 of 168.63.129.16: parse the request, ask, render. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Ipv4Address } from "../model/ipv4-address.ts";
import { CertificateBundles } from "./certificates/certificate-bundles.ts";
import { readTransport, type Transport } from "./certificates/transport.ts";
import { hostingEnvironmentOf, sharedConfigOf } from "./documents.ts";
import { extensionsOf } from "./extensions/extensions-document.ts";
import { renderExtensionsConfig } from "./extensions/render-extensions.ts";
import { requireIdentity, sealSettings } from "./extensions/sealing.ts";
import type { FastRoute } from "./fast-path.ts";
import { GoalStateCache, XML_TYPE } from "./goal-state-cache.ts";
import {
  bodyBytes,
  bodyText,
  createGuestService,
  type GuestServiceOptions,
  notFoundText,
} from "./http-service.ts";
import { parseHealth, parseProvisioningHealth, parseRoleProperties } from "./posted-documents.ts";
import {
  RateRule,
  SECRET_CALLS_MAX,
  SECRET_PERIOD_MS,
  TELEMETRY_CALLS_MAX,
  TELEMETRY_PERIOD_MS,
} from "./rate-rule.ts";
import { refuse, stored } from "./refusal.ts";
import { renderRemoteAccess } from "./remote-access.ts";
import {
  renderFullConfig,
  renderHostingEnvironment,
  renderSharedConfig,
  renderVersions,
} from "./render-documents.ts";
import { STATUS_BLOB_BYTES_MAX, StatusBlobs } from "./store/status-blob.ts";
import {
  putStatus,
  requireStoreItem,
  type StoreParts,
  sendStoreItem,
} from "./store/store-service.ts";
import type { WireContainer, WireRequestKind } from "./wire-container.ts";
import type { WireVault } from "./wire-host.ts";
import { parseWireQuery, type WireQuery } from "./wire-query.ts";
import { CONFIG_TYPES, type ConfigType, isCurrent, isMachinePath } from "./wire-urls.ts";
import { XML_DECLARATION, xmlElement, xmlText } from "./xml.ts";

/** Of what is not written to the store. Telemetry is the largest: its event buffer is 64,512 bytes and some XML around it. */
export const WIRE_BODY_BYTES_MAX = 128 * 1024;

const HTTP_PORT = 80;
const VERSION_HEADER = "x-ms-version";

/** What {@link createWireServer} needs. */
export interface WireServerOptions extends GuestServiceOptions {
  /** Where guests reach this server: it is in every URL of a goal state. */
  readonly endpoint: Ipv4Address;
  /** As {@link WireServerOptions.endpoint}; 80 unless a test says otherwise. */
  readonly port?: number;
  /** Milliseconds of a clock that is never set back; the process's own unless a test says otherwise. */
  readonly now?: () => number;
}

/** Everything that a route's work may look at. */
interface Exchange {
  readonly caller: WireContainer;
  readonly query: WireQuery;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly parts: WireParts;
}

/** What lives as long as the server. */
interface WireParts extends StoreParts {
  readonly vault: WireVault | undefined;
  /** Absent: VMs have no certificates. */
  readonly bundles: CertificateBundles | undefined;
  readonly telemetry: RateRule;
  readonly secrets: RateRule;
  readonly goalStates: GoalStateCache;
}

type Route = (exchange: Exchange) => FastifyReply | Promise<FastifyReply>;

/** By method, path without its last slash, and `comp`. Configuration URLs, which name a container, are not here. */
const ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  ["GET  versions", getVersions],
  ["GET /machine versions", getVersions],
  ["GET /machine goalstate", getGoalState],
  ["POST /machine health", postHealth],
  ["POST /machine roleproperties", postRoleProperties],
  ["POST /machine telemetrydata", postTelemetry],
  ["POST /provisioning/health ", postProvisioningHealth],
  ["POST /HealthService ", (exchange) => acceptUnread(exchange, "healthService")],
]);

/** By `comp`: documents whose URL names a container, as the goal state has it. */
const MACHINE_ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  ["config", getConfig],
  ["certificates", getCertificates],
  ["remoteaccessinfo", getRemoteAccess],
]);

/**
 * Makes the wire server. It does not listen: `await app.ready()`, then `app.server.listen({ fd })`.
 *
 * Callers are known by their source address only; everybody else gets a 403.
 */
export function createWireServer(options: WireServerOptions): FastifyInstance {
  const authority = { address: options.endpoint, port: options.port ?? HTTP_PORT };
  const now = options.now ?? (() => performance.now());
  const parts: WireParts = {
    authority,
    goalStates: new GoalStateCache(authority, options.vault !== undefined),
    observer: options.observer,
    vault: options.vault,
    bundles: options.vault === undefined ? undefined : new CertificateBundles(options.vault),
    artifacts: options.artifacts,
    blobs: new StatusBlobs(),
    telemetry: new RateRule(TELEMETRY_CALLS_MAX, TELEMETRY_PERIOD_MS, now),
    secrets: new RateRule(SECRET_CALLS_MAX, SECRET_PERIOD_MS, now),
  };
  return createGuestService({
    ...options,
    service: "wireServer",
    bodyBytesMax: WIRE_BODY_BYTES_MAX,
    uploads: { path: "/store/*", bytesMax: STATUS_BLOB_BYTES_MAX },
    errorBody: { type: XML_TYPE, render: renderError },
    fast: fastGoalState(parts),
    handle: (caller, request, reply) => {
      const query = parseWireQuery(request.url);
      return findRoute(request.method, query)({ caller, query, request, reply, parts });
    },
  });
}

function findRoute(method: string, query: WireQuery): Route {
  const route = ROUTES.get(`${method} ${query.path} ${query.comp}`);
  if (route !== undefined) return route;
  const document = MACHINE_ROUTES.get(query.comp);
  if (method === "GET" && document !== undefined && isMachinePath(query.path)) return document;
  if (query.path.startsWith("/store/")) {
    if (method === "GET" || method === "HEAD") return getStoreItem;
    if (method === "PUT") return putStoreItem;
  }
  return ({ request }) => {
    throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  };
}

function getVersions(exchange: Exchange): FastifyReply {
  exchange.parts.observer.contact(exchange.caller, { kind: "versions" });
  return sendXml(exchange.reply, renderVersions());
}

function getGoalState({ caller, request, reply, parts }: Exchange): FastifyReply {
  if (!request.headers[VERSION_HEADER]) {
    throw refuse(
      "ERR_WIRE_VERSION_MISSING",
      "the header x-ms-version is missing; send x-ms-version: 2012-11-30",
    );
  }
  parts.observer.contact(caller, { kind: "goalstate", incarnation: caller.incarnation });
  return reply.type(XML_TYPE).send(parts.goalStates.render(caller).body);
}

/** The same answer as {@link getGoalState}, for the spellings that clients use. */
function fastGoalState({ goalStates, observer }: WireParts): FastRoute {
  return {
    urls: new Set(["/machine/?comp=goalstate", "/machine?comp=goalstate"]),
    answer: (caller, { rawHeaders }) => {
      if (!hasVersion(rawHeaders)) return undefined;
      const answer = goalStates.render(caller);
      observer.contact(caller, { kind: "goalstate", incarnation: caller.incarnation });
      return answer;
    },
  };
}

/** Names and values in turn. All of them would be sorted into an object first, only to look at one. */
function hasVersion(rawHeaders: readonly string[]): boolean {
  const index = rawHeaders.findIndex(
    (name, position) =>
      position % 2 === 0 &&
      name.length === VERSION_HEADER.length &&
      name.toLowerCase() === VERSION_HEADER,
  );
  return index >= 0 && rawHeaders[index + 1] !== "";
}

async function getConfig(exchange: Exchange): Promise<FastifyReply> {
  const { caller, query, request, reply, parts } = exchange;
  const type = CONFIG_TYPES.find((each) => each.toLowerCase() === query.type);
  if (type === undefined) throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  assertCurrent(exchange);
  const document = await renderConfig(parts, caller, type);
  parts.observer.contact(caller, { kind: type, incarnation: caller.incarnation });
  return sendXml(reply, document);
}

/** Never cached whole: what is sent can be read by the holder of one key, and the next who asks may have another. */
async function getCertificates(exchange: Exchange): Promise<FastifyReply> {
  const { caller, request, reply, parts } = exchange;
  if (parts.bundles === undefined) throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  assertCurrent(exchange);
  const transport = requireTransport(exchange);
  const document = await parts.bundles.render(caller, transport);
  parts.observer.contact(caller, { kind: "certificates", incarnation: caller.incarnation });
  return sendXml(reply, document);
}

function getRemoteAccess(exchange: Exchange): FastifyReply {
  const { caller, reply, parts } = exchange;
  assertCurrent(exchange);
  const document = renderRemoteAccess(caller, requireTransport(exchange));
  parts.observer.contact(caller, { kind: "remoteAccessInfo", incarnation: caller.incarnation });
  return sendXml(reply, document);
}

function requireTransport({ caller, request, parts }: Exchange): Transport {
  if (!parts.secrets.admits(caller.name)) throw tooOften(SECRET_CALLS_MAX, SECRET_PERIOD_MS);
  return readTransport(request.headers);
}

function assertCurrent({ caller, query }: Exchange): void {
  if (isCurrent(caller, query)) return;
  throw refuse("ERR_WIRE_RESOURCE_STALE", "stale, ask for the goal state again");
}

async function renderConfig(
  { authority, vault }: WireParts,
  caller: WireContainer,
  type: ConfigType,
): Promise<string> {
  switch (type) {
    case "hostingEnvironmentConfig":
      return renderHostingEnvironment(
        hostingEnvironmentOf(caller, await thumbprintsOf(vault, caller)),
      );
    case "sharedConfig":
      return renderSharedConfig(sharedConfigOf(caller));
    case "extensionsConfig":
      return renderExtensionsConfig(
        extensionsOf(caller, authority, await sealSettings(vault, caller)),
      );
    case "fullConfig":
      return renderFullConfig(hostingEnvironmentOf(caller), sharedConfigOf(caller));
    default:
      throw type satisfies never;
  }
}

/** Told to guests that were made for Azure. goalstate's own never asks, and no key is made for it. */
async function thumbprintsOf(
  vault: WireVault | undefined,
  caller: WireContainer,
): Promise<readonly string[]> {
  const { provisioning, extensions, certificates = [] } = caller;
  const isAzureGuest = provisioning !== undefined || extensions !== undefined;
  if (vault === undefined || !isAzureGuest) return [];
  const { thumbprint } = await requireIdentity(vault, caller);
  return [...new Set([thumbprint, ...certificates.map((each) => each.thumbprint)])];
}

async function getStoreItem({
  caller,
  query,
  request,
  reply,
  parts,
}: Exchange): Promise<FastifyReply> {
  const item = requireStoreItem(caller, query.path);
  parts.observer.contact(caller, { kind: "artifact" });
  return sendStoreItem(parts, caller, item, request, reply);
}

/** Storage answers 201, and WALinuxAgent takes anything else for a failure. */
async function putStoreItem({
  caller,
  query,
  request,
  reply,
  parts,
}: Exchange): Promise<FastifyReply> {
  if (requireStoreItem(caller, query.path).kind !== "status") {
    throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  }
  const header = (name: string) => request.headers[name]?.toString();
  parts.observer.contact(caller, { kind: "statusBlob" });
  const upload = { comp: query.comp, header, body: bodyBytes(request) };
  await putStatus(parts, caller, upload, request.ip);
  return reply.code(201).send();
}

async function postHealth({ caller, request, reply, parts }: Exchange): Promise<FastifyReply> {
  const { observer } = parts;
  const { containerId, report } = await parseHealth(bodyText(request));
  assertOwnContainer(caller, containerId);
  // Any incarnation is taken: clients send stale ones, and the vendor's own sample always sends 1.
  observer.contact(caller, { kind: "health", incarnation: report.incarnation });
  await stored(observer.health(caller, report));
  return reply.code(200).send();
}

async function postProvisioningHealth(exchange: Exchange): Promise<FastifyReply> {
  const { caller, request, reply } = exchange;
  const { observer } = exchange.parts;
  const report = parseProvisioningHealth(bodyText(request), caller.incarnation);
  observer.contact(caller, { kind: "provisioningHealth" });
  await stored(observer.health(caller, report));
  return reply.code(201).send();
}

async function postRoleProperties(exchange: Exchange): Promise<FastifyReply> {
  const { caller, request, reply } = exchange;
  const { observer } = exchange.parts;
  const { containerId, properties } = await parseRoleProperties(bodyText(request));
  assertOwnContainer(caller, containerId);
  observer.contact(caller, { kind: "roleProperties" });
  await stored(observer.roleProperties(caller, properties));
  return reply.code(202).send();
}

function postTelemetry(exchange: Exchange): FastifyReply {
  const { caller, parts } = exchange;
  if (parts.telemetry.admits(caller.name)) return acceptUnread(exchange, "telemetrydata");
  throw tooOften(TELEMETRY_CALLS_MAX, TELEMETRY_PERIOD_MS);
}

function tooOften(calls: number, periodMs: number): Error {
  return refuse("ERR_WIRE_RATE_LIMIT", `more than ${calls} calls in ${periodMs / 1_000} s`);
}

/** Telemetry and observations are evidence of life; their content is not kept. */
function acceptUnread({ caller, reply, parts }: Exchange, kind: WireRequestKind): FastifyReply {
  parts.observer.contact(caller, { kind });
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

function sendXml(reply: FastifyReply, document: string): FastifyReply {
  return reply.type(XML_TYPE).send(document);
}

function renderError({ wireCode, message }: { wireCode: string; message: string }): string {
  const content =
    xmlText("Code", wireCode) + xmlText("Message", message) + xmlElement("Details", {});
  return XML_DECLARATION + xmlElement("Error", {}, content);
}
