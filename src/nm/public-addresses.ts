/** Public addresses: each tenant that has a public endpoint keeps one of the pool for as long as it exists. */
import { asDocument, keys, type VipGoal } from "../model/documents.ts";
import { FabricError } from "../model/errors.ts";
import {
  formatIpv4,
  formatSubnet,
  type Ipv4Subnet,
  ipv4Plus,
  isHostAddress,
} from "../model/ipv4-address.ts";
import { type FabricStore, updateDocument } from "../store/index.ts";

/** A public endpoint, as it is in the tenant's description. */
export type PublicEndpoint = VipGoal["endpoints"][number];

/** Gives public addresses. It alone creates and deletes them; which node answers is the endpoint manager's. */
export class PublicAddresses {
  readonly #store: FabricStore;
  readonly #pool: Ipv4Subnet | undefined;
  /** Address of each tenant, once read. */
  #held: Promise<Map<string, string>> | undefined;

  /** @param pool - absent: nothing is public */
  constructor(store: FabricStore, pool: Ipv4Subnet | undefined) {
    this.#store = store;
    this.#pool = pool;
  }

  /**
   * Sees to it that a tenant has an address; its endpoints are not open before {@link PublicAddresses.publish}.
   *
   * @throws FabricError ERR_NM_VIPS_FULL
   */
  async reserve(tenant: string, vnet: string): Promise<void> {
    if (this.#pool === undefined) return;
    const held = await this.#read();
    if (held.has(tenant)) return;
    const vip = firstFree(this.#pool, new Set(held.values()));
    held.set(tenant, vip); // before anybody else looks
    const value: VipGoal = { vip, tenant, vnet, node: "", endpoints: [] };
    try {
      await this.#store.txn({
        compare: [{ key: keys.vip(vip), modRev: 0 }],
        success: [
          { kind: "put", key: keys.vip(vip), value },
          { kind: "put", key: keys.vipOfVnet(vnet, vip), value: { vip } },
        ],
      });
    } catch (error) {
      this.#held = undefined; // it may have been done: read again
      throw error;
    }
  }

  /** Says what is open at a tenant's address. Without endpoints the address is kept: people know it. */
  async publish(tenant: string, endpoints: readonly PublicEndpoint[]): Promise<void> {
    const vip = (await this.#read()).get(tenant);
    if (vip === undefined) return;
    await updateDocument(this.#store, keys.vip(vip), (old) => {
      if (old === undefined) return undefined;
      const goal = asDocument<VipGoal>(old);
      if (JSON.stringify(goal.endpoints) === JSON.stringify(endpoints)) return undefined;
      return { ...goal, endpoints };
    });
  }

  /** Takes a tenant's address back. */
  async release(tenant: string): Promise<void> {
    const held = await this.#read();
    const vip = held.get(tenant);
    if (vip === undefined) return;
    for (;;) {
      const { kv } = await this.#store.get(keys.vip(vip));
      if (kv === undefined) break;
      const { node, vnet } = asDocument<VipGoal>(kv.value);
      const pointer = [
        keys.vipOfVnet(vnet, vip),
        ...(node === "" ? [] : [keys.vipOnNode(node, vip)]),
      ];
      const { ok } = await this.#store.txn({
        compare: [{ key: kv.key, modRev: kv.modRev }],
        success: [kv.key, ...pointer].map((key) => ({ kind: "delete", key }) as const),
      });
      if (ok) break;
    }
    held.delete(tenant);
  }

  #read(): Promise<Map<string, string>> {
    this.#held ??= this.#store.list("/vips/").then(({ kvs }) => {
      const goals = kvs.map(({ value }) => asDocument<VipGoal>(value));
      return new Map(goals.map(({ tenant, vip }) => [tenant, vip]));
    });
    return this.#held;
  }
}

function firstFree(pool: Ipv4Subnet, taken: ReadonlySet<string>): string {
  for (let offset = 1; isHostAddress(pool, ipv4Plus(pool.network, offset)); offset += 1) {
    const vip = formatIpv4(ipv4Plus(pool.network, offset));
    if (!taken.has(vip)) return vip;
  }
  const message = `No public address is left in ${formatSubnet(pool)}; delete a tenant, or give 'vips' in the configuration a larger subnet`;
  throw new FabricError("ERR_NM_VIPS_FULL", message);
}
