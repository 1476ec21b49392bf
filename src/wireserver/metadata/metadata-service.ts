/** The instance metadata service, port 80 of 169.254.169.254. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { FabricError } from "../../model/errors.ts";
import { createGuestService, type GuestServiceOptions, notFoundText } from "../http-service.ts";
import { refuse } from "../refusal.ts";
import { RequestBudget } from "../request-budget.ts";
import type { WireContainer } from "../wire-container.ts";
import type { WireAttester, WireEvents } from "../wire-host.ts";
import { API_VERSIONS, NEWEST_VERSIONS, requireApiVersion } from "./api-versions.ts";
import { parseAttestationQuestion } from "./attested-document.ts";
import { instanceMetadataOf, type MetadataPlace, SUBSCRIPTION_ID } from "./instance-metadata.ts";
import { findValue, type MetadataValue } from "./metadata-tree.ts";
import { NO_EVENTS, parseStartRequests, scheduledEventsOf } from "./scheduled-events.ts";

const BODY_BYTES_MAX = 16 * 1024;
const JSON_TYPE = "application/json; charset=utf-8";
const TEXT_TYPE = "text/plain; charset=utf-8";

/** In requests. */
const ATTESTATION_COST = 5;

const PLACE_DEFAULT: MetadataPlace = {
  location: "goalstate",
  vmSize: "Standard_G1",
  adminUsername: "azureuser",
};

/** What {@link createMetadataService} needs. */
export interface MetadataServiceOptions extends GuestServiceOptions {
  /** What is said of the place; every part has a default. */
  readonly place?: Partial<MetadataPlace>;
  /** Absent: nothing is ever scheduled. */
  readonly events?: WireEvents;
  /** Absent: nothing is attested, and the path is a 404. */
  readonly attester?: WireAttester;
  /** Milliseconds, that only grow. Absent: guests may ask as often as they can. */
  readonly now?: () => number;
}

/** A request whose headers are in order. */
interface MetadataRequest {
  readonly caller: WireContainer;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** The path after the route's own, in lower case. */
  readonly names: readonly string[];
  readonly query: URLSearchParams;
}

type Answer = (request: MetadataRequest) => FastifyReply | Promise<FastifyReply>;

/** What answers each method. */
type Route = Readonly<Partial<Record<"GET" | "POST", Answer>>>;

/** Makes the metadata service. It does not listen; see `createWireServer`. */
export function createMetadataService(options: MetadataServiceOptions): FastifyInstance {
  const { observer, now } = options;
  const budget = now === undefined ? undefined : new RequestBudget(now);
  /** False: the caller has asked too often. */
  const pay = (caller: WireContainer): boolean => budget?.take(caller.name) !== false;
  const routes = createRoutes(options, pay);
  return createGuestService({
    ...options,
    service: "metadata",
    bodyBytesMax: BODY_BYTES_MAX,
    errorBody: { type: JSON_TYPE, render: renderError },
    handle: async (caller, request, reply) => {
      // Put together as text: a path that begins with two slashes must not become a host.
      const url = URL.parse(`http://metadata${request.url}`);
      const found = url === null ? undefined : findRoute(routes, url.pathname);
      if (url === null || found === undefined) {
        throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
      }
      assertMeant(request);
      if (!pay(caller)) throw tooMany(reply);
      const { route, names } = found;
      const answer = request.method === "POST" ? route.POST : route.GET;
      if (answer === undefined || (request.method !== "GET" && request.method !== "POST")) {
        reply.header("allow", Object.keys(route).join(", "));
        throw refuse("ERR_WIRE_METHOD", `Method not allowed: ${request.method}`);
      }
      const answered = await answer({ caller, request, reply, names, query: url.searchParams });
      observer.contact(caller, { kind: "metadata" });
      return answered;
    },
  });
}

/** What is served, by the beginning of the path. */
function createRoutes(
  options: MetadataServiceOptions,
  pay: (caller: WireContainer) => boolean,
): ReadonlyMap<string, Route> {
  const versions = leaf(({ reply }) => sendJson(reply, { apiVersions: API_VERSIONS }));
  const { attester } = options;
  return new Map<string, Route>([
    ["/metadata/instance", { GET: instanceAnswer({ ...PLACE_DEFAULT, ...options.place }) }],
    ["/metadata/versions", { GET: versions }],
    ["/metadata/scheduledevents", eventsRoute(options.events)],
    ...(attester === undefined ? [] : [attestedRoute(attester, pay)]),
    ["/metadata/identity/oauth2/token", { GET: leaf(refuseToken) }],
    ["/microsoft.compute/identity", { GET: leaf(sendIdentity) }],
  ]);
}

function tooMany(reply: FastifyReply): FabricError {
  reply.header("retry-after", "1");
  return refuse("ERR_WIRE_TOO_MANY_REQUESTS", "Too many requests");
}

/** The route with the longest path that this one is, or is below. */
function findRoute(
  routes: ReadonlyMap<string, Route>,
  pathname: string,
): { readonly route: Route; readonly names: readonly string[] } | undefined {
  const names = pathname
    .toLowerCase()
    .split("/")
    .filter((name) => name !== "");
  for (let length = names.length; length > 0; length -= 1) {
    const route = routes.get(`/${names.slice(0, length).join("/")}`);
    if (route !== undefined) return { route, names: names.slice(length) };
  }
  return undefined;
}

/** The rules that keep a guest's own web programs from being tricked into asking for others. */
function assertMeant(request: FastifyRequest): void {
  // WALinuxAgent writes True.
  if (String(request.headers["metadata"]).toLowerCase() !== "true") {
    throw refuse(
      "ERR_WIRE_REQUEST_MALFORMED",
      "Bad request. Required metadata header not specified; send Metadata: true",
    );
  }
  if (request.headers["x-forwarded-for"] !== undefined) {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", "Bad request. X-Forwarded-For is not allowed");
  }
}

function instanceAnswer(place: MetadataPlace): Answer {
  // By the document that the directory gave: a new one is another key, and an old one is forgotten with its trees.
  const trees = new WeakMap<WireContainer, Map<string, MetadataValue>>();
  return ({ caller, request, reply, names, query }) => {
    const version = requireApiVersion(query.get("api-version"));
    const isExtended = query.get("extended")?.toLowerCase() === "true";
    const ofCaller = trees.getOrInsertComputed(caller, () => new Map());
    const tree = ofCaller.getOrInsertComputed(`${version} ${isExtended}`, () =>
      instanceMetadataOf(caller, place, version, isExtended),
    );
    const value = findValue(tree, names);
    if (value === undefined) throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request));
    return sendValue(reply, value, query.get("format"));
  };
}

/** A leaf is text; Ignition takes an empty text with 200 for "none". */
function sendValue(reply: FastifyReply, value: MetadataValue, format: string | null): FastifyReply {
  const isText = format?.toLowerCase() === "text";
  if (format !== null && !isText && format.toLowerCase() !== "json") {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", "Bad request. format is json or text");
  }
  if (typeof value !== "object") {
    if (!isText && format !== null) {
      throw refuse(
        "ERR_WIRE_REQUEST_MALFORMED",
        "Bad request. A single value is given as text; send format=text",
      );
    }
    return reply.type(TEXT_TYPE).send(String(value));
  }
  if (isText) {
    throw refuse("ERR_WIRE_REQUEST_MALFORMED", "Bad request. format=text is for single values");
  }
  return sendJson(reply, value);
}

function sendJson(reply: FastifyReply, value: unknown): FastifyReply {
  return reply.type(JSON_TYPE).send(JSON.stringify(value));
}

function eventsRoute(events: WireEvents | undefined): Route {
  return {
    GET: leaf(async ({ caller, reply, query }) => {
      const asked = query.get("api-version");
      requireApiVersion(asked);
      const list = events === undefined ? NO_EVENTS : await ask(() => events.list(caller.name));
      return sendJson(reply, scheduledEventsOf(list, asked ?? ""));
    }),
    POST: leaf(async ({ caller, request, reply, query }) => {
      requireApiVersion(query.get("api-version"));
      const ids = parseStartRequests(request.body);
      const isApproved =
        events !== undefined && (await ask(() => events.approve(caller.name, ids)));
      if (isApproved) return reply.code(200).send();
      throw refuse("ERR_WIRE_REQUEST_MALFORMED", "Bad request. There is no such event");
    }),
  };
}

/** A signature costs the node milliseconds, so it counts as several requests. */
function attestedRoute(
  attester: WireAttester,
  pay: (caller: WireContainer) => boolean,
): [string, Route] {
  const GET = leaf(async ({ caller, reply, query }) => {
    const version = requireApiVersion(query.get("api-version"));
    const question = parseAttestationQuestion(version, query.get("nonce"));
    for (let paid = 1; paid < ATTESTATION_COST; paid += 1) {
      if (!pay(caller)) throw tooMany(reply);
    }
    const signed = await ask(() => attester.attest(caller.name, question));
    const signature = Buffer.from(signed).toString("base64");
    return sendJson(reply, { encoding: "pkcs7", signature });
  });
  return ["/metadata/attested/document", { GET }];
}

/** What the host does not answer is no fault of the guest's. */
async function ask<T>(question: () => Promise<T>): Promise<T> {
  try {
    return await question();
  } catch (cause) {
    throw refuse("ERR_WIRE_REPORT_NOT_STORED", "the host does not answer, ask again", cause);
  }
}

/** Of a path that has nothing below it. */
function leaf(answer: Answer): Answer {
  return (request) => {
    if (request.names.length === 0) return answer(request);
    throw refuse("ERR_WIRE_NOT_FOUND", notFoundText(request.request));
  };
}

/** What Azure Stack serves; afterburn takes the host name from it. */
function sendIdentity({ caller, reply, query }: MetadataRequest): FastifyReply {
  requireApiVersion(query.get("api-version"));
  return sendJson(reply, { vmName: caller.roleInstance, subscriptionId: SUBSCRIPTION_ID });
}

/** As the real service answers a VM that was given no identity. */
function refuseToken(): never {
  throw refuse("ERR_WIRE_NO_IDENTITY", "Identity not found");
}

function renderError({ wireCode, message }: { wireCode: string; message: string }): string {
  switch (wireCode) {
    case "InvalidApiVersion":
      return JSON.stringify({ error: message, "newest-versions": NEWEST_VERSIONS });
    case "IdentityNotFound":
      return JSON.stringify({ error: "invalid_request", error_description: message });
    default:
      return JSON.stringify({ error: message });
  }
}
