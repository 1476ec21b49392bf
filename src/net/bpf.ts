/** Classic BPF programs for packet sockets, written as data. */

/** One instruction: code, jump if true, jump if false, operand. */
export type BpfInstruction = readonly [code: number, jt: number, jf: number, k: number];

const LD_H_ABS = 0x28;
const LD_B_ABS = 0x30;
const LD_B_IND = 0x50;
const LD_H_IND = 0x48;
const LDX_B_MSH = 0xb1;
const JEQ = 0x15;
const JSET = 0x45;
const RET = 0x06;
/** Ancillary data: the packet type (host, broadcast, ..., outgoing). */
const AD_PACKET_TYPE = 0xffff_f000 + 4;
const PACKET_OUTGOING = 4;

/**
 * Keeps untagged, unfragmented UDP datagrams to `port` whose first payload octet is `op`, and nothing that this
 * host sent. Bad frames that the kernel can see are cheapest dropped there; the rest is checked in code.
 */
export function bootpFilter(port: number, op: number, snapLength: number): BpfInstruction[] {
  return messageFilter([[port, op]], snapLength);
}

/** Where DHCP servers answer clients, and the first octet of what they say. */
const CLIENT_PORT = 68;
const BOOTREPLY = 2;

/**
 * As {@link bootpFilter}, and keeps what other servers say to clients on the same link as well: a server must know that
 * it is not alone.
 */
export function serverFilter(port: number, op: number, snapLength: number): BpfInstruction[] {
  const answers = [CLIENT_PORT, BOOTREPLY] as const;
  return messageFilter([[port, op], answers], snapLength);
}

/** @param kinds - ports and BOOTP ops of what is kept */
function messageFilter(
  kinds: readonly (readonly [port: number, op: number])[],
  snapLength: number,
): BpfInstruction[] {
  const first = 10;
  const drop = first + 3 * kinds.length;
  const keep = drop + 1;
  return [
    [LD_B_ABS, 0, 0, AD_PACKET_TYPE],
    [JEQ, drop - 2, 0, PACKET_OUTGOING],
    [LD_H_ABS, 0, 0, 12],
    [JEQ, 0, drop - 4, 0x0800],
    [LD_B_ABS, 0, 0, 23],
    [JEQ, 0, drop - 6, 17],
    [LD_H_ABS, 0, 0, 20],
    [JSET, drop - 8, 0, 0x3fff],
    [LDX_B_MSH, 0, 0, 14],
    [LD_H_IND, 0, 0, 16],
    ...kinds.flatMap(([port, op], index): BpfInstruction[] => {
      const next = first + 3 * (index + 1);
      return [
        [JEQ, 0, 2, port],
        [LD_B_IND, 0, 0, 22],
        [JEQ, keep - next, drop - next, op],
      ];
    }),
    [RET, 0, 0, 0],
    [RET, 0, 0, snapLength],
  ];
}

/** For a UDP socket, whose filter sees a datagram from its UDP header on: keeps messages with this BOOTP `op`. */
export function bootpDatagramFilter(op: number): BpfInstruction[] {
  return [
    [LD_B_ABS, 0, 0, 8],
    [JEQ, 0, 1, op],
    [RET, 0, 0, 0xffff],
    [RET, 0, 0, 0],
  ];
}

/** Keeps nothing: for a socket that only has to exist. */
export const DROP_ALL: readonly BpfInstruction[] = [[RET, 0, 0, 0]];

/** Keeps all of every packet. */
export const ACCEPT_ALL: readonly BpfInstruction[] = [[RET, 0, 0, 0xffff]];

/** Lays a program out as `struct sock_filter`s: 8 bytes each, host byte order. */
export function encodeBpf(program: readonly BpfInstruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(([code, jt, jf, k], index) => {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jt, index * 8 + 2);
    bytes.writeUInt8(jf, index * 8 + 3);
    bytes.writeUInt32LE(k, index * 8 + 4);
  });
  return bytes;
}
