/** Makes named network namespaces, or takes what a killed process left. */
import { findNamespaceInode } from "./namespace.ts";
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
    if (await isWhole(name)) return "adopted";
    await runTool("ip", ["netns", "del", name]);
  }
  await runTool("ip", ["netns", "add", name]);
  setSysctls(name, { ...WITHOUT_IPV6, ...ROUTER_DEFAULTS, ...settings });
  // Last, because it tells an adopter that the rest was done.
  await runTool("ip", ["-n", name, "link", "set", "dev", "lo", "up"]);
  return "made";
}

/** False if the process that made it was killed on the way: between its name and its namespace, or before `lo` was up. */
async function isWhole(name: string): Promise<boolean> {
  try {
    return (await runTool("ip", ["-n", name, "link", "show", "dev", "lo", "up"])) !== "";
  } catch {
    return false;
  }
}

/** Removes a namespace with all links in it; one that is not there is no error. Processes inside are not ended. */
export async function removeEmptyNamespace(name: string): Promise<void> {
  if (findNamespaceInode(name) !== undefined) await runTool("ip", ["netns", "del", name]);
}
