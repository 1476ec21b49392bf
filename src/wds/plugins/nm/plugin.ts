/** Answers for tenants' NICs, whose bindings the network manager keeps by MAC. */
import type { Assignment } from "../../../dhcp/index.ts";
import type { MacAddress } from "../../../model/mac-address.ts";
import type { Plugin, ResolveVerdict } from "../../plugin.ts";

/** What this provider reads of the network manager: the bindings of one network. */
export interface NicResolver {
  /** What the NIC with this MAC is assigned, or undefined. Must not block or throw. */
  findByMac(mac: MacAddress): Assignment | undefined;
}

const WHY = "a binding has this MAC on this network";
const NOT_MINE: ResolveVerdict = Object.freeze({
  kind: "next",
  why: "no binding has this MAC on this network",
});

/** Makes the `nm` provider: a NIC of this network is assigned its address, all else is passed on. */
export function createNmPlugin(resolver: NicResolver): Plugin {
  return {
    name: "nm",
    knows: (mac) => resolver.findByMac(mac) !== undefined,
    resolve: ({ chaddr }) => {
      const assignment = resolver.findByMac(chaddr);
      return assignment === undefined ? NOT_MINE : { kind: "assigned", assignment, why: WHY };
    },
  };
}
