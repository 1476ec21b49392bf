/**
 * The fixed part of a DHCP message.
 *
 * ```text
 *   0 op  1 htype  2 hlen  3 hops |  4 xid (4)
 *   8 secs (2)    10 flags (2)    | 12 ciaddr (4)
 *  16 yiaddr (4)                  | 20 siaddr (4)
 *  24 giaddr (4)                  | 28 chaddr (16)
 *  44 sname (64) | 108 file (128) | 236 magic cookie (4) | 240 options
 * ```
 *
 * @see RFC 2131 section 2
 */

/** The header fields in wire order, lengths in octets; their lengths sum to {@link HEADER_BYTES}. */
export const HEADER_FIELDS = [
  { name: "op", offset: 0, length: 1 },
  { name: "htype", offset: 1, length: 1 },
  { name: "hlen", offset: 2, length: 1 },
  { name: "hops", offset: 3, length: 1 },
  { name: "xid", offset: 4, length: 4 },
  { name: "secs", offset: 8, length: 2 },
  { name: "flags", offset: 10, length: 2 },
  { name: "ciaddr", offset: 12, length: 4 },
  { name: "yiaddr", offset: 16, length: 4 },
  { name: "siaddr", offset: 20, length: 4 },
  { name: "giaddr", offset: 24, length: 4 },
  { name: "chaddr", offset: 28, length: 16 },
  { name: "sname", offset: 44, length: 64 },
  { name: "file", offset: 108, length: 128 },
] as const;

/** Octet offsets of the header fields from the start of the message. */
export const HEADER = {
  op: 0,
  htype: 1,
  hlen: 2,
  hops: 3,
  xid: 4,
  secs: 8,
  flags: 10,
  ciaddr: 12,
  yiaddr: 16,
  siaddr: 20,
  giaddr: 24,
  chaddr: 28,
  sname: 44,
  file: 108,
  cookie: 236,
  options: 240,
} as const;

/** Octets before the magic cookie. */
export const HEADER_BYTES = 236;

/** Octets of the chaddr field, of which Ethernet uses six. */
export const CHADDR_BYTES = 16;

/** Octets of the sname field. */
export const SNAME_BYTES = 64;

/** Octets of the file field. */
export const FILE_BYTES = 128;

/** 99.130.83.99: options follow (RFC 2132 section 2). */
export const MAGIC_COOKIE = 0x6382_5363;

/** Shortest message that is sent; relays and old clients drop shorter ones (RFC 1542 section 2.1). */
export const MESSAGE_BYTES_MIN = 300;

/** op of a message from a client. */
export const BOOTREQUEST = 1;

/** op of a message from a server. */
export const BOOTREPLY = 2;

/** htype of Ethernet. */
export const HTYPE_ETHERNET = 1;

/** hlen of Ethernet. */
export const HLEN_ETHERNET = 6;

/** Bit of `flags` by which a client asks for a broadcast reply; the others must be zero and are ignored. */
export const FLAG_BROADCAST = 0x8000;

/** UDP port of servers and relay agents. */
export const SERVER_PORT = 67;

/** UDP port of clients. */
export const CLIENT_PORT = 68;

/** A lease of this many seconds never ends (RFC 2131 section 3.3). */
export const INFINITE_SECONDS = 0xffff_ffff;

/** Values of option 53 (RFC 2132 section 9.6). */
export const MESSAGE_TYPE = {
  DHCPDISCOVER: 1,
  DHCPOFFER: 2,
  DHCPREQUEST: 3,
  DHCPDECLINE: 4,
  DHCPACK: 5,
  DHCPNAK: 6,
  DHCPRELEASE: 7,
  DHCPINFORM: 8,
} as const;

/** Name of a message type of RFC 2131. */
export type MessageTypeName = keyof typeof MESSAGE_TYPE;

const NAMES: readonly (MessageTypeName | undefined)[] = [
  undefined,
  "DHCPDISCOVER",
  "DHCPOFFER",
  "DHCPREQUEST",
  "DHCPDECLINE",
  "DHCPACK",
  "DHCPNAK",
  "DHCPRELEASE",
  "DHCPINFORM",
];

/** The name of a value of option 53, or undefined if RFC 2131 has none. */
export function findMessageTypeName(messageType: number): MessageTypeName | undefined {
  return NAMES[messageType];
}
