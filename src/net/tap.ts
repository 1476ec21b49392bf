/** Opens the host end of a VM's NIC: a tap whose descriptor is handed to QEMU, which then needs no privilege. */
import { closeSync, openSync } from "node:fs";
import { FabricError } from "../model/errors.ts";
import { findInterfaceIndex, interfaceRequest } from "./interface-info.ts";
import { ioctl } from "./libc.ts";

const TUNSETIFF = 0x4004_54ca;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const REQUEST_FLAGS_OFFSET = 16;

/** A tap that lives as long as a descriptor of it is open in any process. */
export interface Tap {
  readonly name: string;
  readonly ifindex: number;
  readonly fd: number;
}

/**
 * Makes a tap in the calling thread's network namespace, down and attached to nothing: a port is blocked until
 * its program has been applied. You close `fd`.
 *
 * @param name - at most 15 bytes
 */
export function openTap(name: string): Tap {
  const fd = openTunDevice();
  try {
    const request = interfaceRequest(name);
    request.writeUInt16LE(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, REQUEST_FLAGS_OFFSET);
    ioctl(fd, TUNSETIFF, request, `make the tap ${name}`);
    const ifindex = findInterfaceIndex(name);
    if (ifindex === undefined) throw new Error(`the tap ${name} is gone right after it was made`);
    return { name, ifindex, fd };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openTunDevice(): number {
  try {
    return openSync("/dev/net/tun", "r+");
  } catch (cause) {
    throw new FabricError("ERR_NET_TAP", "Cannot open /dev/net/tun; is the tun module loaded?", {
      cause,
    });
  }
}
