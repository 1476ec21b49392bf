/** Writes one structured line about what became of a request, with a bound for each kind of line. */
import { z } from "zod";
import {
  type DropEvent,
  type ExchangeEvent,
  escapeTenantText,
  findMessageTypeName,
  isExchangeEvent,
  OPTION,
  type OptionSpan,
  readOption,
} from "../../../dhcp/index.ts";
import { formatIpv4, type Ipv4Address } from "../../../model/ipv4-address.ts";
import { formatMac } from "../../../model/mac-address.ts";
import type { Plugin } from "../../plugin.ts";
import { TokenBuckets } from "../rate-limit/token-buckets.ts";

/** Most kinds of lines that are bounded apart; the others share a bound. */
export const LOG_KINDS_MAX = 128;

/** What somebody should look at: another server, a guest in another's place, an address that is used twice. */
export const ALARMS: ReadonlySet<string> = new Set([
  "rogue.server",
  "type.server",
  "port.mismatch",
  "client.decline",
  "relay.untrusted",
]);

/** Settings of the `log` plugin. */
export const LogSchema = z.strictObject({
  /** Lines a second of each kind, and how many at once. */
  rate: z.number().min(0.01).max(10_000).default(2),
  burst: z.number().min(1).max(10_000).default(20),
  /** Of these, and of alarms, lines are written. */
  replies: z.boolean().default(true),
  drops: z.boolean().default(true),
});

export type LogSettings = z.infer<typeof LogSchema>;

/** Writes a line. */
export type WriteLog = (
  level: "debug" | "info" | "warn",
  fields: Readonly<Record<string, unknown>>,
  message: string,
) => void;

/** What it needs beside its settings. */
export interface LogSurroundings {
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly write: WriteLog;
}

/** Makes the `log` plugin; see its README. */
export function createLogPlugin(settings: LogSettings, { now, write }: LogSurroundings): Plugin {
  const bounds = new LineBounds(settings);
  return {
    name: "log",
    observe: (event) => {
      const isReply = isExchangeEvent(event);
      const kind = isReply ? event.replyType : event.reason;
      const isAlarm = ALARMS.has(kind);
      if (!isAlarm && !(isReply ? settings.replies : settings.drops)) return;
      const suppressed = bounds.admit(kind, now());
      if (suppressed < 0) return;
      const fields = { ...fieldsOf(event), ...(suppressed > 0 && { suppressed }) };
      if (isReply) write("info", fields, "answered");
      else write(isAlarm ? "warn" : "info", fields, isAlarm ? "alarm" : "not answered");
    },
  };
}

/** One token bucket for each kind of line, and how many lines it has held back. */
class LineBounds {
  readonly #tokens: TokenBuckets;
  readonly #held = new Float64Array(LOG_KINDS_MAX);
  readonly #indexes = new Map<string, number>();

  constructor(settings: LogSettings) {
    this.#tokens = new TokenBuckets(LOG_KINDS_MAX, settings);
  }

  /** Lines of this kind that were held back since the last one; -1 if this one is, too. */
  admit(kind: string, nowMs: number): number {
    const index = this.#indexOf(kind);
    if (this.#tokens.take(index, nowMs) < 0) {
      this.#held[index]! += 1;
      return -1;
    }
    const held = this.#held[index]!;
    this.#held[index] = 0;
    return held;
  }

  #indexOf(kind: string): number {
    const known = this.#indexes.get(kind);
    if (known !== undefined) return known;
    if (this.#indexes.size >= LOG_KINDS_MAX - 1) return LOG_KINDS_MAX - 1;
    this.#indexes.set(kind, this.#indexes.size);
    return this.#indexes.size - 1;
  }
}

/** All fields that a line may have. Texts of guests are escaped; there are no others. */
function fieldsOf(event: ExchangeEvent | DropEvent): Record<string, unknown> {
  const { chaddr, sourceMac, sourceIp, requestType, trail, request } = event;
  const isReply = isExchangeEvent(event);
  const step = trail.length === 0 ? undefined : trail.steps().at(-1);
  const decline = isReply || event.reason !== "client.decline" ? undefined : request;
  return defined({
    reply: isReply ? event.replyType : undefined,
    reason: isReply ? event.nakReason : event.reason,
    mac: formatMac(chaddr !== 0 ? chaddr : sourceMac),
    sourceMac: chaddr !== 0 && sourceMac !== chaddr ? formatMac(sourceMac) : undefined,
    sourceIp: addressText(sourceIp),
    ifindex: event.ifindex,
    xid: request === undefined ? undefined : event.xid,
    type: requestType === 0 ? undefined : findMessageTypeName(requestType),
    state: event.requestClass,
    wanted: addressText(event.wanted),
    relay: addressText(event.giaddr),
    address: isReply ? addressText(event.address) : undefined,
    container: isReply ? event.container : undefined,
    plugin: step?.plugin,
    why: step?.why,
    hostname: request && textOf(request.optionBytes, request.hostname),
    vendorClass: request && textOf(request.optionBytes, request.vendorClass),
    message: decline && messageOf(readOption(decline, OPTION.message)),
  });
}

function defined(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function addressText(address: Ipv4Address): string | undefined {
  return address === 0 ? undefined : formatIpv4(address);
}

function textOf(bytes: Uint8Array, { offset, length }: OptionSpan): string | undefined {
  return length === 0 ? undefined : escapeTenantText(bytes.subarray(offset, offset + length));
}

function messageOf(data: Uint8Array | undefined): string | undefined {
  return data && escapeTenantText(data);
}
