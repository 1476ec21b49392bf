/** Facts about an interface of the calling thread's network namespace (never through /sys, which may be another's). */
import { closeSync } from "node:fs";
import { type MacAddress, readMac } from "../model/mac-address.ts";
import { AF_INET, interfaceIndex, ioctl, openSocket, SOCK_DGRAM } from "./libc.ts";

const IFREQ_BYTES = 40;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;

/** The index of an interface, or undefined if there is none of that name. */
export function findInterfaceIndex(name: string): number | undefined {
  return interfaceIndex(name) || undefined;
}

/** The interface's Ethernet address. */
export function readHardwareAddress(name: string): MacAddress {
  const SA_DATA_OFFSET = 18;
  return readMac(query(name, SIOCGIFHWADDR, "read the hardware address"), SA_DATA_OFFSET);
}

/** The interface's MTU in bytes. */
export function readMtu(name: string): number {
  return query(name, SIOCGIFMTU, "read the MTU").readInt32LE(16);
}

/** struct ifreq: a name of at most 15 bytes, then the request's value at 16. */
export function interfaceRequest(name: string): Buffer {
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name, 0, 15, "latin1");
  return request;
}

function query(name: string, kind: number, action: string): Buffer {
  const request = interfaceRequest(name);
  const fd = openSocket(AF_INET, SOCK_DGRAM, 0);
  try {
    ioctl(fd, kind, request, `${action} of ${name}`);
    return request;
  } finally {
    closeSync(fd);
  }
}
