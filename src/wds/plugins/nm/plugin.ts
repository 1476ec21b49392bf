/** Answers for tenants' NICs, whose bindings the network manager keeps by MAC. */
import type { Assignment } from "../../../dhcp/index.ts";
import type { MacAddress } from "../../../model/mac-address.ts";
import { NEXT, type Plugin } from "../../plugin.ts";

/** What this provider reads of the network manager: the bindings of one network. */
export interface NicResolver {
  /** What the NIC with this MAC is assigned, or undefined. Must not block or throw. */
  findByMac(mac: MacAddress): Assignment | undefined;
}

/** Makes the `nm` provider: a NIC of this network is assigned its address, all else is passed on. */
export function createNmPlugin(resolver: NicResolver): Plugin {
  return {
    name: "nm",
    decide: ({ chaddr }) => {
      const assignment = resolver.findByMac(chaddr);
      return assignment === undefined ? NEXT : { kind: "assigned", assignment };
    },
  };
}
