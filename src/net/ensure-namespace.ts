/** Makes named network namespaces, or takes what a killed process left. */
import { statSync } from "node:fs";
import { dumpLinks } from "./link-control.ts";
import { findNamespaceInode, inNamespace, NAMESPACE_FOLDER, namespacePath } from "./namespace.ts";
import { runTool } from "./run-tool.ts";
import { ROUTER_DEFAULTS, setSysctls, WITHOUT_IPV6 } from "./sysctl.ts";

/**
 * Makes a namespace with `lo` up, without IPv6, which forwards nothing; one that is there is adopted as it is.
 *
 * @param settings - further kernel settings, for a new one only
 * @returns whether it was made
 */
export async function ensureNamespace(
  name: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<"made" | "adopted"> {
  if (findNamespaceInode(name) !== undefined) {
    if (isWhole(name)) return "adopted";
    await runTool("ip", ["netns", "del", name]);
  }
  await runTool("ip", ["netns", "add", name]);
  setSysctls(name, { ...WITHOUT_IPV6, ...ROUTER_DEFAULTS, ...settings });
  // Last, because it tells an adopter that the rest was done.
  await runTool("ip", ["-n", name, "link", "set", "dev", "lo", "up"]);
  return "made";
}

/** False if the process that made it was killed on the way: between its name and its namespace, or before `lo` was up. */
function isWhole(name: string): boolean {
  if (statSync(namespacePath(name)).dev === statSync(NAMESPACE_FOLDER).dev) return false; // nothing is mounted there
  // What cannot be looked at may be whole, with guests in it: that throws.
  return inNamespace(name, dumpLinks).some((link) => link.name === "lo" && link.isUp);
}

/** Removes a namespace with all links in it; one that is not there is no error. Processes inside are not ended. */
export async function removeEmptyNamespace(name: string): Promise<void> {
  if (findNamespaceInode(name) !== undefined) await runTool("ip", ["netns", "del", name]);
}
