/** Tells neighbours that an address is here now, so that they replace the entry that they have for it. */
import { closeSync } from "node:fs";
import { type Ipv4Address, writeIpv4 } from "../model/ipv4-address.ts";
import { MAC_BROADCAST, type MacAddress, writeMac } from "../model/mac-address.ts";
import { findInterfaceIndex, readHardwareAddress } from "./interface-info.ts";
import { AF_PACKET, bindSocket, openSocket, SOCK_RAW, sendMessage } from "./libc.ts";
import { inNamespace } from "./namespace.ts";
import { linkAddress } from "./packet-socket.ts";

const FRAME_BYTES = 42;
const ARP_OFFSET = 14;

/**
 * A broadcast ARP request in which sender and target are the same address.
 *
 * @see RFC 826, RFC 5944 section 4.6
 */
export function gratuitousArp(mac: MacAddress, address: Ipv4Address): Buffer {
  const frame = Buffer.alloc(FRAME_BYTES);
  writeMac(frame, 0, MAC_BROADCAST);
  writeMac(frame, 6, mac);
  frame.writeUInt16BE(0x0806, 12);
  frame.writeUInt16BE(1, ARP_OFFSET); // Ethernet
  frame.writeUInt16BE(0x0800, ARP_OFFSET + 2); // IPv4
  frame.writeUInt8(6, ARP_OFFSET + 4);
  frame.writeUInt8(4, ARP_OFFSET + 5);
  frame.writeUInt16BE(1, ARP_OFFSET + 6); // request
  writeMac(frame, ARP_OFFSET + 8, mac);
  writeIpv4(frame, ARP_OFFSET + 14, address);
  writeIpv4(frame, ARP_OFFSET + 24, address);
  return frame;
}

/** Announces an address on an interface of a namespace, with the interface's own MAC. */
export function announceAddress(
  namespace: string,
  interfaceName: string,
  address: Ipv4Address,
): void {
  inNamespace(namespace, () => {
    const ifindex = findInterfaceIndex(interfaceName);
    if (ifindex === undefined) return; // it went meanwhile: there is nobody to tell
    const frame = gratuitousArp(readHardwareAddress(interfaceName), address);
    const RECEIVES_NOTHING = 0;
    const fd = openSocket(AF_PACKET, SOCK_RAW, RECEIVES_NOTHING);
    try {
      bindSocket(fd, linkAddress(RECEIVES_NOTHING, ifindex), interfaceName);
      sendMessage(fd, frame, `an announcement on ${interfaceName}`);
    } finally {
      closeSync(fd);
    }
  });
}
