/**
 * The part of the network manager that never stops: says which NICs are in service (names and public endpoints lead to
 * them), and which node answers for each public address. All of it follows from goals and statuses, so a restarted one
 * comes to the same result.
 */
import {
  asDocument,
  type ContainerGoal,
  type ContainerStatus,
  keys,
  type NicGoal,
  type VipGoal,
} from "../model/documents.ts";
import { type FabricStore, follow } from "../store/index.ts";

/** What {@link EndpointManager} needs. */
export interface EndpointManagerOptions {
  readonly store: FabricStore;
  readonly onError: (what: string, error: unknown) => void;
}

interface Known {
  goal: ContainerGoal | undefined;
  status: ContainerStatus | undefined;
}

/** See {@link EndpointManager.run}. */
export class EndpointManager {
  readonly #options: EndpointManagerOptions;
  readonly #containers = new Map<string, Known>();
  readonly #vips = new Map<string, VipGoal>();
  readonly #nodes = new Set<string>();
  /** Containers of each tenant, so that a change costs what its tenant costs. */
  readonly #tenants = new Map<string, Set<string>>();
  readonly #vipsOfTenant = new Map<string, Set<string>>();
  /** Work that is under way or waits, by what it is about; one at a time for each. */
  readonly #work = new Map<string, Promise<void>>();
  readonly #again = new Set<string>();
  #isCaughtUp = false;

  constructor(options: EndpointManagerOptions) {
    this.#options = options;
  }

  /** Follows containers, nodes and public addresses until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const followers = [
      follow(store, "/nodes/", (key, value) => this.#onNode(key, value), signal),
      follow(store, "/containers/", (key, value) => this.#onContainer(key, value), signal),
      follow(store, "/vips/", (key, value) => this.#onVip(key, value), signal),
    ];
    await Promise.all(followers.map(({ caughtUp }) => caughtUp));
    this.#isCaughtUp = true;
    for (const container of this.#containers.keys()) this.#scheduleNic(container);
    for (const vip of this.#vips.keys()) this.#scheduleVip(vip);
    await Promise.all(followers.map(({ ended }) => ended));
    await Promise.all(this.#work.values());
  }

  #onNode(key: string, value: unknown): void {
    const node = key.split("/")[2] ?? "";
    if (value !== undefined && this.#nodes.has(node)) return;
    if (value === undefined) this.#nodes.delete(node);
    else this.#nodes.add(node);
    for (const vip of this.#vips.keys()) this.#scheduleVip(vip);
  }

  #onContainer(key: string, value: unknown): void {
    const [, , container = "", what] = key.split("/");
    const known = this.#containers.get(container) ?? { goal: undefined, status: undefined };
    this.#containers.set(container, known);
    const tenant = (known.goal ?? (value as ContainerGoal | undefined))?.tenant;
    if (what === "goal") {
      known.goal = value === undefined ? undefined : asDocument<ContainerGoal>(value);
    } else if (what === "status") {
      known.status = value === undefined ? undefined : asDocument<ContainerStatus>(value);
    }
    if (what === "goal" && tenant !== undefined) {
      const containers = setOf(this.#tenants, tenant);
      if (known.goal === undefined) containers.delete(container);
      else containers.add(container);
      if (containers.size === 0) this.#tenants.delete(tenant);
      for (const vip of this.#vipsOfTenant.get(tenant) ?? []) this.#scheduleVip(vip);
    }
    if (known.goal === undefined && known.status === undefined) this.#containers.delete(container);
    else this.#scheduleNic(container);
  }

  #onVip(key: string, value: unknown): void {
    const vip = key.split("/")[2] ?? "";
    const before = this.#vips.get(vip);
    const goal = value === undefined ? undefined : asDocument<VipGoal>(value);
    if (before !== undefined) this.#vipsOfTenant.get(before.tenant)?.delete(vip);
    if (goal === undefined) {
      this.#vips.delete(vip);
      // Whoever takes a public address back does so in one transaction with the node's pointer.
    } else {
      this.#vips.set(vip, goal);
      setOf(this.#vipsOfTenant, goal.tenant).add(vip);
      this.#scheduleVip(vip);
    }
  }

  #scheduleNic(container: string): void {
    if (this.#isCaughtUp) this.#schedule(`NIC of ${container}`, () => this.#updateNic(container));
  }

  #scheduleVip(vip: string): void {
    if (this.#isCaughtUp) this.#schedule(`public address ${vip}`, () => this.#updateVip(vip));
  }

  /** Runs `step` unless it waits already; what happens while it runs makes it run once more. */
  #schedule(what: string, step: () => Promise<void>): void {
    if (this.#work.has(what)) {
      this.#again.add(what);
      return;
    }
    const done = step()
      .catch((error: unknown) => this.#options.onError(what, error))
      .then(() => {
        this.#work.delete(what);
        if (this.#again.delete(what)) this.#schedule(what, step);
      });
    this.#work.set(what, done);
  }

  async #updateNic(container: string): Promise<void> {
    const { goal, status } = this.#containers.get(container) ?? {};
    if (goal === undefined) return; // its NIC goes with it, or is kept for its successor, out of service
    const wanted = isInService(goal, status);
    const { store } = this.#options;
    const { kv } = await store.get(keys.nic(goal.vnet, goal.mac));
    if (kv === undefined) return; // released
    const nic = asDocument<NicGoal>(kv.value);
    if (nic.inService === wanted) return;
    const { key, modRev } = kv;
    const { ok } = await store.txn({
      compare: [{ key, modRev }],
      success: [{ kind: "put", key, value: { ...nic, inService: wanted } }],
    });
    if (!ok) this.#again.add(`NIC of ${container}`);
  }

  async #updateVip(vip: string): Promise<void> {
    const { store } = this.#options;
    const key = keys.vip(vip);
    const { kv } = await store.get(key);
    if (kv === undefined) return;
    const goal = asDocument<VipGoal>(kv.value);
    const node = this.#chooseNode(goal);
    if (node === goal.node) return;
    const { ok } = await store.txn({
      compare: [{ key, modRev: kv.modRev }],
      success: [
        { kind: "put", key, value: { ...goal, node } },
        ...(goal.node === ""
          ? []
          : ([{ kind: "delete", key: keys.vipOnNode(goal.node, vip) }] as const)),
        ...(node === ""
          ? []
          : ([{ kind: "put", key: keys.vipOnNode(node, vip), value: { vip } }] as const)),
      ],
    });
    if (!ok) this.#again.add(`public address ${vip}`);
  }

  /** A live node that has a container of the tenant, and so its VNET; it stays where it is as long as it can. */
  #chooseNode({ tenant, node }: VipGoal): string {
    const counts = new Map<string, number>();
    for (const container of this.#tenants.get(tenant) ?? []) {
      const at = this.#containers.get(container)?.goal?.node ?? "";
      if (this.#nodes.has(at)) counts.set(at, (counts.get(at) ?? 0) + 1);
    }
    if (counts.has(node)) return node;
    const best = [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))[0];
    return best?.[0] ?? "";
  }
}

/** Its status speaks of this very start, and says Ready. */
function isInService(goal: ContainerGoal, status: ContainerStatus | undefined): boolean {
  return (
    goal.expectedState === "Started" &&
    status?.state === "Ready" &&
    status.node === goal.node &&
    status.attempt === goal.attempt
  );
}

function setOf<K, V>(map: Map<K, Set<V>>, key: K): Set<V> {
  const found = map.get(key) ?? new Set<V>();
  map.set(key, found);
  return found;
}
