/**
 * Network namespaces. Sockets and taps that are opened inside one stay there, so one process serves many: the
 * main thread enters, opens, and leaves again, synchronously.
 */
import { closeSync, openSync, statSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { FabricError } from "../model/errors.ts";
import { enterNetworkNamespace } from "./libc.ts";

/** Where iproute2 keeps named namespaces. */
export const NAMESPACE_FOLDER = "/run/netns";

export function namespacePath(name: string): string {
  return `${NAMESPACE_FOLDER}/${name}`;
}

/**
 * Runs `action` with the main thread inside a named namespace. `action` must be synchronous: what is awaited would
 * run outside.
 *
 * @throws FabricError ERR_NET_NAMESPACE if it does not exist
 */
export function inNamespace<T>(name: string | undefined, action: () => T): T {
  if (name === undefined) return action();
  if (!isMainThread) throw new Error("inNamespace() works on the main thread only");
  const home = openSync("/proc/self/ns/net", "r");
  try {
    enter(name);
    try {
      return action();
    } finally {
      enterNetworkNamespace(home);
    }
  } finally {
    closeSync(home);
  }
}

function enter(name: string): void {
  let target: number;
  try {
    target = openSync(namespacePath(name), "r");
  } catch (cause) {
    throw new FabricError("ERR_NET_NAMESPACE", `Cannot enter network namespace ${name}`, { cause });
  }
  try {
    enterNetworkNamespace(target);
  } finally {
    closeSync(target);
  }
}

/** The inode that tells one namespace from another, or undefined if there is no such name. */
export function findNamespaceInode(name: string): number | undefined {
  return statSync(namespacePath(name), { throwIfNoEntry: false })?.ino;
}
