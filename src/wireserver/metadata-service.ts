/** The instance metadata service, port 80 of 169.254.169.254. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { createGuestService, type GuestServiceOptions, notFoundText } from "./http-service.ts";
import { instanceMetadataOf, type MetadataPlace, type MetadataValue } from "./instance-metadata.ts";
import { refuse } from "./refusal.ts";

const BODY_BYTES_MAX = 16 * 1024;
const JSON_TYPE = "application/json; charset=utf-8";
const API_VERSION = /^\d{4}-\d\d-\d\d$/;
const INSTANCE_PATH = "/metadata/instance";

const PLACE_DEFAULT: MetadataPlace = {
  location: "goalstate",
  vmSize: "Standard_G1",
  adminUsername: "azureuser",
};

/** What {@link createMetadataService} needs. */
export interface MetadataServiceOptions extends GuestServiceOptions {
  /** What is said of the place; every part has a default. */
  readonly place?: Partial<MetadataPlace>;
}

/** Makes the metadata service. It does not listen; see `createWireServer`. */
export function createMetadataService(options: MetadataServiceOptions): FastifyInstance {
  const place = { ...PLACE_DEFAULT, ...options.place };
  return createGuestService({
    ...options,
    bodyBytesMax: BODY_BYTES_MAX,
    errorBody: { type: JSON_TYPE, render: ({ message }) => JSON.stringify({ error: message }) },
    handle: (caller, request, reply) => {
      // Put together as text: a path that begins with two slashes must not become a host.
      const url = URL.parse(`http://metadata${request.url}`);
      if (url === null) throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
      const names = requireInstancePath(request, url);
      assertMetadataRequest(request, url);
      const value = findValue(instanceMetadataOf(caller, place), names);
      if (value === undefined) throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
      options.observer.contact(caller, { kind: "metadata" });
      return sendValue(reply, value, url);
    },
  });
}

function requireInstancePath(request: FastifyRequest, url: URL): readonly string[] {
  const path = url.pathname.replace(/\/+$/, "").toLowerCase();
  const inside = path === INSTANCE_PATH || path.startsWith(`${INSTANCE_PATH}/`);
  if (request.method !== "GET" || !inside) {
    throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
  }
  return path
    .slice(INSTANCE_PATH.length)
    .split("/")
    .filter((name) => name !== "");
}

/** The rules that keep a guest's own web programs from being tricked into asking for others. */
function assertMetadataRequest(request: FastifyRequest, url: URL): void {
  // WALinuxAgent writes True.
  if (String(request.headers["metadata"]).toLowerCase() !== "true") {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", "Bad request: send the header Metadata: true");
  }
  if (request.headers["x-forwarded-for"] !== undefined) {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", "Bad request: X-Forwarded-For is not allowed");
  }
  if (!API_VERSION.test(url.searchParams.get("api-version") ?? "")) {
    throw refuse(
      "ERR_WIRE_REQUEST_MALFORMED",
      "Bad request: api-version is missing or unknown; newest versions: 2023-11-15, 2021-12-13",
    );
  }
}

/** Walks down the tree; names have no case, and a number picks from a list. */
function findValue(root: MetadataValue, names: readonly string[]): MetadataValue | undefined {
  let value: MetadataValue | undefined = root;
  for (const name of names) {
    if (typeof value !== "object") return undefined;
    value = Object.entries(value).find(([key]) => key.toLowerCase() === name)?.[1];
  }
  return value;
}

/** A leaf is text; Ignition takes an empty text with 200 for "none". */
function sendValue(reply: FastifyReply, value: MetadataValue, url: URL): FastifyReply {
  if (typeof value !== "object") return reply.type("text/plain; charset=utf-8").send(String(value));
  if (url.searchParams.get("format") === "text") {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", "Bad request: format=text is for single values");
  }
  return reply.type(JSON_TYPE).send(JSON.stringify(value));
}
