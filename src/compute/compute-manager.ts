/** The compute manager: turns a tenant into containers, places them on nodes, and writes their goals. */
import { resolve } from "node:path";
import { asDocument, type ContainerGoal, keys, type NicGoal } from "../model/documents.ts";
import { FabricError } from "../model/errors.ts";
import { containerName, deriveGuid, hostName, instanceName } from "../model/names.ts";
import type { RoleDescription, TenantDescription } from "../model/tenant.ts";
import type { NetworkManager } from "../nm/index.ts";
import type { FabricStore } from "../store/index.ts";
import type { BootTrace } from "../trace/index.ts";

/** Incarnation of a container's first goal state; it only grows. */
const FIRST_INCARNATION = 1;

export interface ComputeManagerOptions {
  readonly store: FabricStore;
  readonly network: NetworkManager;
  readonly trace: Pick<BootTrace, "startBoot" | "reach">;
  /** Part of every derived identifier, so that two fabrics do not share any. */
  readonly fabricId: string;
  /** Nodes to place containers on, in turn. */
  readonly nodes: readonly string[];
}

interface Placement {
  readonly role: RoleDescription;
  readonly instance: string;
  readonly container: string;
  readonly node: string;
  readonly boot: number;
}

/** Deploys and deletes tenants. It keeps nothing of its own: goals are in the store. */
export class ComputeManager {
  readonly #options: ComputeManagerOptions;

  constructor(options: ComputeManagerOptions) {
    this.#options = options;
  }

  /**
   * Deploys a tenant.
   *
   * @param folder - what relative paths in the description are relative to
   * @returns the containers' names, in the order of the description
   * @throws FabricError ERR_USAGE_TENANT_EXISTS
   */
  async deploy(tenant: TenantDescription, folder: string): Promise<readonly string[]> {
    const { store, network } = this.#options;
    const key = keys.tenant(tenant.tenant);
    const created = await store.txn({
      compare: [{ key, modRev: 0 }],
      success: [{ kind: "put", key, value: tenant }],
    });
    if (!created.ok) {
      const message = `Tenant ${tenant.tenant} is deployed already; delete it first`;
      throw new FabricError("ERR_USAGE_TENANT_EXISTS", message);
    }
    const placements = await this.#place(tenant);
    const nics = await network.allocate({
      tenant: tenant.tenant,
      vnet: `${tenant.tenant}.${tenant.vnet.name}`,
      addressSpace: tenant.vnet.addressSpace,
      nics: placements.map(({ container, instance, role }) => ({
        container,
        role: role.name,
        hostname: hostName(instance),
      })),
    });
    for (const placement of placements) {
      const nic = nics.find(({ container }) => container === placement.container);
      if (nic === undefined) throw new Error(`no NIC was allocated for ${placement.container}`);
      await this.#commit(tenant, placement, nic, folder);
    }
    return placements.map(({ container }) => container);
  }

  /** Takes a tenant's goals back; the agents stop its VMs and remove its ports. */
  async delete(tenant: TenantDescription): Promise<void> {
    const { store, network } = this.#options;
    const { kvs } = await store.list(`/containers/${tenant.tenant}.`);
    for (const { key, value } of kvs.filter((kv) => kv.key.endsWith("/goal"))) {
      if (asDocument<ContainerGoal>(value).tenant !== tenant.tenant) continue;
      const { container, node } = asDocument<ContainerGoal>(value);
      await store.txn({
        success: [
          { kind: "delete", key },
          { kind: "delete", key: keys.placement(node, container) },
        ],
      });
    }
    await network.release(`${tenant.tenant}.${tenant.vnet.name}`);
    await store.txn({ success: [{ kind: "delete", key: keys.tenant(tenant.tenant) }] });
  }

  async #place(tenant: TenantDescription): Promise<Placement[]> {
    const { nodes, trace } = this.#options;
    const chosen = tenant.roles
      .flatMap((role) =>
        Array.from({ length: role.instances }, (_, index) => ({
          role,
          instance: instanceName(role.name, index),
        })),
      )
      .map(({ role, instance }, index) => ({
        role,
        instance,
        container: containerName(tenant.tenant, instance),
        node: nodes[index % nodes.length] ?? "",
      }));
    const placements: Placement[] = [];
    for (const placement of chosen) {
      const { container, node, role } = placement;
      const boot = (await trace.startBoot(container)) ?? 0;
      trace.reach(container, "placed", { node, role: role.name });
      placements.push({ ...placement, boot });
    }
    return placements;
  }

  async #commit(
    tenant: TenantDescription,
    placement: Placement,
    nic: NicGoal,
    folder: string,
  ): Promise<void> {
    const { store, trace, network } = this.#options;
    const { container } = placement;
    trace.reach(container, "network-allocated", {
      vnet: nic.vnet,
      mac: nic.mac,
      address: nic.address,
    });
    const goal = this.#containerGoal(tenant, placement, nic, folder);
    const key = keys.containerGoal(container);
    await store.txn({
      compare: [{ key, modRev: 0 }],
      success: [
        { kind: "put", key, value: goal },
        {
          kind: "put",
          key: keys.placement(goal.node, container),
          value: { revision: goal.revision },
        },
        network.place(nic, goal.node),
      ],
    });
  }

  #containerGoal(
    tenant: TenantDescription,
    { role, instance, container, node, boot }: Placement,
    nic: NicGoal,
    folder: string,
  ): ContainerGoal {
    const { fabricId } = this.#options;
    return {
      container,
      containerId: deriveGuid(fabricId, "container", container),
      tenant: tenant.tenant,
      role: role.name,
      instance,
      kind: role.kind,
      node,
      revision: 1,
      attempt: 1,
      boot,
      deploymentId: deriveGuid(fabricId, "deployment", tenant.tenant),
      incarnation: FIRST_INCARNATION,
      expectedState: "Started",
      cpus: role.size.cpus,
      memoryMib: role.size.memoryMib,
      ...(role.app !== undefined && { app: resolve(folder, role.app) }),
      vnet: nic.vnet,
      mac: nic.mac,
      address: nic.address,
      hostname: nic.hostname,
      endpoints: role.endpoints,
      settings: role.settings,
      recovery: { retries: 0, moves: 0, failedNodes: [] },
    };
  }
}
