/** Chooses the kernel modules of the guest and the order in which to load them, from the text of `modules.dep`. */

import { FabricError } from "../../model/errors.ts";

/** Compression that Debian's newer kernels use; insmod of busybox needs them plain. */
const MODULE_FILE = /^(.*\/)?([^/]+)\.ko(\.xz|\.zst|\.gz)?$/;

/**
 * The files to load for `wanted`, dependencies first, each once. Names may use `-` or `_`. A name in
 * `builtin` (the text of `modules.builtin`) needs no file.
 *
 * @returns paths relative to the folder of modules.dep
 * @throws FabricError ERR_GUEST_MODULE_MISSING naming the module
 */
export function resolveModules(
  wanted: readonly string[],
  texts: { readonly dep: string; readonly builtin: string },
): string[] {
  const dependencies = parseModulesDep(texts.dep);
  const fileOf = new Map([...dependencies.keys()].map((file) => [moduleName(file), file]));
  const builtin = new Set(texts.builtin.split("\n").filter(Boolean).map(moduleName));
  const ordered = new Set<string>();
  const add = (file: string, depth: number): void => {
    if (ordered.has(file) || depth > dependencies.size) return;
    for (const needed of dependencies.get(file) ?? []) add(needed, depth + 1);
    ordered.add(file);
  };
  for (const name of wanted) {
    const file = fileOf.get(moduleName(name));
    if (file !== undefined) add(file, 0);
    else if (!builtin.has(moduleName(name))) throw missing(name);
  }
  return [...ordered];
}

/** The kernel's own name of a module: no folder, no suffix, `_` for `-`. */
export function moduleName(file: string): string {
  return (MODULE_FILE.exec(file)?.[2] ?? file).replaceAll("-", "_");
}

function parseModulesDep(text: string): Map<string, readonly string[]> {
  const dependencies = new Map<string, readonly string[]>();
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 0) continue;
    const needed = line.slice(colon + 1).trim();
    dependencies.set(line.slice(0, colon), needed === "" ? [] : needed.split(/\s+/));
  }
  return dependencies;
}

function missing(name: string): FabricError {
  return new FabricError(
    "ERR_GUEST_MODULE_MISSING",
    `The guest kernel has no module ${name}; use Debian's linux-image-cloud-amd64`,
  );
}
