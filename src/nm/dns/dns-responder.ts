/**
 * The DNS server of a VNET, as a pure function from datagram to datagram: the tenant's own names, and a refusal for all
 * others, because a VNET has no way out (RFC 1035; negative answers RFC 2308).
 */
import packet, { type Answer, type Packet, type Question } from "dns-packet";
import type { NameZone } from "./name-zone.ts";

/** Names change when instances come and go, so nobody is to keep an answer for long. */
export const TTL_SECONDS = 5;
/** RFC 1035 section 4.2.1: what everybody may send and takes, without EDNS. */
export const DATAGRAM_BYTES_MAX = 512;
/** Of a role, in one answer; the others come first in later ones. */
const ADDRESSES_MAX = 16;

const RCODE = { noError: 0, formatError: 1, nameError: 3, notImplemented: 4, refused: 5 } as const;
const REVERSE = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/i;

interface Reply {
  readonly code: number;
  readonly answers: Answer[];
}

/** The answer to a datagram; undefined: silence, as for what is no query. */
export function answerDns(request: Uint8Array, zone: NameZone): Uint8Array | undefined {
  const query = decode(request);
  if (query === undefined || query.type !== "query") return undefined;
  const [question, ...others] = query.questions ?? [];
  const { code, answers } = replyOf(query, question, others.length, zone);
  const RECURSION_DESIRED = 0x0100;
  const response: Packet = {
    type: "response",
    id: query.id ?? 0,
    flags: packet.AUTHORITATIVE_ANSWER | ((query.flags ?? 0) & RECURSION_DESIRED) | code,
    questions: question === undefined ? [] : [question],
    answers,
  };
  while (answers.length > 1 && packet.encodingLength(response) > DATAGRAM_BYTES_MAX) answers.pop();
  return packet.encode(response);
}

function decode(request: Uint8Array): Packet | undefined {
  if (request.length > DATAGRAM_BYTES_MAX) return undefined;
  try {
    return packet.decode(Buffer.from(request));
  } catch {
    return undefined;
  }
}

function replyOf(
  query: Packet,
  question: Question | undefined,
  otherCount: number,
  zone: NameZone,
): Reply {
  if (question === undefined || otherCount > 0) return { code: RCODE.formatError, answers: [] };
  if ("opcode" in query && query.opcode !== "QUERY")
    return { code: RCODE.notImplemented, answers: [] };
  const { name, type } = question;
  if (question.class !== undefined && question.class !== "IN") return refused();
  const reverse = REVERSE.exec(name);
  if (reverse !== null) return answerReverse(name, reverse, type, zone);
  const addresses = zone.findAddresses(name);
  if (addresses === undefined) return zone.owns(name) ? notThere() : refused();
  const isWanted = type === "A"; // to ANY an empty answer is enough (RFC 8482)
  const answers = isWanted
    ? addresses
        .slice(0, ADDRESSES_MAX)
        .map((data): Answer => ({ type: "A", name, ttl: TTL_SECONDS, data }))
    : [];
  return { code: RCODE.noError, answers };
}

function answerReverse(
  name: string,
  octets: RegExpExecArray,
  type: Question["type"],
  zone: NameZone,
): Reply {
  const host = zone.findName(octets.slice(1).reverse().join("."));
  if (host === undefined) return refused();
  const isWanted = type === "PTR";
  const answers: Answer[] = isWanted ? [{ type: "PTR", name, ttl: TTL_SECONDS, data: host }] : [];
  return { code: RCODE.noError, answers };
}

function refused(): Reply {
  return { code: RCODE.refused, answers: [] };
}

function notThere(): Reply {
  return { code: RCODE.nameError, answers: [] };
}
