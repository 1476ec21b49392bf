/** What a replay found, for people and as JSON. Nothing in it depends on the time or the place of the replay. */
import { formatIpv4, WIRE_SERVER_ADDRESS } from "../../model/ipv4-address.ts";
import { formatMac } from "../../model/mac-address.ts";
import type { Capture, CaptureEnd } from "../../net/capture.ts";
import {
  type DecisionDocument,
  describeDecision,
  outcomeLine,
  requestLine,
} from "../dhcp/decision.ts";
import { explainNote, explainReason } from "../dhcp/reasons.ts";
import { type Comparison, compareReplies, differenceLine } from "./compare-replies.ts";
import type { Replay, ReplayedRequest } from "./replay.ts";

/** One request of the capture. */
export interface RequestDocument
  extends Omit<DecisionDocument, "at" | "firstAt" | "count" | "network" | "port"> {
  /** Position in the capture, from 1, as Wireshark counts. */
  readonly frame: number;
  /** Seconds since the first frame. */
  readonly time: string;
  /** With `--compare`: each captured reply to it, beside ours. */
  readonly captured?: readonly Comparison[];
}

export interface ReplayDocument {
  readonly requests: readonly RequestDocument[];
  readonly summary: {
    /** Of the capture. */
    readonly frames: number;
    readonly requests: number;
    readonly answered: number;
    readonly replies: Readonly<Record<string, number>>;
    readonly silences: Readonly<Record<string, number>>;
    /** Oddities of requests that were answered all the same. */
    readonly notes: Readonly<Record<string, number>>;
    /** Read all the same. */
    readonly wrongChecksums: number;
    readonly capturedReplies: number;
    /** Captured replies without a request before them. */
    readonly orphanReplies: number;
    readonly servers: readonly string[];
    /** Neither requests to a server, nor replies of one. */
    readonly otherFrames: number;
    readonly end: CaptureEnd;
    readonly compared?: Compared;
  };
}

/** Captured replies, by how ours differ. */
export interface Compared {
  readonly same: number;
  readonly otherOptions: number;
  /** Another type or address, or silence. */
  readonly other: number;
  /** Requests that only we answered. */
  readonly onlyOurs: number;
}

/** Puts a replay into words. */
export function describeReplay(replay: Replay, capture: Capture, compare: boolean): ReplayDocument {
  const { counters, servers, otherFrames, wrongChecksums } = replay;
  const { capturedReplies, orphanReplies } = replay;
  const requests = replay.requests.map((request) => describeRequest(request, compare));
  const replies = nonZero(Object.entries(counters.replies));
  return {
    requests,
    summary: {
      frames: capture.frames.length,
      requests: requests.length,
      answered: Object.values(replies).reduce((sum, count) => sum + count, 0),
      replies,
      silences: nonZero([...counters.drops]),
      notes: nonZero([...counters.notes]),
      ...{ wrongChecksums, capturedReplies, orphanReplies },
      servers: [...servers].map(formatIpv4),
      otherFrames,
      end: capture.end,
      ...(compare && { compared: countCompared(requests) }),
    },
  };
}

function nonZero(counts: readonly (readonly [string, number])[]): Record<string, number> {
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

function describeRequest(request: ReplayedRequest, compare: boolean): RequestDocument {
  const { frameNumber, atMs, chaddr, sourceMac, decision, reply, captured } = request;
  const mac = chaddr === 0 ? sourceMac : chaddr;
  const where = { mac, network: "", port: "" };
  const { at, firstAt, count, network, port, ...described } = describeDecision(decision, where);
  return {
    frame: frameNumber,
    time: (atMs / 1_000).toFixed(6),
    ...described,
    mac: formatMac(mac),
    ...(compare && { captured: captured.map((theirs) => compareReplies(theirs, reply)) }),
  };
}

function countCompared(requests: readonly RequestDocument[]): Compared {
  const compared = { same: 0, otherOptions: 0, other: 0, onlyOurs: 0 };
  for (const { captured = [], outcome } of requests) {
    if (captured.length === 0 && outcome.kind === "reply") compared.onlyOurs++;
    for (const { isOther, differences } of captured) {
      if (isOther) compared.other++;
      else if (differences.length > 0) compared.otherOptions++;
      else compared.same++;
    }
  }
  return compared;
}

/** The replay as lines of text: each request, then the sums. */
export function renderReplay({ requests, summary }: ReplayDocument): string[] {
  return [...requests.flatMap(renderRequest), ...renderSummary(summary)];
}

function renderRequest(request: RequestDocument): string[] {
  const { frame, time, mac, outcome, captured } = request;
  const { meaning } = outcome;
  const why = meaning === undefined ? "" : `: ${meaning}`;
  return [
    `#${frame}  ${time}  ${mac}  ${requestLine(request)} -> ${outcomeLine(request)}${why}`,
    ...(captured ?? []).flatMap(renderComparison),
  ];
}

function renderComparison({ frame, server, type, yiaddr, differences }: Comparison): string[] {
  const title = `    captured #${frame} from ${server}: ${type} ${yiaddr}`;
  if (differences.length === 0) return [`${title}: the same`];
  return [`${title}:`, ...differences.map((difference) => `      ${differenceLine(difference)}`)];
}

function renderSummary(summary: ReplayDocument["summary"]): string[] {
  const { frames, requests, answered, replies, silences, compared, servers, end } = summary;
  const kinds = Object.entries(replies).map(([type, count]) => `${count} ${type}`);
  const answers = kinds.length === 0 ? "" : ` (${kinds.join(", ")})`;
  const silent = Object.entries(silences);
  const silentCount = silent.reduce((sum, [, count]) => sum + count, 0);
  return [
    `${frames} frames: ${requests} requests, ${answered} answered${answers}, ${silentCount} met with silence`,
    ...silent.map(([reason, count]) => `  ${count} ${reason}: ${explainReason(reason).advice}`),
    ...renderOthers(summary),
    ...(compared === undefined ? [] : renderCompared(compared, servers)),
    ...(end.kind === "complete"
      ? []
      : [`the capture is ${end.kind} at byte ${end.offset}; the frames before it were replayed`]),
  ];
}

function renderOthers({
  capturedReplies,
  orphanReplies,
  servers,
  otherFrames,
  notes,
  wrongChecksums,
}: ReplayDocument["summary"]): string[] {
  const orphans = orphanReplies === 0 ? "" : `, ${orphanReplies} of them to no request before`;
  return [
    ...(capturedReplies === 0
      ? []
      : [`${capturedReplies} captured replies of ${servers.join(", ")}${orphans}: not replayed`]),
    ...Object.entries(notes).map(([note, count]) => `  ${count} ${note}: ${explainNote(note)}`),
    ...(wrongChecksums === 0
      ? []
      : [
          `${wrongChecksums} requests have a wrong UDP checksum, which a capture on their own host shows: read`,
        ]),
    ...(otherFrames === 0 ? [] : [`${otherFrames} other frames: not replayed`]),
  ];
}

function renderCompared(compared: Compared, servers: readonly string[]): string[] {
  const { same, otherOptions, other, onlyOurs } = compared;
  const ours = formatIpv4(WIRE_SERVER_ADDRESS);
  const theirs = servers.filter((server) => server !== ours);
  const place = theirs.length === 0 ? "" : `, with ${ours} in the place of ${theirs.join(", ")}`;
  return [
    `compared${place}: ${same} the same, ${otherOptions} with other options, ` +
      `${other} with another type or address`,
    ...(onlyOurs === 0
      ? []
      : [`${onlyOurs} requests have an answer of ours and none in the capture`]),
  ];
}
