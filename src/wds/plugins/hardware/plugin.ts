/** Answers for the physical hosts of the cluster, which the hardware manager knows by MAC. */
import type { Assignment } from "../../../dhcp/index.ts";
import type { MacAddress } from "../../../model/mac-address.ts";
import type { Plugin, ResolveVerdict } from "../../plugin.ts";
import { createReusedVerdict } from "../../verdict.ts";

/** What this provider reads of the hardware manager. */
export interface HostDirectory {
  /** The host with this MAC, or undefined. Must not block or throw. */
  findHost(mac: MacAddress): Assignment | undefined;
}

const WHY = "a physical host of the inventory has this MAC";
const NOT_MINE: ResolveVerdict = Object.freeze({
  kind: "next",
  why: "no physical host has this MAC",
});

/** Makes the `hardware` provider: a known host is assigned its address, all else is passed on. */
export function createHardwarePlugin(hosts: HostDirectory): Plugin {
  const assigned = createReusedVerdict(WHY);
  return {
    name: "hardware",
    knows: (mac) => hosts.findHost(mac) !== undefined,
    resolve: ({ chaddr }) => {
      const assignment = hosts.findHost(chaddr);
      return assignment === undefined ? NOT_MINE : assigned(assignment);
    },
  };
}
