/** How our reply differs from the one that a server in the capture sent. */
import { type DhcpMessage, messageTypeName, OPTION } from "../../dhcp/index.ts";
import { formatIpv4 } from "../../model/ipv4-address.ts";
import { optionName, optionText } from "../option-text.ts";
import type { CapturedReply } from "./captured-dhcp.ts";

/** One thing that differs; absent on the side that does not have it. */
export interface Difference {
  readonly what: string;
  readonly captured?: string;
  readonly ours?: string;
}

/** A captured reply beside ours. */
export interface Comparison {
  /** Position of the captured reply in the capture. */
  readonly frame: number;
  readonly server: string;
  readonly type: string;
  readonly yiaddr: string;
  /** True if type or address differ: the client would end up elsewhere. */
  readonly isOther: boolean;
  readonly differences: readonly Difference[];
}

/** Option 53 is the type, and option 54 must differ: it is the server. */
const NOT_COMPARED: ReadonlySet<number> = new Set([OPTION.messageType, OPTION.serverIdentifier]);

/** Compares type, address and options; the order of options does not matter. */
export function compareReplies(
  { frameNumber, server, message }: CapturedReply,
  ours: DhcpMessage | undefined,
): Comparison {
  const decisive = [
    difference("type", replyType(message), ours && replyType(ours)),
    difference("yiaddr", formatIpv4(message.yiaddr), ours && formatIpv4(ours.yiaddr)),
  ].filter((found) => found !== undefined);
  return {
    frame: frameNumber,
    server: formatIpv4(server),
    type: replyType(message),
    yiaddr: formatIpv4(message.yiaddr),
    isOther: decisive.length > 0,
    differences: ours === undefined ? decisive : [...decisive, ...compareOptions(message, ours)],
  };
}

function replyType(message: DhcpMessage): string {
  return messageTypeName(message) ?? "BOOTREPLY";
}

function compareOptions(captured: DhcpMessage, ours: DhcpMessage): Difference[] {
  const codes = new Set([...captured.options.keys(), ...ours.options.keys()]);
  return [...codes]
    .filter((code) => !NOT_COMPARED.has(code))
    .sort((a, b) => a - b)
    .flatMap((code) => {
      const [theirs, own] = [captured.options.get(code), ours.options.get(code)];
      if (theirs !== undefined && own !== undefined && Buffer.compare(theirs, own) === 0) return [];
      return [
        {
          what: optionName(code),
          ...(theirs !== undefined && { captured: optionText(code, theirs) }),
          ...(own !== undefined && { ours: optionText(code, own) }),
        },
      ];
    });
}

function difference(
  what: string,
  captured: string | undefined,
  ours: string | undefined,
): Difference | undefined {
  if (captured === ours) return undefined;
  return {
    what,
    ...(captured !== undefined && { captured }),
    ...(ours !== undefined && { ours }),
  };
}

/** A difference in one line. */
export function differenceLine({ what, captured, ours }: Difference): string {
  return `${what}: captured ${captured ?? "nothing"}, ours ${ours ?? "nothing"}`;
}
