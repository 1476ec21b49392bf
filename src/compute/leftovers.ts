/** Removes what a fabric that was killed left on this machine, and nothing else: all of it bears the fabric's prefix. */
import { listNamespaces } from "../net/iproute.ts";
import { findNamespaceInode } from "../net/namespace.ts";
import { runTool } from "../net/run-tool.ts";
import { killProcesses } from "./processes.ts";

/** A guest's process shows its name on its command line as `guest=NAME`, followed by a comma and more with QEMU. */
const GUEST_ARGUMENT = "guest=";

/**
 * Kills the VMs and guests of a fabric, then removes its network namespaces with the taps and bridges in them.
 *
 * @param prefix - what the names of all its namespaces and VMs start with
 * @returns what was removed, for people
 */
export async function removeLeftovers(prefix: string): Promise<string[]> {
  const removed: string[] = [];
  const vms = await killProcesses(({ args }) =>
    args.some((arg) => arg.startsWith(`${GUEST_ARGUMENT}${prefix}`)),
  );
  if (vms > 0) removed.push(`${vms} VM process${vms === 1 ? "" : "es"}`);
  const names = await listNamespaces();
  for (const name of names.filter((candidate) => candidate.startsWith(prefix))) {
    removed.push(`namespace ${name}`);
    await removeNamespace(name);
  }
  return removed;
}

/** Kills what runs inside a namespace and removes it, with every link in it. */
export async function removeNamespace(name: string): Promise<void> {
  const inode = findNamespaceInode(name);
  if (inode === undefined) return;
  await killProcesses(({ networkNamespace }) => networkNamespace === inode);
  await runTool("ip", ["netns", "del", name]);
}
