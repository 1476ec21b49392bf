/**
 * The host plugin, port 32526 of 168.63.129.16. It must answer: WALinuxAgent 2.15 never reports Ready if the port
 * is closed, or if `/vmSettings` gives anything but 200, 304, 404 or 410.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { errorText } from "../model/errors.ts";
import { type Ipv4Address, WIRE_SERVER_ADDRESS } from "../model/ipv4-address.ts";
import { answerVmSettings } from "./extensions/vm-settings.ts";
import {
  bodyText,
  createGuestService,
  type GuestServiceOptions,
  notFoundText,
} from "./http-service.ts";
import { refuse } from "./refusal.ts";
import { type BlobRequest, STATUS_BLOB_BYTES_MAX, StatusBlobs } from "./store/status-blob.ts";
import {
  putStatus,
  requireStoreItem,
  type StoreParts,
  sendStoreItem,
} from "./store/store-service.ts";
import type { WireContainer, WireRequestKind } from "./wire-container.ts";
import type { WireVault } from "./wire-host.ts";
import { parseWireQuery } from "./wire-query.ts";
import { isConfigNameOf, ownRequestOf } from "./wire-urls.ts";

/** A status of the greatest length in base64, and the JSON around it. */
const STATUS_BODY_BYTES_MAX = Math.ceil((STATUS_BLOB_BYTES_MAX * 4) / 3) + 16 * 1024;
/** Logs are dropped as they come, so their bound is one of time and not of memory. */
const LOG_BYTES_MAX = 64 * 1024 * 1024;
const JSON_TYPE = "application/json; charset=utf-8";
const WIRE_SERVER_PORT = 80;
const URL_CHARACTERS_MAX = 4_096;
const HEADERS_MAX = 32;
const HEADER_CHARACTERS_MAX = 1_024;

/** Port of the host plugin; it is fixed in the clients. */
export const HOST_PLUGIN_PORT = 32_526;

/** The only version there is. */
export const HOST_PLUGIN_VERSIONS: readonly string[] = ["2015-09-01"];

/** What {@link createHostPlugin} needs. */
export interface HostPluginOptions extends GuestServiceOptions {
  /** Where guests reach the wire server, whose store this service reads and writes for them; its address by default. */
  readonly endpoint?: Ipv4Address;
  /** As {@link HostPluginOptions.endpoint}; 80 unless a test says otherwise. */
  readonly port?: number;
}

/** Everything that a route's work may look at. */
interface Exchange {
  readonly caller: WireContainer;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly parts: StoreParts & { readonly vault: WireVault | undefined };
}

interface Route {
  readonly kind: WireRequestKind;
  handle(exchange: Exchange): FastifyReply | Promise<FastifyReply>;
}

const ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  ["GET /versions", { kind: "hostPluginVersions", handle: getVersions }],
  ["GET /health", { kind: "hostPluginHealth", handle: ({ reply }) => reply.send() }],
  ["GET /vmSettings", { kind: "vmSettings", handle: getVmSettings }],
  ["GET /extensionArtifact", { kind: "extensionArtifact", handle: getArtifact }],
  // Zips of the agent's own logs, once an hour.
  ["PUT /vmAgentLog", { kind: "hostPluginLog", handle: ({ reply }) => reply.send() }],
  ["PUT /status", { kind: "hostPluginStatus", handle: putStatusBlob }],
]);

/** What the agent describes: the request that it would have sent to the storage itself. */
const DescribedRequestSchema = z.object({
  requestUri: z.string().max(URL_CHARACTERS_MAX),
  headers: z
    .array(
      z.object({
        headerName: z.string().max(HEADER_CHARACTERS_MAX),
        headerValue: z.coerce.string().max(HEADER_CHARACTERS_MAX),
      }),
    )
    .max(HEADERS_MAX)
    .default([]),
  content: z.base64().nullish(),
});

/** Makes the host plugin's service. It does not listen; see `createWireServer`. */
export function createHostPlugin(options: HostPluginOptions): FastifyInstance {
  const { observer } = options;
  const parts: Exchange["parts"] = {
    authority: {
      address: options.endpoint ?? WIRE_SERVER_ADDRESS,
      port: options.port ?? WIRE_SERVER_PORT,
    },
    observer,
    artifacts: options.artifacts,
    vault: options.vault,
    blobs: new StatusBlobs(),
  };
  return createGuestService({
    ...options,
    service: "hostPlugin",
    bodyBytesMax: STATUS_BODY_BYTES_MAX,
    uploads: { path: "/vmAgentLog", bytesMax: LOG_BYTES_MAX, isDropped: true },
    errorBody: {
      type: JSON_TYPE,
      render: ({ wireCode, message }) =>
        JSON.stringify({ errorCode: wireCode, message, details: "" }),
    },
    handle: (caller, request, reply) => {
      const route = ROUTES.get(`${request.method} ${parseWireQuery(request.url).path}`);
      if (route === undefined) throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
      assertOwnContainer(caller, request);
      observer.contact(caller, { kind: route.kind });
      return route.handle({ caller, request, reply, parts });
    },
  });
}

function getVersions({ reply }: Exchange): FastifyReply {
  return reply.type(JSON_TYPE).send(JSON.stringify(HOST_PLUGIN_VERSIONS));
}

/** 404 is "not offered" to every agent version; it asks again after six hours. */
async function getVmSettings({ caller, request, reply, parts }: Exchange): Promise<FastifyReply> {
  if (caller.fastTrack !== true) throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  const known = request.headers["if-none-match"];
  const { etag, body } = await answerVmSettings(caller, parts.authority, parts.vault, known);
  reply.header("etag", etag);
  return body === undefined ? reply.code(304).send() : reply.type(JSON_TYPE).send(body);
}

/** For agents that do not reach the storage themselves. Here it is ours, and nothing is fetched from elsewhere. */
async function getArtifact({ caller, request, reply, parts }: Exchange): Promise<FastifyReply> {
  const location = request.headers["x-ms-artifact-location"];
  if (typeof location !== "string") {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", "the header x-ms-artifact-location is missing");
  }
  const { path } = ownRequest(location, parts);
  return sendStoreItem(parts, caller, requireStoreItem(caller, path), request, reply);
}

/** Does what the agent describes to its status blob. */
async function putStatusBlob({ caller, request, reply, parts }: Exchange): Promise<FastifyReply> {
  const described = parseDescribedRequest(bodyText(request));
  const { path, comp } = ownRequest(described.requestUri, parts);
  if (requireStoreItem(caller, path).kind !== "status") {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", "requestUri is not that of the status blob");
  }
  const headers = new Map(
    described.headers.map(({ headerName, headerValue }) => [headerName.toLowerCase(), headerValue]),
  );
  const upload: BlobRequest = {
    comp,
    header: (name) => headers.get(name),
    body: Buffer.from(described.content ?? "", "base64"),
  };
  await putStatus(parts, caller, upload, request.ip);
  return reply.code(200).send();
}

function parseDescribedRequest(text: string): z.infer<typeof DescribedRequestSchema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", `the body is no JSON: ${errorText(cause)}`);
  }
  const parsed = DescribedRequestSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw refuse("ERR_WIRE_REQUEST_MALFORMED", z.prettifyError(parsed.error));
}

function ownRequest(url: string, { authority }: StoreParts): ReturnType<typeof parseWireQuery> {
  const own = ownRequestOf(url, authority);
  if (own !== undefined) return parseWireQuery(own);
  throw refuse(
    "ERR_WIRE_REQUEST_MALFORMED",
    `${url.slice(0, 200)} is not a URL of this wire server's store`,
  );
}

/** Only what is sent counts: `/health` carries no container id at all, and `/versions` no name of a configuration. */
function assertOwnContainer(caller: WireContainer, request: FastifyRequest): void {
  const containerId = request.headers["x-ms-containerid"];
  if (
    containerId !== undefined &&
    String(containerId).toLowerCase() !== caller.containerId.toLowerCase()
  ) {
    throw refuse("ERR_WIRE_RESOURCE_STALE", "wrong x-ms-containerid, ask for the goal state again");
  }
  const name = request.headers["x-ms-host-config-name"];
  if (name === undefined || isConfigNameOf(caller, String(name))) return;
  throw refuse(
    "ERR_WIRE_CONFIGURATION_FOREIGN",
    "wrong x-ms-host-config-name, ask for the goal state again",
  );
}
