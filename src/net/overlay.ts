/** The overlay of a VNET on a node: a VXLAN device on its bridge, and entries for the guests on other nodes. */
import { z } from "zod";
import { formatIpv4, type Ipv4Address } from "../model/ipv4-address.ts";
import { VNET_BRIDGE } from "./bridge-names.ts";
import { forgetFlows } from "./flows.ts";
import { ipBatch } from "./iproute.ts";
import { applyNft } from "./nft.ts";
import { renderOverlayFilter } from "./overlay-filter.ts";
import {
  entriesOf,
  OVERLAY_PORT,
  type OverlayEntries,
  type OverlayPeer,
  planOverlay,
  ROUTER_SUBNET,
  routerOf,
  VXLAN_PORT,
} from "./overlay-plan.ts";
import { runTool } from "./run-tool.ts";
import { setSysctls } from "./sysctl.ts";

/** A VNET's overlay on a node. */
export interface Overlay {
  readonly vnetNamespace: string;
  /** The underlay address of this node. */
  readonly localAddress: Ipv4Address;
}

/**
 * Connects a VNET of a node to the same VNET on other nodes, or adopts the connection that is there. The device's UDP
 * socket is in the node's namespace, where the fence filters it; the device itself is in the VNET's.
 *
 * @param options.vni - 24 bits, different for each VNET of the fabric
 * @param options.mtu - of the guests: the underlay's less 50 bytes
 */
export async function attachOverlay(options: {
  readonly nodeNamespace: string;
  readonly vnetNamespace: string;
  readonly vni: number;
  readonly localAddress: Ipv4Address;
  readonly port?: number;
  readonly mtu?: number;
}): Promise<Overlay> {
  const { vnetNamespace, localAddress, mtu = 1500 } = options;
  const overlay: Overlay = { vnetNamespace, localAddress };
  const found = await findDevice(vnetNamespace);
  if (found !== undefined && !isSameDevice(found, options)) {
    await ipBatch(vnetNamespace, [`link del dev ${OVERLAY_PORT}`]);
  }
  if (found === undefined || !isSameDevice(found, options)) {
    // The filter first, with nobody in it: the device lets nothing through from its first moment.
    await applyNft(vnetNamespace, renderOverlayFilter({ localAddress, peers: [], nodes: [] }));
    await createDevice(options);
  }
  await ipBatch(vnetNamespace, [
    `link set dev ${OVERLAY_PORT} mtu ${mtu} master ${VNET_BRIDGE}`,
    `link set dev ${OVERLAY_PORT} type bridge_slave learning off flood off mcast_flood off ` +
      "bcast_flood off neigh_suppress on",
    `link set dev ${OVERLAY_PORT} up`,
    `route replace ${ROUTER_SUBNET} dev ${VNET_BRIDGE} scope link`,
  ]);
  setSysctls(vnetNamespace, { "ipv4/ip_forward": "1" });
  return overlay;
}

/** Takes a VNET of this node off the overlay. */
export async function detachOverlay(vnetNamespace: string): Promise<void> {
  if ((await findDevice(vnetNamespace)) === undefined) return;
  await ipBatch(vnetNamespace, [`link del dev ${OVERLAY_PORT}`]);
}

/**
 * Makes the guests on other nodes reachable, and those that are not given unreachable. Compares with what the kernel has,
 * so it may be called again with the same at any time, also after a crash half-way.
 *
 * @param options.peers - NICs of this VNET that are on other nodes; never one of this node
 * @param options.nodes - underlay addresses of the other nodes that have the VNET or serve a VIP of it
 */
export async function setPeers(
  overlay: Overlay,
  options: { readonly peers: readonly OverlayPeer[]; readonly nodes: readonly Ipv4Address[] },
): Promise<void> {
  const { vnetNamespace, localAddress } = overlay;
  const nodes = options.nodes.filter((address) => address !== localAddress);
  const peers = options.peers.filter(({ nodeAddress }) => nodeAddress !== localAddress);
  const wanted = entriesOf([...peers, ...nodes.map(routerOf)]);
  const changes = planOverlay(await readEntries(vnetNamespace), wanted);
  await applyNft(vnetNamespace, renderOverlayFilter({ localAddress, peers, nodes }));
  await bridgeBatch(vnetNamespace, changes.bridgeRemovals, "go-on");
  await bridgeBatch(vnetNamespace, changes.bridgeAdditions, "stop");
  await ipBatch(vnetNamespace, [...changes.neighbourRemovals, ...changes.neighbourAdditions]);
  // A flow to a guest that came or went has the wrong source for its new place, and a guest that does not know it.
  const moved = new Set(changes.movedAddresses);
  if (moved.size > 0) await forgetFlows(vnetNamespace, ({ target }) => moved.has(target));
}

async function createDevice(options: {
  readonly nodeNamespace: string;
  readonly vnetNamespace: string;
  readonly vni: number;
  readonly localAddress: Ipv4Address;
  readonly port?: number;
}): Promise<void> {
  const { nodeNamespace, vnetNamespace, vni, localAddress, port = VXLAN_PORT } = options;
  await ipBatch(nodeNamespace, [
    `link add name ${OVERLAY_PORT} netns ${vnetNamespace} type vxlan id ${vni} ` +
      `local ${formatIpv4(localAddress)} dstport ${port} nolearning`,
  ]);
}

const DeviceSchema = z.array(
  z.looseObject({
    ifname: z.string().optional(),
    linkinfo: z
      .looseObject({
        info_data: z
          .looseObject({ id: z.number(), local: z.string().optional(), port: z.number() })
          .optional(),
      })
      .optional(),
  }),
);

interface FoundDevice {
  readonly id: number;
  readonly local?: string | undefined;
  readonly port: number;
}

async function findDevice(vnetNamespace: string): Promise<FoundDevice | undefined> {
  const args = ["-n", vnetNamespace, "-j", "-d", "link", "show", "type", "vxlan"];
  const links = DeviceSchema.parse(JSON.parse((await runTool("ip", args)).trim() || "[]"));
  return links.find(({ ifname }) => ifname === OVERLAY_PORT)?.linkinfo?.info_data;
}

function isSameDevice(
  found: FoundDevice,
  wanted: { readonly vni: number; readonly localAddress: Ipv4Address; readonly port?: number },
): boolean {
  const { vni, localAddress, port = VXLAN_PORT } = wanted;
  return found.id === vni && found.local === formatIpv4(localAddress) && found.port === port;
}

const FdbSchema = z.array(
  z.looseObject({
    mac: z.string(),
    dst: z.string().optional(),
    master: z.string().optional(),
    state: z.string().default(""),
  }),
);
const NeighbourSchema = z.array(z.looseObject({ dst: z.string(), lladdr: z.string().optional() }));

/** What the kernel has; entries that it made itself are not among it. */
async function readEntries(vnetNamespace: string): Promise<OverlayEntries> {
  const inside = ["-n", vnetNamespace, "-j"];
  const [fdbText, neighbourText] = await Promise.all([
    runTool("bridge", [...inside, "fdb", "show", "dev", OVERLAY_PORT]),
    runTool("ip", [...inside, "neigh", "show", "dev", VNET_BRIDGE, "nud", "permanent"]),
  ]);
  const fdb = FdbSchema.parse(JSON.parse(fdbText.trim() || "[]"));
  const neighbours = NeighbourSchema.parse(JSON.parse(neighbourText.trim() || "[]"));
  return {
    tunnels: new Map(fdb.flatMap(({ mac, dst }) => (dst === undefined ? [] : [[mac, dst]]))),
    ports: new Set(
      fdb
        .filter(({ master, state }) => master !== undefined && state === "static")
        .map(({ mac }) => mac),
    ),
    neighbours: new Map(neighbours.map(({ dst, lladdr = "" }) => [dst, lladdr])),
  };
}

/** As `ipBatch`, with `bridge`; `go-on`: a line that fails is passed over. */
async function bridgeBatch(
  namespace: string,
  lines: readonly string[],
  mode: "stop" | "go-on",
): Promise<void> {
  if (lines.length === 0) return;
  const force = mode === "go-on" ? ["-force"] : [];
  const run = runTool("bridge", ["-n", namespace, ...force, "-batch", "-"], {
    input: `${lines.join("\n")}\n`,
  });
  // An entry that went by itself, or moved to a guest's own port, cannot be removed here and need not be.
  await (mode === "go-on" ? run.catch(() => undefined) : run);
}
