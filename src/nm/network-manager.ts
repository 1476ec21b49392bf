/** The network manager: gives each NIC of a tenant a MAC and an address, and keeps the promise in the store. */
import { createHash } from "node:crypto";
import { asDocument, keys, type NicGoal, type VnetGoal } from "../model/documents.ts";
import { FabricError } from "../model/errors.ts";
import {
  formatIpv4,
  formatSubnet,
  type Ipv4Address,
  type Ipv4Subnet,
  ipv4Plus,
  isHostAddress,
  parseIpv4,
} from "../model/ipv4-address.ts";
import { formatMac, type MacAddress } from "../model/mac-address.ts";
import { deleteKeys, type FabricStore, type Operation } from "../store/index.ts";

/** A NIC to allocate: one per container. */
export interface NicRequest {
  readonly container: string;
  readonly role: string;
  readonly hostname: string;
}

/** The gateway is the first host address; the next two are reserved, as on Azure. */
const GATEWAY_OFFSET = 1;
const FIRST_NIC_OFFSET = 4;
const ATTEMPTS_MAX = 20;
/** One transaction holds at most 100 operations; a NIC takes two. */
const NICS_PER_TRANSACTION = 45;

/** Allocates networks and NICs. Its goals are the only place where it keeps anything. */
export class NetworkManager {
  readonly #store: FabricStore;

  constructor(options: { readonly store: FabricStore }) {
    this.#store = options.store;
  }

  /**
   * Allocates a MAC and an address for each container; what was allocated before is returned unchanged.
   *
   * @throws FabricError ERR_NM_ADDRESS_SPACE_FULL
   */
  async allocate(options: {
    readonly tenant: string;
    readonly vnet: string;
    readonly addressSpace: Ipv4Subnet;
    readonly nics: readonly NicRequest[];
  }): Promise<readonly NicGoal[]> {
    await this.#ensureVnet(options);
    for (let start = 0; start < options.nics.length; start += NICS_PER_TRANSACTION) {
      const chunk = options.nics.slice(start, start + NICS_PER_TRANSACTION);
      await this.#allocateChunk(options.vnet, options.addressSpace, chunk);
    }
    const wanted = new Set(options.nics.map(({ container }) => container));
    const goals = await this.#listNics();
    return goals.filter(({ container }) => wanted.has(container));
  }

  /** Takes back all NICs of a VNET, and the VNET. */
  async release(vnet: string): Promise<void> {
    const goals = (await this.#listNics()).filter((goal) => goal.vnet === vnet);
    const nics = goals.flatMap(({ mac }) => [keys.nic(vnet, mac), keys.mac(mac)]);
    await deleteKeys(this.#store, [...nics, keys.vnet(vnet)]);
  }

  /** The part of the compute manager's transaction that says where a NIC's container is. */
  place(nic: NicGoal, node: string): Operation {
    return { kind: "put", key: keys.nic(nic.vnet, nic.mac), value: { ...nic, node } };
  }

  async #ensureVnet(options: {
    readonly tenant: string;
    readonly vnet: string;
    readonly addressSpace: Ipv4Subnet;
  }): Promise<void> {
    const { tenant, vnet, addressSpace } = options;
    const gateway = ipv4Plus(addressSpace.network, GATEWAY_OFFSET);
    if (!isHostAddress(addressSpace, ipv4Plus(addressSpace.network, FIRST_NIC_OFFSET))) {
      throw addressSpaceFull(addressSpace);
    }
    const key = keys.vnet(vnet);
    if ((await this.#store.get(key)).kv !== undefined) return;
    const goal: VnetGoal = {
      vnet,
      vni: await this.#firstFreeVni(),
      tenant,
      addressSpace: formatSubnet(addressSpace),
      gateway: formatIpv4(gateway),
    };
    await this.#store.txn({
      compare: [{ key, modRev: 0 }],
      success: [{ kind: "put", key, value: goal }],
    });
  }

  async #firstFreeVni(): Promise<number> {
    const { kvs } = await this.#store.list("/vnets/");
    const goals = kvs.filter(({ key }) => key.endsWith("/goal"));
    const taken = new Set(goals.map(({ value }) => asDocument<VnetGoal>(value).vni));
    let vni = 1;
    while (taken.has(vni)) vni += 1;
    return vni;
  }

  /** Compare-and-swap until no other writer took one of the MACs or addresses under us. */
  async #allocateChunk(
    vnet: string,
    addressSpace: Ipv4Subnet,
    requests: readonly NicRequest[],
  ): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const { kv } = await this.#store.get(keys.vnet(vnet));
      if (kv === undefined) break; // released under us
      const existing = await this.#listNics();
      const held = new Set(existing.map(({ container }) => container));
      const missing = requests.filter(({ container }) => !held.has(container));
      if (missing.length === 0) return;
      const goals = chooseNics({ vnet, addressSpace, requests: missing, existing, attempt });
      // Rewriting the VNET makes two allocations in it exclude each other: addresses are unique per VNET.
      const result = await this.#store.txn({
        compare: [
          { key: kv.key, modRev: kv.modRev },
          ...goals.map(({ mac }) => ({ key: keys.mac(mac), modRev: 0 })),
        ],
        success: [
          { kind: "put", key: kv.key, value: kv.value },
          ...goals.flatMap((goal): Operation[] => {
            const { mac, container } = goal;
            return [
              { kind: "put", key: keys.mac(mac), value: { vnet, container } },
              { kind: "put", key: keys.nic(vnet, mac), value: goal },
            ];
          }),
        ],
      });
      if (result.ok) return;
    }
    throw new FabricError(
      "ERR_NM_BUSY",
      `Cannot allocate NICs in VNET ${vnet}: it was released, or too many write it`,
    );
  }

  async #listNics(): Promise<NicGoal[]> {
    const { kvs } = await this.#store.list("/vnets/");
    return kvs
      .filter(({ key }) => !key.endsWith("/goal"))
      .map(({ value }) => asDocument<NicGoal>(value));
  }
}

function chooseNics(options: {
  readonly vnet: string;
  readonly addressSpace: Ipv4Subnet;
  readonly requests: readonly NicRequest[];
  readonly existing: readonly NicGoal[];
  readonly attempt: number;
}): NicGoal[] {
  const { vnet, addressSpace, requests, existing, attempt } = options;
  const inVnet = existing.filter((goal) => goal.vnet === vnet);
  const taken = new Set<number>(inVnet.map(({ address }) => parseIpv4(address)));
  const macs = new Set(existing.map(({ mac }) => mac));
  return requests.map(({ container, role, hostname }) => {
    const address = firstFreeAddress(addressSpace, taken);
    taken.add(address);
    const mac = firstFreeMac(container, macs, attempt);
    macs.add(mac);
    const placed = { node: "", inService: false };
    return { mac, vnet, container, role, hostname, address: formatIpv4(address), ...placed };
  });
}

function firstFreeAddress(subnet: Ipv4Subnet, taken: ReadonlySet<number>): Ipv4Address {
  let address = ipv4Plus(subnet.network, FIRST_NIC_OFFSET);
  while (taken.has(address)) address = ipv4Plus(address, 1);
  if (!isHostAddress(subnet, address)) throw addressSpaceFull(subnet);
  return address;
}

function addressSpaceFull(subnet: Ipv4Subnet): FabricError {
  const message = `No address is left in ${formatSubnet(subnet)}; give the VNET a larger addressSpace`;
  return new FabricError("ERR_NM_ADDRESS_SPACE_FULL", message);
}

/** A locally administered MAC that is a function of the container's name, so that a container keeps it. */
function firstFreeMac(container: string, taken: ReadonlySet<string>, attempt: number): string {
  for (let salt = attempt; ; salt += 1) {
    const digest = createHash("sha256").update(`${container}#${salt}`).digest();
    const mac = formatMac((0x02_67_73 * 2 ** 24 + digest.readUIntBE(0, 3)) as MacAddress);
    if (!taken.has(mac)) return mac;
  }
}
