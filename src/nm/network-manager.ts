/** The network manager: gives each NIC of a tenant a MAC and an address, and keeps the promise in the store. */
import { createHash } from "node:crypto";
import {
  asDocument,
  keys,
  type MacClaim,
  type NicGoal,
  type VnetGoal,
} from "../model/documents.ts";
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
import { type Compare, deleteKeys, type FabricStore, type Operation } from "../store/index.ts";
import { PublicAddresses, type PublicEndpoint } from "./public-addresses.ts";

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

/** The network manager's part of a transaction that places a container. */
export interface NicPlacement {
  readonly compare: Compare;
  readonly operation: Operation;
}

/** Whose a MAC is. */
export type MacOwner =
  | { readonly kind: "host" }
  | { readonly kind: "tenant"; readonly nic: NicGoal };

/** Allocates networks and NICs. Its goals are the only place where it keeps anything. */
export class NetworkManager {
  readonly #store: FabricStore;
  /** Of all VNETs, once read: nobody else gives any. */
  #vnis: Promise<Map<string, number>> | undefined;

  readonly #public: PublicAddresses;

  /** @param options - `vips`: what public addresses are taken from; absent: nothing is public */
  constructor(options: { readonly store: FabricStore; readonly vips?: Ipv4Subnet }) {
    this.#store = options.store;
    this.#public = new PublicAddresses(options.store, options.vips);
  }

  /**
   * Allocates a MAC and an address for each container; what was allocated before is returned unchanged.
   *
   * @throws FabricError ERR_NM_ADDRESS_SPACE_FULL, ERR_NM_VIPS_FULL
   */
  async allocate(options: {
    readonly tenant: string;
    readonly vnet: string;
    readonly addressSpace: Ipv4Subnet;
    readonly nics: readonly NicRequest[];
    /** The tenant needs a public address. */
    readonly isPublic: boolean;
  }): Promise<readonly NicGoal[]> {
    await this.#ensureVnet(options);
    if (options.isPublic) await this.#public.reserve(options.tenant, options.vnet);
    let book = await this.#readVnet(options.vnet);
    for (let start = 0; start < options.nics.length; start += NICS_PER_TRANSACTION) {
      const chunk = options.nics.slice(start, start + NICS_PER_TRANSACTION);
      book = await this.#allocateChunk(book, options.addressSpace, chunk);
    }
    return options.nics.map(({ container }) => book.nics.get(container)!);
  }

  /** Whose a MAC is, for the hardware manager's question: a physical host, or a tenant's NIC? Undefined: nobody's. */
  async findOwner(mac: MacAddress): Promise<MacOwner | undefined> {
    const text = formatMac(mac);
    const host = await this.#store.get(keys.host(text));
    if (host.kv !== undefined) return { kind: "host" };
    const claim = await this.#store.get(keys.mac(text));
    if (claim.kv === undefined) return undefined;
    const { vnet } = asDocument<MacClaim>(claim.kv.value);
    const { kv } = await this.#store.get(keys.nic(vnet, text));
    return kv === undefined ? undefined : { kind: "tenant", nic: asDocument<NicGoal>(kv.value) };
  }

  /** The NICs of a VNET. */
  async listNics(vnet: string): Promise<NicGoal[]> {
    const { kvs } = await this.#store.list(keys.nics(vnet));
    return kvs.map(({ value }) => asDocument<NicGoal>(value));
  }

  /** Takes back the NICs of these containers; one that has none is passed over. */
  async releaseNics(vnet: string, containers: readonly string[]): Promise<void> {
    const { kv } = await this.#store.get(keys.vnet(vnet));
    // Rewriting the VNET excludes an allocation that is on its way: what is listed is all that there will be.
    if (kv !== undefined) {
      const { key, modRev, value } = kv;
      const success: Operation[] = [{ kind: "put", key, value }];
      await this.#store.txn({ compare: [{ key, modRev }], success });
    }
    const released = new Set(containers);
    const goals = (await this.listNics(vnet)).filter(({ container }) => released.has(container));
    await deleteKeys(this.#store, nicKeys(goals));
  }

  /** Opens a tenant's public endpoints, and closes those that are not named any more. */
  async publish(tenant: string, endpoints: readonly PublicEndpoint[]): Promise<void> {
    await this.#public.publish(tenant, endpoints);
  }

  /** Takes back a VNET with all its NICs, and its tenant's public address. */
  async release(tenant: string, vnet: string): Promise<void> {
    await this.#public.release(tenant);
    await deleteKeys(this.#store, [keys.vnet(vnet)]); // first, for the same reason
    await deleteKeys(this.#store, nicKeys(await this.listNics(vnet)));
    (await this.#vnis)?.delete(vnet);
  }

  /**
   * The part of the compute manager's transaction that says where a NIC's container is. A container that is placed
   * anew is not in service.
   */
  async place(
    { vnet, mac }: Pick<NicGoal, "vnet" | "mac">,
    node: string,
  ): Promise<NicPlacement | undefined> {
    const { kv } = await this.#store.get(keys.nic(vnet, mac));
    if (kv === undefined) return undefined; // released under us
    const { key, modRev } = kv;
    const value = { ...asDocument<NicGoal>(kv.value), node, inService: false };
    return { compare: { key, modRev }, operation: { kind: "put", key, value } };
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
      vni: await this.#takeVni(vnet),
      tenant,
      addressSpace: formatSubnet(addressSpace),
      gateway: formatIpv4(gateway),
    };
    await this.#store.txn({
      compare: [{ key, modRev: 0 }],
      success: [{ kind: "put", key, value: goal }],
    });
  }

  async #takeVni(vnet: string): Promise<number> {
    this.#vnis ??= this.#listVnis();
    const vnis = await this.#vnis;
    const held = vnis.get(vnet);
    if (held !== undefined) return held;
    const taken = new Set(vnis.values());
    let vni = 1;
    while (taken.has(vni)) vni += 1;
    vnis.set(vnet, vni);
    return vni;
  }

  async #listVnis(): Promise<Map<string, number>> {
    const { kvs } = await this.#store.list("/vnets/");
    const goals = kvs
      .filter(({ key }) => key.endsWith("/goal"))
      .map(({ value }) => asDocument<VnetGoal>(value));
    return new Map(goals.map(({ vnet, vni }) => [vnet, vni]));
  }

  /** The VNET before its NICs: a change in between is noticed when the VNET is compared. */
  async #readVnet(vnet: string): Promise<VnetBook> {
    const { kv } = await this.#store.get(keys.vnet(vnet));
    if (kv === undefined) throw busy(vnet);
    const nics = await this.listNics(vnet);
    return {
      vnet,
      value: kv.value,
      modRev: kv.modRev,
      nics: new Map(nics.map((goal) => [goal.container, goal])),
      addresses: new Set(nics.map(({ address }) => parseIpv4(address))),
      macs: new Set(nics.map(({ mac }) => mac)),
    };
  }

  /** Compare-and-swap until no other writer took one of the MACs or addresses under us. */
  async #allocateChunk(
    known: VnetBook,
    addressSpace: Ipv4Subnet,
    requests: readonly NicRequest[],
  ): Promise<VnetBook> {
    let book = known;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const { vnet, nics } = book;
      const missing = requests.filter(({ container }) => !nics.has(container));
      if (missing.length === 0) return book;
      const goals = chooseNics(book, addressSpace, missing, attempt);
      const key = keys.vnet(vnet);
      // Rewriting the VNET makes two allocations in it exclude each other: addresses are unique per VNET.
      const { ok, rev } = await this.#store.txn({
        compare: [
          { key, modRev: book.modRev },
          ...goals.map(({ mac }) => ({ key: keys.mac(mac), modRev: 0 })),
        ],
        success: [
          { kind: "put", key, value: book.value },
          ...goals.flatMap((goal): Operation[] => {
            const { mac, container } = goal;
            return [
              { kind: "put", key: keys.mac(mac), value: { vnet, container } },
              { kind: "put", key: keys.nic(vnet, mac), value: goal },
            ];
          }),
        ],
      });
      if (ok) return withNics(book, rev, goals);
      book = await this.#readVnet(vnet);
    }
    throw busy(known.vnet);
  }
}

/** A VNET as it was read, and what is given in it. */
interface VnetBook {
  readonly vnet: string;
  readonly value: unknown;
  readonly modRev: number;
  /** By container. */
  readonly nics: Map<string, NicGoal>;
  readonly addresses: Set<number>;
  readonly macs: Set<string>;
}

function withNics(book: VnetBook, modRev: number, goals: readonly NicGoal[]): VnetBook {
  for (const goal of goals) {
    book.nics.set(goal.container, goal);
    book.addresses.add(parseIpv4(goal.address));
    book.macs.add(goal.mac);
  }
  return { ...book, modRev };
}

function busy(vnet: string): FabricError {
  const message = `Cannot allocate NICs in VNET ${vnet}: it was released, or too many write it`;
  return new FabricError("ERR_NM_BUSY", message);
}

function nicKeys(goals: readonly NicGoal[]): string[] {
  return goals.flatMap(({ vnet, mac }) => [keys.nic(vnet, mac), keys.mac(mac)]);
}

function chooseNics(
  book: VnetBook,
  addressSpace: Ipv4Subnet,
  requests: readonly NicRequest[],
  attempt: number,
): NicGoal[] {
  const { vnet } = book;
  const macs = new Set<string>();
  let next = ipv4Plus(addressSpace.network, FIRST_NIC_OFFSET);
  return requests.map(({ container, role, hostname }) => {
    const address = firstFreeAddress(addressSpace, next, book.addresses);
    next = ipv4Plus(address, 1);
    const isTaken = (mac: string) => book.macs.has(mac) || macs.has(mac);
    const mac = firstFreeMac(container, isTaken, attempt);
    macs.add(mac);
    const placed = { node: "", inService: false };
    return { mac, vnet, container, role, hostname, address: formatIpv4(address), ...placed };
  });
}

function firstFreeAddress(
  subnet: Ipv4Subnet,
  from: Ipv4Address,
  taken: ReadonlySet<number>,
): Ipv4Address {
  let address = from;
  while (taken.has(address)) address = ipv4Plus(address, 1);
  if (!isHostAddress(subnet, address)) throw addressSpaceFull(subnet);
  return address;
}

function addressSpaceFull(subnet: Ipv4Subnet): FabricError {
  const message = `No address is left in ${formatSubnet(subnet)}; give the VNET a larger addressSpace`;
  return new FabricError("ERR_NM_ADDRESS_SPACE_FULL", message);
}

/** A locally administered MAC that is a function of the container's name, so that a container keeps it. */
function firstFreeMac(
  container: string,
  isTaken: (mac: string) => boolean,
  attempt: number,
): string {
  for (let salt = attempt; ; salt += 1) {
    const digest = createHash("sha256").update(`${container}#${salt}`).digest();
    const mac = formatMac((0x02_67_73 * 2 ** 24 + digest.readUIntBE(0, 3)) as MacAddress);
    if (!isTaken(mac)) return mac;
  }
}
