/** What documents point to: manifests and packages of extensions, the artifacts profile, the status blob. */

import type { FastifyReply, FastifyRequest } from "fastify";
import { statusBlobTypeOf } from "../extensions/extensions-document.ts";
import { renderManifest } from "../extensions/render-extensions.ts";
import { refuse, stored } from "../refusal.ts";
import type { WireContainer, WireObserver } from "../wire-container.ts";
import type { WireArtifacts } from "../wire-host.ts";
import {
  findStoreItem,
  parseStorePath,
  type StoreItem,
  storeUrl,
  type WireAuthority,
} from "../wire-urls.ts";
import { readAgentStatus } from "./agent-status.ts";
import { sendArtifact } from "./artifact-body.ts";
import type { BlobRequest, StatusBlobs } from "./status-blob.ts";

const XML_TYPE = "text/xml; charset=utf-8";
const JSON_TYPE = "application/json; charset=utf-8";
/** Extensions are never held back: the goal has none that should not be there now. */
const PROFILE = JSON.stringify({ onHold: false });

/** What serving the store needs. */
export interface StoreParts {
  readonly authority: WireAuthority;
  readonly artifacts: WireArtifacts | undefined;
  readonly observer: WireObserver;
  readonly blobs: StatusBlobs;
}

/**
 * Finds what of the caller's store a path stands for.
 *
 * @param path - of a URL, without its query
 * @throws FabricError ERR_WIRE_RESOURCE_STALE for another container's, ERR_WIRE_NOT_FOUND
 */
export function requireStoreItem(caller: WireContainer, path: string): StoreItem {
  const parsed = parseStorePath(path);
  if (parsed === undefined) throw notThere(path);
  if (parsed.instanceId.toLowerCase() !== caller.instanceId.toLowerCase()) {
    throw refuse(
      "ERR_WIRE_RESOURCE_STALE",
      "the URL is of another instance, ask for the goal state again",
    );
  }
  const item = findStoreItem(caller, parsed.name);
  if (item === undefined) throw notThere(path);
  return item;
}

/** Answers a `GET` or `HEAD`. */
export async function sendStoreItem(
  { authority, artifacts }: StoreParts,
  caller: WireContainer,
  item: StoreItem,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  switch (item.kind) {
    case "profile":
      return reply.type(JSON_TYPE).send(PROFILE);
    case "manifest": {
      const { extension } = item;
      const url = storeUrl(caller, authority, { kind: "package", extension });
      return reply.type(XML_TYPE).send(renderManifest(extension, url));
    }
    case "package":
      return sendArtifact(artifacts, item.extension.package, request, reply);
    case "status":
      throw refuse("ERR_WIRE_NOT_FOUND", "the status blob can only be written");
    default:
      throw item satisfies never;
  }
}

/**
 * Writes to the status blob, and tells the observer of a status that is whole. The blob takes anything, as storage
 * does: what is no status is counted as a malformed request, and the answer is the same.
 *
 * @throws FabricError as {@link StatusBlobs.put}, and ERR_WIRE_REPORT_NOT_STORED
 */
export async function putStatus(
  { observer, blobs }: StoreParts,
  caller: WireContainer,
  request: BlobRequest,
  address: string,
): Promise<void> {
  const content = blobs.put(caller.name, statusBlobTypeOf(caller), request);
  if (content === undefined) return;
  const status = readAgentStatus(content);
  if (status === undefined) observer.refused(address, "malformed-request");
  else if (observer.agentStatus !== undefined) await stored(observer.agentStatus(caller, status));
}

function notThere(path: string): Error {
  return refuse("ERR_WIRE_NOT_FOUND", `nothing is in the store at ${path.slice(0, 200)}`);
}
