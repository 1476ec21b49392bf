/** What answers DHCP on a VNET's bridge, on a packet ring. */
import { createDhcpCounters, type DhcpCounters } from "../dhcp/index.ts";
import type { FrameSocketCounters } from "../net/frame-socket.ts";
import { type DhcpNetwork, holdServerPort, openDhcpService } from "./dhcp-service.ts";

export interface NetworkServicesOptions extends Omit<DhcpNetwork, "counters"> {
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
 * @throws FabricError ERR_USAGE_INTERFACE, ERR_NET_SYSTEM_CALL
 */
export function startNetworkServices(options: NetworkServicesOptions): NetworkServices {
  const opened = new AsyncDisposableStack();
  try {
    opened.use(holdServerPort(options.namespace, options.log));
    const counters = createDhcpCounters();
    const on = { name: options.interfaceName, bypassQueue: true };
    const dhcp = opened.use(openDhcpService({ ...options, counters }, on));
    return {
      counters,
      readSocketCounters: dhcp.readFrames,
      ended: dhcp.ended,
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  } catch (error) {
    void opened.disposeAsync();
    throw error;
  }
}
