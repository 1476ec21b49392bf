/**
 * The inventory under `serve`, with everything that is made of it: resolver, chain, rules, containers. It can be read anew
 * while it is served; all of it is then replaced at once, between two frames.
 */
import type { Logger } from "pino";
import type { ReplyPolicy } from "../dhcp/index.ts";
import { errorText, FabricError } from "../model/errors.ts";
import type { Ipv4Address, Ipv4Subnet } from "../model/ipv4-address.ts";
import {
  type BindingTable,
  createInventoryResolver,
  type InventoryDescription,
  inventoryWarnings,
  parseInventory,
} from "../nm/index.ts";
import { LiveChain, type Plugin } from "../wds/index.ts";
import type { DataFolder } from "./data-folder.ts";
import { type InventoryContainers, loadInventoryContainers } from "./inventory-containers.ts";
import {
  type InventoryRules,
  type InventorySurroundings,
  loadInventoryChain,
  rulesOf,
} from "./inventory-server.ts";
import { loadBindings } from "./load-bindings.ts";
import { readYamlFile } from "./read-yaml.ts";

/** An inventory file that was read and is right, but for its chain. */
export interface InventoryFile {
  readonly path: string;
  readonly inventory: InventoryDescription;
  readonly bindings: BindingTable | undefined;
}

/**
 * Reads an inventory and its bindings; what may surprise goes to the log.
 *
 * @throws FabricError ERR_USAGE_FILE, ERR_USAGE_INVENTORY
 */
export function readInventoryFile(path: string, log: Logger): InventoryFile {
  const { data, source } = readYamlFile(path);
  const inventory = parseInventory(data, source);
  for (const warning of inventoryWarnings(inventory)) log.warn({ inventory: path }, warning);
  return { path, inventory, bindings: loadBindings(inventory, path) };
}

/** What an inventory needs of the machine that it is served on. */
export interface ServedInventoryOptions {
  readonly file: InventoryFile;
  readonly data: DataFolder;
  readonly log: Logger;
  /** True if an interface of this machine has the address. */
  readonly isOwnAddress: (address: Ipv4Address) => boolean;
  /** True if the clients of this network are behind a relay agent, and reach the machine through their gateway. */
  readonly isElsewhere?: (subnet: Ipv4Subnet) => boolean;
  readonly resolver?: Omit<Parameters<typeof createInventoryResolver>[1], "isGateway" | "bindings">;
  readonly plugins: InventorySurroundings;
}

/** What one reading of the inventory made. */
interface Reading {
  readonly inventory: InventoryDescription;
  readonly containers: InventoryContainers;
  readonly plugins: readonly Plugin[];
  readonly policy: ReplyPolicy;
}

/** An inventory that is served. */
export class ServedInventory {
  readonly chain: LiveChain;
  /** For the server's whole life: the policy in it changes with the inventory. */
  readonly rules: InventoryRules;
  /** Of the inventory as it is now. */
  readonly containers: InventoryContainers;
  readonly #options: ServedInventoryOptions;
  #current: Reading;
  #reloading: Promise<void> = Promise.resolve();

  private constructor(options: ServedInventoryOptions, first: Reading) {
    this.#options = options;
    this.#current = first;
    this.chain = new LiveChain(first.plugins);
    this.rules = { ...rulesOf(first.inventory), policy: this.#livePolicy() };
    this.containers = {
      isNamed: (container) => this.#current.containers.isNamed(container),
      isNamedMac: (mac) => this.#current.containers.isNamedMac(mac),
      findByAddress: (address) => this.#current.containers.findByAddress(address),
    };
  }

  /** @throws FabricError ERR_USAGE_CHAIN */
  static async open(options: ServedInventoryOptions): Promise<ServedInventory> {
    return new ServedInventory(options, await makeReading(options, options.file));
  }

  /** Reads the file again. If anything in it is wrong, what is served stays, and the log says why. */
  reload(): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#reload());
    return this.#reloading;
  }

  async #reload(): Promise<void> {
    const { file, log } = this.#options;
    try {
      const next = readInventoryFile(file.path, log);
      requireSameNetwork(this.#current.inventory, next);
      const reading = await makeReading(this.#options, next);
      // From here to the end nothing waits: the next frame meets all of it.
      this.chain.replace(reading.plugins);
      this.#current = reading;
      const plugins = reading.plugins.map(({ name }) => name);
      log.info({ inventory: file.path, plugins }, "inventory reloaded");
    } catch (error) {
      const reason = errorText(error);
      log.error({ inventory: file.path, reason }, "inventory not reloaded, the old one is served");
    }
  }

  #livePolicy(): ReplyPolicy {
    const policyOf = () => this.#current.policy;
    return {
      get bootp() {
        return policyOf().bootp;
      },
      get rapidCommit() {
        return policyOf().rapidCommit;
      },
      get refuseUnknown() {
        return policyOf().refuseUnknown;
      },
    } as ReplyPolicy;
  }
}

async function makeReading(
  options: ServedInventoryOptions,
  { path, inventory, bindings }: InventoryFile,
): Promise<Reading> {
  const { gateway, subnet } = inventory.network;
  const isOwn = gateway !== undefined && options.isOwnAddress(gateway);
  const resolver = createInventoryResolver(inventory, {
    ...options.resolver,
    isGateway: isOwn || options.isElsewhere?.(subnet) === true,
    ...(bindings !== undefined && { bindings }),
  });
  const loaded = await loadInventoryChain(inventory, path, resolver, options.plugins);
  for (const warning of loaded.warnings) options.log.warn({ inventory: path }, warning);
  const { policy } = rulesOf(inventory);
  const containers = await loadInventoryContainers(options.data, inventory, resolver);
  return { inventory, containers, plugins: loaded.plugins, policy };
}

/** What sockets, routes and holds were made for. */
function requireSameNetwork(
  before: InventoryDescription,
  { path, inventory }: InventoryFile,
): void {
  for (const field of ["subnet", "gateway", "decline"] as const) {
    const [old, now] = [before.network[field], inventory.network[field]];
    if (JSON.stringify(old) === JSON.stringify(now)) continue;
    const message = `${path}: network.${field}: cannot change while it is served; start again`;
    throw new FabricError("ERR_USAGE_INVENTORY", message);
  }
  if (JSON.stringify(before.relays) === JSON.stringify(inventory.relays)) return;
  const message = `${path}: relays: cannot change while it is served; start again`;
  throw new FabricError("ERR_USAGE_INVENTORY", message);
}
