/**
 * The host plugin, port 32526 of 168.63.129.16. It must answer: WALinuxAgent 2.15 never reports Ready if the port
 * is closed, or if `/vmSettings` gives anything but 200, 304, 404 or 410.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { createGuestService, type GuestServiceOptions, notFoundText } from "./http-service.ts";
import { refuse } from "./refusal.ts";
import type { WireContainer, WireRequestKind } from "./wire-container.ts";
import { parseWireQuery } from "./wire-query.ts";

/** A status with many extensions, in base64 inside JSON. */
const STATUS_BODY_BYTES_MAX = 1024 * 1024;
const JSON_TYPE = "application/json; charset=utf-8";

/** Port of the host plugin; it is fixed in the clients. */
export const HOST_PLUGIN_PORT = 32_526;

/** The only version there is. */
export const HOST_PLUGIN_VERSIONS: readonly string[] = ["2015-09-01"];

/** Makes the host plugin's service. It does not listen; see `createWireServer`. */
export function createHostPlugin(options: GuestServiceOptions): FastifyInstance {
  const { observer } = options;
  return createGuestService({
    ...options,
    service: "hostPlugin",
    bodyBytesMax: STATUS_BODY_BYTES_MAX,
    errorBody: {
      type: JSON_TYPE,
      render: ({ wireCode, message }) =>
        JSON.stringify({ errorCode: wireCode, message, details: "" }),
    },
    handle: (caller, request, reply) => {
      const kind = requireKind(request);
      assertOwnContainer(caller, request);
      observer.contact(caller, { kind });
      return answer(kind, request, reply);
    },
  });
}

function requireKind(request: FastifyRequest): WireRequestKind {
  switch (`${request.method} ${parseWireQuery(request.url).path}`) {
    case "GET /versions":
      return "hostPluginVersions";
    case "GET /health":
      return "hostPluginHealth";
    case "GET /vmSettings":
      return "vmSettings";
    case "PUT /status":
      return "hostPluginStatus";
    default:
      throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  }
}

function answer(kind: WireRequestKind, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (kind === "hostPluginVersions") {
    return reply.type(JSON_TYPE).send(JSON.stringify(HOST_PLUGIN_VERSIONS));
  }
  // 404 is "not offered" to every agent version; it asks again after six hours.
  if (kind === "vmSettings") throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  return reply.code(200).send();
}

/** Only what is sent counts: `/health` carries no container id at all. */
function assertOwnContainer(caller: WireContainer, request: FastifyRequest): void {
  const containerId = request.headers["x-ms-containerid"];
  if (containerId === undefined) return;
  if (String(containerId).toLowerCase() === caller.containerId.toLowerCase()) return;
  throw refuse("ERR_WIRE_RESOURCE_STALE", "wrong x-ms-containerid, ask for the goal state again");
}
