/** HTTP to the wire server, with the protocol's rules on what to try again. */

import { Agent, type IncomingMessage, request } from "node:http";
import { errorText, FabricError } from "../model/errors.ts";
import {
  type GoalState,
  type Health,
  parseGoalState,
  parseVersions,
  renderHealth,
  renderRoleProperty,
} from "./documents.ts";
import { type AgentEdge, type Backoff, backoffMs } from "./edge.ts";

/** The version that every client of the real service speaks. */
const WIRE_VERSION = "2012-11-30";
const AGENT_NAME = "goalstate-agent";
const TIMEOUT_MS = 10_000;
const BODY_BYTES_MAX = 1024 * 1024;

/** Worth another try at once: the answer was no decision on what was asked. */
const RETRY_STATUSES: ReadonlySet<number> = new Set([
  205, 206, 403, 429, 500, 501, 502, 503, 504, 507,
]);
/** 204 is a failure to WALinuxAgent as well. */
const SUCCESS_STATUSES: ReadonlySet<number> = new Set([200, 201, 202]);
const GONE = 410;

/** How often and after which waits things are tried again. */
export interface RetryPolicy {
  readonly triesMax: number;
  readonly backoff: Backoff;
  /** While the goal state has no role instance yet. */
  readonly instanceTriesMax: number;
  readonly instanceWaitMs: number;
}

export const RETRY_POLICY: RetryPolicy = {
  triesMax: 6,
  backoff: { baseMs: 1_000, maxMs: 13_000 },
  instanceTriesMax: 6,
  instanceWaitMs: 500,
};

/** What {@link createWireClient} needs. */
export interface WireClientOptions {
  /** Host name or address, with a port if it is not 80. */
  readonly authority: string;
  readonly edge: AgentEdge;
  /** Ends every wait and request. */
  readonly signal: AbortSignal;
  readonly retryPolicy?: RetryPolicy;
}

/**
 * The wire server as the agent sees it. Every call rejects with a FabricError: ERR_AGENT_RESOURCE_GONE means "ask
 * for the goal state again", all others "later".
 */
export interface WireClient {
  /** Rejects if the server does not speak our version. */
  checkVersions(): Promise<void>;
  fetchGoalState(): Promise<GoalState>;
  /** @param url - from the goal state, used verbatim */
  fetchDocument(url: string): Promise<string>;
  reportHealth(goalState: GoalState, health: Health): Promise<void>;
  reportRoleProperty(goalState: GoalState, name: string, value: string): Promise<void>;
}

/** Makes a client; it holds no connection. */
export function createWireClient(options: WireClientOptions): WireClient {
  const base = `http://${options.authority}`;
  const get = (url: string) => exchange(options, { method: "GET", url });
  const post = async (url: string, body: string) => {
    await exchange(options, { method: "POST", url, body });
  };
  return {
    checkVersions: async () => {
      const versions = await parseVersions(await get(`${base}/?comp=versions`));
      if (versions.includes(WIRE_VERSION)) return;
      throw new FabricError(
        "ERR_AGENT_VERSION_UNSUPPORTED",
        `the wire server speaks ${versions.join(", ")}, not ${WIRE_VERSION}`,
      );
    },
    fetchGoalState: () => fetchGoalState(options, () => get(`${base}/machine/?comp=goalstate`)),
    fetchDocument: get,
    reportHealth: (goalState, health) =>
      post(`${base}/machine?comp=health`, renderHealth(goalState, health)),
    reportRoleProperty: (goalState, name, value) =>
      post(`${base}/machine?comp=roleProperties`, renderRoleProperty(goalState, name, value)),
  };
}

/** A goal state may come before its role instance; that passes within seconds. */
async function fetchGoalState(
  { edge, signal, retryPolicy = RETRY_POLICY }: WireClientOptions,
  get: () => Promise<string>,
): Promise<GoalState> {
  for (let tries = 1; tries <= retryPolicy.instanceTriesMax && !signal.aborted; tries++) {
    const goalState = await parseGoalState(await get());
    if (goalState !== undefined) return goalState;
    await edge.sleep(retryPolicy.instanceWaitMs, signal);
  }
  throw new FabricError("ERR_AGENT_NO_ROLE_INSTANCE", "the goal state has no RoleInstance yet");
}

interface WireRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly body?: string;
}

type Outcome =
  | { readonly kind: "done"; readonly body: string }
  | { readonly kind: "retry"; readonly reason: string }
  | { readonly kind: "failed"; readonly error: FabricError };

async function exchange(options: WireClientOptions, wire: WireRequest): Promise<string> {
  const { edge, signal, retryPolicy = RETRY_POLICY } = options;
  for (let tries = 1; ; tries++) {
    const outcome = await tryOnce(wire, signal);
    if (outcome.kind === "done") return outcome.body;
    if (outcome.kind === "failed") throw outcome.error;
    if (tries >= retryPolicy.triesMax || signal.aborted) {
      throw new FabricError(
        "ERR_AGENT_WIRE_SERVER_UNREACHABLE",
        `${wire.method} ${wire.url} failed ${tries} times: ${outcome.reason}`,
      );
    }
    const waitMs = backoffMs(retryPolicy.backoff, tries, edge.random());
    edge.log(
      `${wire.method} ${wire.url}: ${outcome.reason}; trying again in ${waitMs.toFixed()} ms`,
    );
    await edge.sleep(waitMs, signal);
  }
}

async function tryOnce(wire: WireRequest, signal: AbortSignal): Promise<Outcome> {
  try {
    const { status, body } = await send(wire, signal);
    if (SUCCESS_STATUSES.has(status)) return { kind: "done", body };
    if (RETRY_STATUSES.has(status)) return { kind: "retry", reason: `status ${status}` };
    const text = `${wire.method} ${wire.url} was answered with status ${status}`;
    const code = status === GONE ? "ERR_AGENT_RESOURCE_GONE" : "ERR_AGENT_REQUEST_REFUSED";
    return { kind: "failed", error: new FabricError(code, text) };
  } catch (cause) {
    return { kind: "retry", reason: errorText(cause) };
  }
}

async function send(
  { method, url, body }: WireRequest,
  signal: AbortSignal,
): Promise<{ status: number; body: string }> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const headers: Record<string, string> = {
    "x-ms-version": WIRE_VERSION,
    "x-ms-agent-name": AGENT_NAME,
    ...(body === undefined ? {} : { "content-type": "text/xml;charset=utf-8" }),
  };
  // An agent of its own: the global one may be told by the environment to use a proxy, and this address never has one.
  const agent = new Agent({ keepAlive: false });
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request(url, { method, headers, agent, signal: within }, resolve);
    outgoing.on("error", reject);
    outgoing.end(body);
  });
  return { status: response.statusCode ?? 0, body: await readBounded(response) };
}

async function readBounded(response: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let lengthBytes = 0;
  for await (const chunk of response) {
    lengthBytes += chunk.length;
    if (lengthBytes > BODY_BYTES_MAX) throw new Error(`the body exceeds ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
