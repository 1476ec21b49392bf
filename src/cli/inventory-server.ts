/** What an inventory makes of the DHCP server: its chain and its rules, the same under `serve` and in a replay. */
import { dirname, resolve } from "node:path";
import type { DhcpServerOptions } from "../dhcp/index.ts";
import { FabricError } from "../model/errors.ts";
import type { InventoryDescription, InventoryResolver } from "../nm/index.ts";
import {
  type Chain,
  type ChainOptions,
  type ChainSurroundings,
  createChain,
  type LoadedChain,
  loadChain,
  type Plugin,
} from "../wds/index.ts";
import { readYaml } from "./read-yaml.ts";

/** What an inventory decides of a server beside who gets what. */
export type InventoryRules = Required<
  Pick<DhcpServerOptions, "policy" | "holdAfterDecline" | "relays">
>;

/** The part of a server that does not depend on where it listens. */
export interface InventoryServer {
  readonly chain: Chain;
  readonly rules: InventoryRules;
}

/** What plugins need beside the inventory. */
export type InventorySurroundings = Omit<ChainSurroundings, "hosts" | "nics" | "relays">;

/**
 * Makes the plugins of an inventory's chain, in its order.
 *
 * @param path - the inventory file: other files are named relative to it
 * @throws FabricError ERR_USAGE_CHAIN, and ERR_USAGE_FILE for a chain in a file of its own
 */
export function loadInventoryChain(
  { chain, network, relays }: InventoryDescription,
  path: string,
  resolver: InventoryResolver,
  surroundings: InventorySurroundings,
): Promise<LoadedChain> {
  const source = typeof chain === "string" ? readChainFile(path, chain) : { file: path, chain };
  return loadChain(
    { ...source, folder: dirname(source.file) },
    { ...surroundings, hosts: resolver, nics: resolver, relays: [network.subnet, ...relays] },
  );
}

function readChainFile(inventoryPath: string, written: string): { file: string; chain: unknown } {
  const file = resolve(dirname(inventoryPath), written);
  const content = readYaml(file);
  const isMap = typeof content === "object" && content !== null;
  const keys = isMap ? Object.keys(content) : [];
  if (keys.length !== 1 || keys[0] !== "chain") {
    const message = `${file}: must hold one key, chain, and under it the list of plugins`;
    throw new FabricError("ERR_USAGE_CHAIN", message);
  }
  return { file, chain: (content as { chain: unknown }).chain ?? [] };
}

/** Makes chain and rules. */
export function createInventoryServer(
  inventory: InventoryDescription,
  plugins: readonly Plugin[],
  options: ChainOptions = {},
): InventoryServer {
  return { chain: createChain(plugins, options), rules: rulesOf(inventory) };
}

export function rulesOf({ network, relays }: InventoryDescription): InventoryRules {
  const { subnet, bootp, rapidCommit, refuseUnknown, decline } = network;
  return {
    policy: { bootp, rapidCommit, ...(refuseUnknown && { refuseUnknown: subnet }) },
    holdAfterDecline: decline === "hold",
    relays: [subnet, ...relays],
  };
}
