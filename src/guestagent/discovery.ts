/** Finds the wire server: from the lease, else by asking, else the address that it has everywhere. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { NetworkInterfaceInfo } from "node:os";
import { errorText } from "../model/errors.ts";
import {
  formatIpv4,
  type Ipv4Address,
  parseIpv4,
  WIRE_SERVER_ADDRESS,
} from "../model/ipv4-address.ts";
import { parseMac } from "../model/mac-address.ts";
import { askForEndpoint, type InformPlan, type InformSender } from "./dhcp-inform.ts";
import type { AgentEdge } from "./edge.ts";
import { findEndpointInLease } from "./lease-file.ts";

const LEASE_POLL_MS = 50;

/** What {@link discoverEndpoint} may look at. */
export interface DiscoveryOptions {
  /** The DHCP client's lease file; undefined if there is none. */
  readonly leaseFile: string | undefined;
  /** How long the lease file may take to appear: the agent starts while the DHCP client still asks. */
  readonly leaseWaitMs: number;
  /** The guest's interfaces at the moment of the call, as `os.networkInterfaces()` has them. */
  readonly interfaces: () => NodeJS.Dict<NetworkInterfaceInfo[]>;
  /** Milliseconds since 1970, for the expiry dates of leases. */
  readonly epochMs: number;
  readonly edge: AgentEdge;
  readonly signal: AbortSignal;
  readonly informPlan?: InformPlan;
}

/** Finds the wire server, and says on the console which way it took. Always finds one. */
export async function discoverEndpoint(options: DiscoveryOptions): Promise<Ipv4Address> {
  const { log } = options.edge;
  const leased = await findLeased(options);
  if (leased !== undefined) {
    log(`wire server ${formatIpv4(leased)} from lease option 245`);
    return leased;
  }
  const answered = await findByInform(options);
  if (answered !== undefined) {
    log(`wire server ${formatIpv4(answered)} from the answer to a DHCPINFORM`);
    return answered;
  }
  log(`wire server ${formatIpv4(WIRE_SERVER_ADDRESS)} by default: neither lease nor DHCP named it`);
  return WIRE_SERVER_ADDRESS;
}

async function findLeased(options: DiscoveryOptions): Promise<Ipv4Address | undefined> {
  const { leaseFile, epochMs, edge } = options;
  if (leaseFile === undefined) return undefined;
  await awaitLease(leaseFile, options);
  try {
    const endpoint = findEndpointInLease(await readFile(leaseFile, "latin1"), epochMs);
    if (endpoint === undefined) edge.log(`lease file ${leaseFile} has no usable option 245`);
    return endpoint;
  } catch (error) {
    edge.log(`lease file ${leaseFile} cannot be read, ignoring it: ${errorText(error)}`);
    return undefined;
  }
}

async function awaitLease(leaseFile: string, options: DiscoveryOptions): Promise<void> {
  const { leaseWaitMs, edge, signal } = options;
  const startedAt = edge.now();
  let isWaiting = false;
  while (!existsSync(leaseFile) && !signal.aborted && edge.now() - startedAt < leaseWaitMs) {
    if (!isWaiting) edge.log(`waiting for the lease in ${leaseFile}`);
    isWaiting = true;
    await edge.sleep(LEASE_POLL_MS, signal);
  }
}

async function findByInform(options: DiscoveryOptions): Promise<Ipv4Address | undefined> {
  const { edge, signal, informPlan } = options;
  const sender = findSender(options.interfaces());
  if (sender === undefined) {
    edge.log("no interface has an IPv4 address, so DHCP cannot be asked");
    return undefined;
  }
  edge.log(`asking DHCP for the wire server as ${formatIpv4(sender.address)}`);
  try {
    return await askForEndpoint(sender, edge, signal, informPlan);
  } catch (error) {
    edge.log(`DHCP cannot be asked, ignoring it: ${errorText(error)}`);
    return undefined;
  }
}

/** The first IPv4 address of the guest that others can reach. */
export function findSender(
  interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>,
): InformSender | undefined {
  const first = Object.values(interfaces)
    .flatMap((each) => each ?? [])
    .find(({ internal, family }) => !internal && family === "IPv4");
  return first && { address: parseIpv4(first.address), mac: parseMac(first.mac) };
}
