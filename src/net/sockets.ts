/** Sockets that must be opened inside a network namespace, as descriptors that Node then takes over. */
import { closeSync } from "node:fs";
import { FabricError } from "../model/errors.ts";
import { formatIpv4, IPV4_UNSPECIFIED, type Ipv4Address } from "../model/ipv4-address.ts";
import { type BpfInstruction, DROP_ALL, encodeBpf } from "./bpf.ts";
import {
  AF_INET,
  attachSocketFilter,
  bindSocket,
  getSocketOption,
  lastErrno,
  listenSocket,
  openSocket,
  pollAsync,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  setSocketFlag,
  startConnect,
} from "./libc.ts";

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SOL_IP = 0;
const IP_FREEBIND = 15;
const LISTEN_BACKLOG = 511;

/** struct sockaddr_in. */
function internetAddress(address: Ipv4Address, port: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.writeUInt32BE(address, 4);
  return bytes;
}

/**
 * Opens a listening TCP socket in the calling thread's namespace.
 *
 * @param isPresent - false: no interface needs to have the address yet
 * @returns a descriptor for `server.listen({ fd })`, which then owns it
 * @throws FabricError ERR_NET_ADDRESS_IN_USE naming address and port
 */
export function openListener(address: Ipv4Address, port: number, isPresent = true): number {
  const what = `${formatIpv4(address)}:${port}`;
  const fd = openSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  try {
    setSocketFlag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!isPresent) setSocketFlag(fd, SOL_IP, IP_FREEBIND, 1);
    bindSocket(fd, internetAddress(address, port), what);
    listenSocket(fd, LISTEN_BACKLOG);
    return fd;
  } catch (error) {
    const inUse = lastErrno() === "EADDRINUSE";
    closeSync(fd);
    if (!inUse) throw error;
    throw new FabricError(
      "ERR_NET_ADDRESS_IN_USE",
      `Cannot listen on ${what}: another process does; stop it first ('ss -ltnp')`,
    );
  }
}

/**
 * Holds a UDP port without ever reading from it, so that the kernel does not answer a unicast DHCP renewal, which the
 * packet ring has seen, with an ICMP port-unreachable.
 *
 * @returns a descriptor that you close, or undefined if another process holds the port
 */
export function openPortHolder(port: number): number | undefined {
  const fd = openSocket(AF_INET, SOCK_DGRAM, 0);
  try {
    attachSocketFilter(fd, encodeBpf(DROP_ALL));
    bindSocket(fd, internetAddress(IPV4_UNSPECIFIED, port), `UDP port ${port}`);
    return fd;
  } catch (error) {
    const inUse = lastErrno() === "EADDRINUSE";
    closeSync(fd);
    if (inUse) return undefined;
    throw error;
  }
}

/**
 * Opens a bound UDP socket in the calling thread's namespace; its datagrams may be fragmented.
 *
 * @param filter - the datagrams to keep, which it sees from the UDP header on; attached before the socket is bound
 * @returns a descriptor that you close, or hand to `dgram`, which then owns it
 * @throws FabricError ERR_NET_ADDRESS_IN_USE naming address and port
 */
export function openDatagramSocketFd(
  address: Ipv4Address,
  port: number,
  filter: readonly BpfInstruction[],
): number {
  const IPPROTO_IP = 0;
  const IP_MTU_DISCOVER = 10;
  const IP_PMTUDISC_DONT = 0;
  const what = `UDP ${formatIpv4(address)}:${port}`;
  const fd = openSocket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  try {
    setSocketFlag(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    attachSocketFilter(fd, encodeBpf(filter));
    bindSocket(fd, internetAddress(address, port), what);
    return fd;
  } catch (error) {
    const inUse = lastErrno() === "EADDRINUSE";
    closeSync(fd);
    if (!inUse) throw error;
    throw new FabricError(
      "ERR_NET_ADDRESS_IN_USE",
      `Cannot receive on ${what}: another process does; stop it first ('ss -lunp')`,
    );
  }
}

/** A TCP connection being made; the descriptor is yours. */
export interface PendingConnection {
  readonly fd: number;
  /** Resolves to undefined once connected, or to the errno name, or `ETIMEDOUT` after `timeoutMs`. */
  connected(timeoutMs: number): Promise<string | undefined>;
}

/** Starts a TCP connection from the calling thread's namespace. @returns the errno name if it failed at once */
export function openConnection(address: Ipv4Address, port: number): PendingConnection | string {
  const fd = openSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const failure = startConnect(fd, internetAddress(address, port));
  if (failure === undefined) return { fd, connected: (timeoutMs) => awaitConnect(fd, timeoutMs) };
  closeSync(fd);
  return failure;
}

async function awaitConnect(fd: number, timeoutMs: number): Promise<string | undefined> {
  const POLLOUT = 4;
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  entry.writeInt16LE(POLLOUT, 4);
  if ((await pollAsync(entry, 1, timeoutMs)) <= 0) return "ETIMEDOUT";
  const error = Buffer.alloc(4);
  getSocketOption(fd, SOL_SOCKET, SO_ERROR, error);
  const code = error.readInt32LE(0);
  return code === 0 ? undefined : `errno ${code}`;
}
