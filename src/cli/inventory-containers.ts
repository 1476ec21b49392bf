/** The containers of an inventory, as the wire server shows them. */
import { asDocument, type ContainerGoal, keys } from "../model/documents.ts";
import { formatIpv4, type Ipv4Address } from "../model/ipv4-address.ts";
import { formatMac, type MacAddress } from "../model/mac-address.ts";
import { deriveGuid } from "../model/names.ts";
import type { InventoryDescription, InventoryNic, InventoryResolver } from "../nm/index.ts";
import type { FabricStore } from "../store/index.ts";
import type { WireContainer, WireDirectory } from "../wireserver/index.ts";
import type { DataFolder } from "./data-folder.ts";
import { wireContainerOf } from "./wire-view.ts";

/** The tenant, VNET and role that the containers of an inventory belong to; an inventory has no such words. */
const TENANT = "inventory";

/** Its containers run where they run; nothing here places or starts them. */
export const INVENTORY_PLACE = { node: TENANT, attempt: 1 } as const;

/** Containers by source address. */
export interface InventoryContainers extends WireDirectory {
  /** False for the many NICs of a range, which have no name of their own. */
  isNamed(container: string): boolean;
  /** The same by MAC, without a name having to be made: it is asked for each reply. */
  isNamedMac(mac: MacAddress): boolean;
}

/**
 * Reads the incarnations that were served before and writes those that are served now: a container whose entry in the
 * inventory changed gets the next incarnation, so that its agent fetches everything again.
 */
export async function loadInventoryContainers(
  { store, fabricId }: DataFolder,
  inventory: InventoryDescription,
  resolver: InventoryResolver,
): Promise<InventoryContainers> {
  const named = new Map<string, ContainerGoal>();
  for (const { address, hostname } of inventory.nics) {
    const nic = resolver.findNic(address);
    if (nic === undefined) continue;
    const goal = goalOf(fabricId, nic, hostname);
    named.set(nic.container, await persistIncarnation(store, goal));
  }
  const macs = new Set(inventory.nics.map(({ mac }) => mac));
  return {
    isNamed: (container) => named.has(container),
    isNamedMac: (mac) => macs.has(mac),
    findByAddress: (address) => findContainer(fabricId, named, resolver, address, inventory),
  };
}

function findContainer(
  fabricId: string,
  named: ReadonlyMap<string, ContainerGoal>,
  resolver: InventoryResolver,
  address: Ipv4Address,
  { network }: InventoryDescription,
): WireContainer | undefined {
  const nic = resolver.findNic(address);
  if (nic === undefined) return undefined;
  const goal = named.get(nic.container) ?? goalOf(fabricId, nic, undefined);
  return wireContainerOf(goal, [goal], network.subnet);
}

/** The id by which a guest knows its VM. */
export function vmIdOf(fabricId: string, container: string): string {
  return deriveGuid(fabricId, "container", container);
}

function goalOf(fabricId: string, nic: InventoryNic, hostname: string | undefined): ContainerGoal {
  const { container } = nic;
  return {
    container,
    containerId: vmIdOf(fabricId, container),
    tenant: TENANT,
    role: container,
    instance: container,
    kind: "iaas",
    ...INVENTORY_PLACE,
    ...{ revision: 1, boot: 1 },
    recovery: { retries: 0, moves: 0, failedNodes: [] },
    deploymentId: deriveGuid(fabricId, "deployment", TENANT),
    incarnation: 1,
    expectedState: "Started",
    cpus: 1,
    memoryMib: 0,
    vnet: TENANT,
    mac: formatMac(nic.mac),
    address: formatIpv4(nic.address),
    hostname: hostname ?? container,
    endpoints: [],
    settings: {},
  };
}

async function persistIncarnation(store: FabricStore, goal: ContainerGoal): Promise<ContainerGoal> {
  const key = keys.containerGoal(goal.container);
  const { kv } = await store.get(key);
  const before = kv === undefined ? undefined : asDocument<ContainerGoal>(kv.value);
  const incarnation = before?.incarnation ?? goal.incarnation;
  const same = { ...goal, incarnation };
  if (JSON.stringify(before) === JSON.stringify(same)) return same;
  const next = before === undefined ? goal : { ...goal, incarnation: incarnation + 1 };
  await store.txn({ success: [{ kind: "put", key, value: next }] });
  return next;
}
