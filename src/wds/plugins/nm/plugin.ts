/** Answers for tenants' NICs, whose bindings the network manager keeps by MAC. */
import type { Assignment } from "../../../dhcp/index.ts";
import type { MacAddress } from "../../../model/mac-address.ts";
import type { Plugin, ResolveVerdict } from "../../plugin.ts";
import { createReusedVerdict } from "../../verdict.ts";

/** What this provider reads of the network manager: the bindings of one network. */
export interface NicResolver {
  /** What the NIC with this MAC is assigned, or undefined. Must not block or throw. */
  findByMac(mac: MacAddress): Assignment | undefined;
  /**
   * True if a NIC is known on another port than the one that its request was seen on; absent: NICs are not told apart by
   * their ports here. Must not block or throw.
   */
  isElsewhere?(mac: MacAddress, ifindex: number): boolean;
}

const WHY = "a binding has this MAC on this network";
const NOT_MINE: ResolveVerdict = Object.freeze({
  kind: "next",
  why: "no binding has this MAC on this network",
});

/** Somebody else has the NIC's MAC, or it was moved: neither an answer nor a refusal may go to that port. */
const MISPLACED: ResolveVerdict = Object.freeze({
  kind: "drop",
  reason: "port.mismatch",
  why: "the binding of this MAC is on another port",
});

/**
 * Makes the `nm` provider: a NIC of this network is assigned its address, one that is seen on another port than its own
 * is dropped, all else is passed on.
 */
export function createNmPlugin(resolver: NicResolver): Plugin {
  const assigned = createReusedVerdict(WHY);
  return {
    name: "nm",
    knows: (mac) => resolver.findByMac(mac) !== undefined,
    resolve: ({ chaddr }, { ifindex }) => {
      const assignment = resolver.findByMac(chaddr);
      if (assignment === undefined) return NOT_MINE;
      if (resolver.isElsewhere?.(chaddr, ifindex) === true) return MISPLACED;
      return assigned(assignment);
    },
  };
}
