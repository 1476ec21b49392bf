/** What commands ask of a fabric, answered by its managers and its store. */
import { type ComputeManager, describeExtensions } from "../../compute/index.ts";
import {
  asDocument,
  type ContainerGoal,
  keys,
  type NodeNetworkStatus,
  type NodeStatus,
  type TenantRecord,
  type VipGoal,
} from "../../model/documents.ts";
import { FabricError } from "../../model/errors.ts";
import { formatSubnet, type Ipv4Subnet, subnetContains } from "../../model/ipv4-address.ts";
import type { TenantDescription } from "../../model/tenant.ts";
import type { NetworkManager } from "../../nm/index.ts";
import type { FabricStore } from "../../store/index.ts";
import { type BootTrace, why } from "../../trace/index.ts";
import type { EventControl } from "../events/event-control.ts";
import { faultSentence } from "../faults/fault-control.ts";
import type { GuestMaterials } from "../guest-material/guest-materials.ts";
import type { FabricControl, NodeView, TenantView } from "../tenants/fabric-control.ts";

/** What {@link createFabricControl} needs. */
export interface ManagerControlOptions {
  readonly manager: ComputeManager;
  readonly network: NetworkManager;
  readonly store: FabricStore;
  readonly trace: BootTrace;
  readonly materials: GuestMaterials;
  /** Subnets that no VNET may reach into, with what they are for. */
  readonly reserved: readonly { readonly subnet: Ipv4Subnet; readonly use: string }[];
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly events: Pick<EventControl, "forgetTenant">;
}

/** Makes the {@link FabricControl} of a control process. */
export function createFabricControl(options: ManagerControlOptions): FabricControl {
  const { manager, network, trace, now, store, reserved, materials, events } = options;
  return {
    submit: async (submission) => {
      const { tenant, folder } = submission;
      refuseReserved(tenant, reserved);
      const { outcome, containers } = await materials.submit(submission, (material) =>
        manager.submit(tenant, folder, material),
      );
      return { tenant: tenant.tenant, kind: outcome, containers: [...containers] };
    },
    deleteTenant: async (tenant) => {
      await manager.deleteTenant(tenant);
      await events.forgetTenant(tenant);
      const isGone = manager.whenDeleted(tenant);
      isGone.then(() => materials.sweep()).catch(() => undefined); // the next start sweeps
    },
    change: (container, action) => manager[action](container),
    listContainers: () => manager.listContainers(),
    listNodes: () => listNodes(store),
    listTenants: () => listTenants(options),
    findOwner: async (mac) => {
      const found = await network.findOwner(mac);
      if (found === undefined) return { owner: "nobody" };
      if (found.kind === "host") return { owner: "host" };
      const { container, vnet, address, node } = found.nic;
      return { owner: "tenant", container, vnet, address, node };
    },
    why: async (container) => {
      const view = (await manager.listContainers()).find((row) => row.container === container);
      if (view === undefined) {
        const message = `There is no container ${container}; goalstate ps lists them`;
        throw new FabricError("ERR_USAGE_CONTAINER_UNKNOWN", message);
      }
      const waits = why(await trace.timeline(container), now());
      const extensions = describeExtensions(view.extensions);
      const sentences = [
        `${container} is ${view.state}: ${view.detail}. ${waits}`,
        extensions === undefined ? undefined : `Besides, ${extensions}.`,
        await faultSentence(store, container),
      ];
      return sentences.filter((sentence) => sentence !== undefined).join(" ");
    },
  };
}

/** A guest could not tell such an address of its VNET from one outside. */
function refuseReserved(
  { tenant, vnet }: TenantDescription,
  reserved: ManagerControlOptions["reserved"],
): void {
  const { addressSpace } = vnet;
  const taken = reserved.find(
    ({ subnet }) =>
      subnetContains(addressSpace, subnet.network) || subnetContains(subnet, addressSpace.network),
  );
  if (taken === undefined) return;
  const message =
    `${tenant}: vnet.addressSpace ${formatSubnet(addressSpace)} overlaps ${formatSubnet(taken.subnet)}, ` +
    `${taken.use}; give the VNET another one`;
  throw new FabricError("ERR_USAGE_TENANT", message);
}

async function listNodes(store: FabricStore): Promise<NodeView[]> {
  const [nodes, goals] = await Promise.all([store.list("/nodes/"), listGoals(store)]);
  const live = nodes.kvs.map(({ value }) => asDocument<NodeStatus>(value));
  const gone = [...new Set(goals.map(({ node }) => node))].filter(
    (name) => name !== "" && live.every(({ node }) => node !== name),
  );
  const views = live.map(async (status): Promise<NodeView> => {
    const { node, address, faultDomain, cpus, memoryMib, hypervisor } = status;
    const placed = goals.filter((goal) => goal.node === node);
    const { kv } = await store.get(keys.nodeNetwork(node));
    const network = kv === undefined ? undefined : asDocument<NodeNetworkStatus>(kv.value);
    return {
      ...{ node, faultDomain, hypervisor },
      isLive: true,
      address: address ?? "",
      cpus: { used: sum(placed, (goal) => goal.cpus), total: cpus },
      memoryMib: { used: sum(placed, (goal) => goal.memoryMib), total: memoryMib },
      containers: placed.length,
      blockedPorts: (network?.blockedPorts ?? []).map(
        ({ namespace, port, reason }) => `port ${port} in ${namespace} stays blocked: ${reason}`,
      ),
      foreignFirewalls: (network?.foreignFirewalls ?? []).map(
        ({ name, evidence, effect }) => `firewall of ${name} (${evidence}): ${effect}`,
      ),
    };
  });
  return [...(await Promise.all(views)), ...gone.map((node) => goneNode(node, goals))];
}

function goneNode(node: string, goals: readonly ContainerGoal[]): NodeView {
  const placed = goals.filter((goal) => goal.node === node);
  return {
    ...{ node, isLive: false, address: "", faultDomain: "", hypervisor: "" },
    cpus: { used: sum(placed, ({ cpus }) => cpus), total: 0 },
    memoryMib: { used: sum(placed, ({ memoryMib }) => memoryMib), total: 0 },
    containers: placed.length,
    blockedPorts: [],
    foreignFirewalls: [],
  };
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}

async function listGoals(store: FabricStore): Promise<ContainerGoal[]> {
  const { kvs } = await store.list("/containers/");
  return kvs
    .filter(({ key }) => key.endsWith("/goal"))
    .map(({ value }) => asDocument<ContainerGoal>(value));
}

async function listTenants({ manager, store }: ManagerControlOptions): Promise<TenantView[]> {
  const [tenants, vips, containers] = await Promise.all([
    store.list("/tenants/"),
    store.list("/vips/"),
    manager.listContainers(),
  ]);
  const goals = vips.kvs.map(({ value }) => asDocument<VipGoal>(value));
  return tenants.kvs.map(({ value }) => {
    const record = asDocument<TenantRecord>(value);
    const name = record.tenant;
    const ours = containers.filter((row) => row.tenant === name);
    return {
      tenant: name,
      phase: phaseOf(record),
      instances: ours.length,
      ready: ours.filter(({ state }) => state === "Ready").length,
      endpoints: goals
        .filter((goal) => goal.tenant === name)
        .flatMap(({ vip, endpoints }) =>
          endpoints.map(
            ({ role, name: endpoint, protocol, publicPort }) =>
              `${role}.${endpoint} ${protocol} ${vip}:${publicPort}`,
          ),
        ),
    };
  });
}

function phaseOf({ phase, rollout }: TenantRecord): string {
  if (phase !== "accepted" || rollout === undefined) return phase;
  if (rollout.stopped !== undefined) return `update stopped: ${rollout.stopped}`;
  return `updating ${rollout.roles.join(", ")} (domain ${rollout.domain + 1})`;
}
