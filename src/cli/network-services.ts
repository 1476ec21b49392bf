/** What answers guests on a VNET's bridge: DHCP on a packet ring, wire server, host plugin and metadata on HTTP. */
import { createDhcpCounters, type DhcpCounters } from "../dhcp/index.ts";
import type { FrameSocketCounters } from "../net/frame-socket.ts";
import { type DhcpNetwork, holdServerPort, openDhcpService } from "./dhcp-service.ts";
import { type HttpServicesOptions, startHttpServices } from "./http-services.ts";

export interface NetworkServicesOptions
  extends Omit<DhcpNetwork, "counters">,
    Omit<HttpServicesOptions, "mayPrecedeAddresses"> {
  readonly interfaceName: string;
}

/** Running services of one network. Disposing stops them and closes their sockets. */
export interface NetworkServices extends AsyncDisposable {
  readonly counters: DhcpCounters;
  /** The packet socket's own counters; asks the kernel. */
  readonly readSocketCounters: () => FrameSocketCounters;
  /** Rejects when the packet socket fails; resolves when disposed. */
  readonly ended: Promise<void>;
}

/**
 * Starts answering on a network whose ports are ours alone. The platform's addresses must be on the interface already.
 *
 * @throws FabricError ERR_USAGE_INTERFACE, ERR_NET_ADDRESS_IN_USE, ERR_NET_SYSTEM_CALL
 */
export async function startNetworkServices(
  options: NetworkServicesOptions,
): Promise<NetworkServices> {
  await using opened = new AsyncDisposableStack();
  opened.use(await startHttpServices(options));
  opened.use(holdServerPort(options.namespace, options.log));
  const counters = createDhcpCounters();
  const network = { ...options, counters };
  const on = { name: options.interfaceName, bypassQueue: true };
  const dhcp = opened.use(openDhcpService(network, on));
  const kept = opened.move();
  return {
    counters,
    readSocketCounters: dhcp.readFrames,
    ended: dhcp.ended,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
