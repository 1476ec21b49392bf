/** What packet sockets have in common: the order in which they are set up, and their errors. */
import { closeSync } from "node:fs";
import { FabricError } from "../model/errors.ts";
import type { MacAddress } from "../model/mac-address.ts";
import { bootpFilter, encodeBpf, serverFilter } from "./bpf.ts";
import { FRAME_BYTES_MAX } from "./frame-socket.ts";
import { findInterfaceIndex, readHardwareAddress } from "./interface-info.ts";
import {
  AF_PACKET,
  attachSocketFilter,
  bindSocket,
  getSocketOption,
  openSocket,
  SOCK_RAW,
  setSocketFlag,
} from "./libc.ts";

export const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_LOCK_FILTER = 44;
export const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_QDISC_BYPASS = 20;
const PACKET_IGNORE_OUTGOING = 23;
const ETH_P_ALL = 0x0003;
/** struct sockaddr_ll */
export const LINK_ADDRESS_BYTES = 20;

export interface PacketSocketOptions {
  /** The interface to receive on, in the calling thread's network namespace. */
  readonly interfaceName: string;
  /** The interface's index, where it is known already; a name may be another's by now. */
  readonly ifindex?: number;
  /** UDP destination port and first payload octet (BOOTP `op`) of the frames to keep. */
  readonly udpPort: number;
  readonly bootpOp: 1 | 2;
  /** True: what other DHCP servers say to clients is kept as well. */
  readonly hearsServers?: boolean;
  /**
   * True: frames go straight to the device, past its queueing discipline, and one that it cannot take is refused and
   * counted; else it may be lost later without a word. For ports that are ours alone, where no traffic policy applies.
   */
  readonly bypassQueue?: boolean;
}

/** An open packet socket; `prepared` is what the caller's preparation made. */
export interface PacketSocket<T> {
  readonly fd: number;
  readonly ifindex: number;
  readonly hardwareAddress: MacAddress;
  readonly prepared: T;
}

/**
 * Opens a socket, in the order that lets no frame in that the filter would not: no protocol, filter, options, and only
 * then bind; the filter is locked at last. It takes every protocol, because a bridge takes its ports' frames away before
 * a socket for IPv4 alone sees them; and no frame that leaves, because a bridge floods them out of all ports.
 *
 * @param prepare - sets the options that differ, before bind
 * @throws FabricError ERR_USAGE_INTERFACE if there is no such interface, ERR_NET_SYSTEM_CALL without CAP_NET_RAW
 */
export function openPacketSocket<T>(
  options: PacketSocketOptions,
  prepare: (fd: number) => T,
): PacketSocket<T> {
  const { interfaceName, udpPort, bootpOp } = options;
  const filter = options.hearsServers === true ? serverFilter : bootpFilter;
  const ifindex = options.ifindex ?? findInterfaceIndex(interfaceName);
  if (ifindex === undefined) {
    throw new FabricError(
      "ERR_USAGE_INTERFACE",
      `Cannot receive on "${interfaceName}": no such interface; see 'ip link'`,
    );
  }
  // Protocol 0 receives nothing yet.
  const fd = openSocket(AF_PACKET, SOCK_RAW, 0);
  try {
    attachSocketFilter(fd, encodeBpf(filter(udpPort, bootpOp, FRAME_BYTES_MAX)));
    setSocketFlag(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    if (options.bypassQueue === true) setSocketFlag(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
    const prepared = prepare(fd);
    bindSocket(fd, linkAddress(ETH_P_ALL, ifindex), interfaceName);
    setSocketFlag(fd, SOL_SOCKET, SO_LOCK_FILTER, 1);
    takeSocketError(fd); // the interface may be down
    return { fd, ifindex, hardwareAddress: readHardwareAddress(interfaceName), prepared };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** struct sockaddr_ll; the protocol is in network byte order. */
export function linkAddress(protocol: number, ifindex: number): Buffer {
  const address = Buffer.alloc(LINK_ADDRESS_BYTES);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(protocol, 2);
  address.writeInt32LE(ifindex, 4);
  address.writeUInt8(6, 11);
  return address;
}

/** Reads a pending error away: unread, it makes every poll return at once, and the next send fail. */
export function takeSocketError(fd: number): void {
  getSocketOption(fd, SOL_SOCKET, SO_ERROR, Buffer.alloc(4));
}

/** Frames that the kernel dropped for want of room since this was last read. */
export function readDrops(fd: number): number {
  const statistics = Buffer.alloc(8);
  getSocketOption(fd, SOL_PACKET, PACKET_STATISTICS, statistics);
  return statistics.readUInt32LE(4);
}
