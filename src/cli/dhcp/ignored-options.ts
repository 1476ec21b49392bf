/** Every reason for which a part of a request is ignored while it is answered, in words. */
import type { IgnoredOptionReason } from "../../dhcp/index.ts";

/** What was ignored: a whole sentence. */
export const IGNORED_OPTIONS: Readonly<Record<IgnoredOptionReason, string>> = {
  "opt.noend": "The options end without End; all of them counted.",
  "opt.trunc": "An option runs past the message or its field; the ones before it counted.",
  "opt.dup": "An option came several times with the same data; it counted once.",
  "opt.12": "The host name is empty.",
  "opt.50": "The requested address is not of four octets, where it does not matter.",
  "opt.51": "The lease time is 0, or not of four octets.",
  "opt.52":
    "The overload option says nothing of use, or stands inside a field that it made one of options.",
  "opt.54": "The server identifier is not of four octets, where it does not matter.",
  "opt.55": "The list of requested options is empty.",
  "opt.57": "The maximum message size is not of two octets.",
  "opt.60": "The vendor class is empty.",
  "opt.61": "The client identifier is empty; it is not echoed.",
  "opt.77": "The user class is empty.",
  "opt.80": "Rapid commit has data.",
  "opt.81": "The domain name is too short, contradicts itself (N and S), or is no name.",
  "opt.82": "The relay information is empty; it is not echoed.",
  "opt.90": "Authentication is not supported.",
  "opt.93": "The client architecture is empty or of an odd length.",
  "opt.94": "The client's network interface is not of three octets.",
  "opt.97": "The machine identifier is not of type 0 with 16 octets; it is not echoed.",
  "opt.108": "IPv6-only preferred has data.",
  "opt.116": "Auto-configure is not of one octet.",
  "opt.118": "The subnet selection is not of four octets.",
  "opt.124": "The vendor-identifying class has a block that runs past it.",
  "opt.125": "The vendor-identifying information has a block that runs past it.",
  "rai.malformed":
    "A sub-option of the relay information runs past it; none was read, all are echoed.",
  "rai.untrusted":
    "A client behind no relay sent relay information; it was neither read nor echoed.",
};
