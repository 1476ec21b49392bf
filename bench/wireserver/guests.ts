/** Containers with source addresses of the loopback interface: 127.1.0.1 and on. */
import { type Ipv4Address, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { deriveGuid } from "../../src/model/names.ts";
import type { WireContainer } from "../../src/wireserver/index.ts";

/** As waagent asks, without its last header. */
export const GOAL_STATE_PATH = "/machine/?comp=goalstate";

/** The address of a guest; 0 is the one that wrk asks from. */
export function guestAddress(index: number): string {
  if (index === 0) return "127.0.0.1";
  return `127.1.${index >> 8}.${index & 255}`;
}

/** A container that has nothing in common with the others. */
export function guestOf(index: number): WireContainer {
  const address: Ipv4Address = parseIpv4(guestAddress(index));
  const id = `web_${index}`;
  const guid = deriveGuid("bench", String(index));
  return {
    name: `bench.${id}`,
    containerId: guid,
    instanceId: `${guid}.${id}`,
    ...{ roleName: "web", roleInstance: id, roleGuid: guid },
    deployment: { name: "bench", guid },
    ...{ incarnation: 3, expectedState: "Started", address, mac: parseMac("00:15:5d:00:00:01") },
    instances: [{ id, address, endpoints: [] }],
    settings: {},
  };
}
