/** Reads the bindings file that an inventory names. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { FabricError } from "../model/errors.ts";
import {
  type BindingTable,
  bindingRulesOf,
  type InventoryDescription,
  readBindings,
} from "../nm/index.ts";

/**
 * Loads the bindings of an inventory, or undefined if it names no file.
 *
 * @param inventoryPath - a relative path in the inventory starts at its folder
 * @throws FabricError ERR_USAGE_FILE if the file cannot be read, ERR_USAGE_INVENTORY for what is wrong in it
 */
export function loadBindings(
  inventory: InventoryDescription,
  inventoryPath: string,
): BindingTable | undefined {
  if (inventory.bindings === undefined) return undefined;
  const path = resolve(dirname(inventoryPath), inventory.bindings);
  const fd = open(path);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new FabricError("ERR_USAGE_FILE", `${path} is not a regular file`);
    const read = (into: Uint8Array) => readSync(fd, into);
    return readBindings({ name: path, bytes: stat.size, read }, bindingRulesOf(inventory));
  } finally {
    closeSync(fd);
  }
}

function open(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    throw new FabricError("ERR_USAGE_FILE", `Cannot read ${path}`, { cause });
  }
}
