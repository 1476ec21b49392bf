/** What an inventory makes of the DHCP server: its chain and its rules, the same under `serve` and in a replay. */
import type { DhcpServerOptions } from "../dhcp/index.ts";
import type { InventoryDescription, InventoryResolver } from "../nm/index.ts";
import {
  type Chain,
  type ChainOptions,
  createChain,
  createHardwarePlugin,
  createNmPlugin,
} from "../wds/index.ts";

/** The part of a server that does not depend on where it listens. */
export interface InventoryServer {
  readonly chain: Chain;
  readonly rules: Required<Pick<DhcpServerOptions, "policy" | "holdAfterDecline" | "relays">>;
}

/** Makes chain and rules; the order of the plugins is decided here. */
export function createInventoryServer(
  { network }: InventoryDescription,
  resolver: InventoryResolver,
  options: ChainOptions = {},
): InventoryServer {
  const { subnet, bootp, rapidCommit, refuseUnknown, decline } = network;
  return {
    chain: createChain([createHardwarePlugin(resolver), createNmPlugin(resolver)], options),
    rules: {
      policy: { bootp, rapidCommit, ...(refuseUnknown && { refuseUnknown: subnet }) },
      holdAfterDecline: decline === "hold",
      relays: subnet,
    },
  };
}
