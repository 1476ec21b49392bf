/** One request and what became of it: as it is kept, and as the commands show it. */
import { z } from "zod";
import {
  type DropEvent,
  type ExchangeEvent,
  findMessageTypeName,
  isExchangeEvent,
} from "../../dhcp/index.ts";
import { formatIpv4 } from "../../model/ipv4-address.ts";
import { formatMac, type MacAddress } from "../../model/mac-address.ts";
import type { JournalEntry, JournalOutcome } from "../../wds/index.ts";
import { explainReason, explainRefusal } from "./reasons.ts";

/** Copies what an observer is told. */
export function keepDecision(event: ExchangeEvent | DropEvent, atMs: number): JournalEntry {
  const { ifindex, xid, giaddr, requestType, requestClass, wanted } = event;
  return {
    ...{ firstMs: atMs, lastMs: atMs, count: 1, xid, ifindex, requestType },
    ...(requestClass !== undefined && { requestClass }),
    ...(wanted !== 0 && { wanted }),
    ...(giaddr !== 0 && { giaddr }),
    steps: event.trail.steps(),
    outcome: isExchangeEvent(event) ? keepReply(event) : { kind: "drop", reason: event.reason },
  };
}

function keepReply({ replyType, address, nakReason }: ExchangeEvent): JournalOutcome {
  return {
    ...{ kind: "reply", type: replyType },
    ...(address !== 0 && { address }),
    ...(nakReason !== undefined && { nakReason }),
  };
}

const StepSchema = z.object({
  plugin: z.string(),
  verdict: z.string(),
  why: z.string().optional(),
});

const OutcomeSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("reply"),
    type: z.string(),
    /** Absent in a DHCPNAK and in the answer to DHCPINFORM. */
    address: z.string().optional(),
    /** Of a DHCPNAK. */
    reason: z.string().optional(),
    meaning: z.string().optional(),
    advice: z.string().optional(),
  }),
  z.object({
    kind: z.literal("silence"),
    reason: z.string(),
    meaning: z.string(),
    advice: z.string(),
  }),
]);

/** A decision as the commands print it with `--json`. */
export const DecisionSchema = z.object({
  /** Of the last one, ISO 8601, UTC. */
  at: z.string(),
  /** Of the first one, if there were several. */
  firstAt: z.string(),
  count: z.int(),
  network: z.string(),
  /** The interface that the request was seen on. */
  port: z.string(),
  mac: z.string(),
  message: z.string(),
  /** The client's state as its message shows it (RFC 2131 figure 5); absent if it was not read that far. */
  state: z.string().optional(),
  /** The address that the client named. */
  wanted: z.string().optional(),
  /** Eight hexadecimal digits. */
  xid: z.string(),
  /** The relay agent's address. */
  relay: z.string().optional(),
  steps: z.array(StepSchema),
  outcome: OutcomeSchema,
});

/** A decision in words. */
export type DecisionDocument = z.infer<typeof DecisionSchema>;

/** Puts a decision into words. */
export function describeDecision(
  decision: JournalEntry,
  where: { readonly mac: MacAddress; readonly network: string; readonly port: string },
): DecisionDocument {
  const { firstMs, lastMs, count, xid, giaddr, requestClass, wanted, steps } = decision;
  return {
    at: new Date(lastMs).toISOString(),
    firstAt: new Date(firstMs).toISOString(),
    count,
    network: where.network,
    port: where.port,
    mac: formatMac(where.mac),
    message: messageName(decision),
    ...(requestClass !== undefined && requestClass !== "silent" && { state: requestClass }),
    ...(wanted !== undefined && { wanted: formatIpv4(wanted) }),
    xid: xid.toString(16).padStart(8, "0"),
    ...(giaddr !== undefined && { relay: formatIpv4(giaddr) }),
    steps: steps.map(({ plugin, verdict, why }) => ({
      plugin,
      verdict,
      ...(why !== undefined && { why }),
    })),
    outcome: describeOutcome(decision.outcome),
  };
}

function messageName({ requestType, requestClass }: JournalEntry): string {
  if (requestType !== 0) return findMessageTypeName(requestType) ?? `message type ${requestType}`;
  return requestClass === "BOOTP" ? "BOOTREQUEST" : "unread message";
}

function describeOutcome(outcome: JournalOutcome): DecisionDocument["outcome"] {
  if (outcome.kind === "drop") {
    return { kind: "silence", reason: outcome.reason, ...explainReason(outcome.reason) };
  }
  const { type, address, nakReason } = outcome;
  return {
    kind: "reply",
    type,
    ...(address !== undefined && { address: formatIpv4(address) }),
    ...(nakReason !== undefined && { reason: nakReason, ...explainRefusal(nakReason) }),
  };
}

/** A decision's request in one line: message, state, address, transaction, relay. */
export function requestLine(
  decision: Pick<DecisionDocument, "message" | "state" | "wanted" | "xid" | "relay">,
): string {
  const { message, state, wanted, xid, relay } = decision;
  return [
    message,
    ...(state === undefined || state === "INFORM" ? [] : [`(${state})`]),
    ...(wanted === undefined ? [] : [`for ${wanted}`]),
    `xid ${xid}`,
    ...(relay === undefined ? [] : [`relayed by ${relay}`]),
  ].join(" ");
}

/** A decision's outcome in one line. */
export function outcomeLine({ outcome }: Pick<DecisionDocument, "outcome">): string {
  if (outcome.kind === "silence") return `silence: ${outcome.reason}`;
  const { type, address, reason } = outcome;
  return [
    type,
    ...(address === undefined ? [] : [address]),
    ...(reason ? [`(${reason})`] : []),
  ].join(" ");
}

/** Meaning and advice of an outcome that needs them. */
export function adviceLines({ outcome }: DecisionDocument): string[] {
  const { meaning, advice } = outcome;
  return meaning === undefined || advice === undefined ? [] : [meaning, `To do: ${advice}`];
}
