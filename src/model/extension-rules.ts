/** What the extensions of a role must be to each other. */

interface RuledExtension {
  readonly name: string;
  readonly dependsOn: readonly string[];
}

/** True if two names are of the same handler: agents look them up without regard to case. */
export function isSameHandler(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

/** Every extension that depends on one that is not there, or on itself by whatever way. Paths begin at the list. */
export function dependencyProblems(
  extensions: readonly RuledExtension[],
): { readonly path: readonly (string | number)[]; readonly message: string }[] {
  const find = (name: string) => extensions.find((one) => isSameHandler(one.name, name));
  return extensions.flatMap(({ name, dependsOn }, index) =>
    dependsOn.flatMap((wanted, at) => {
      const path = [index, "dependsOn", at];
      const first = find(wanted);
      if (first === undefined) {
        const names = extensions.map((one) => one.name).filter((one) => one !== name);
        const choice = names.length === 0 ? "it has no other" : `it has ${names.join(", ")}`;
        return [{ path, message: `names no extension of this role; ${choice}` }];
      }
      const circle = pathTo(name, first, find);
      if (circle === undefined) return [];
      const way = [name, ...circle].join(" -> ");
      return [{ path, message: `closes a circle: ${way}; leave one of these out` }];
    }),
  );
}

/** The names from `from` to `target`, both in it, if it depends on that. */
function pathTo(
  target: string,
  from: RuledExtension,
  find: (name: string) => RuledExtension | undefined,
  visited = new Set<RuledExtension>(),
): string[] | undefined {
  if (isSameHandler(from.name, target)) return [from.name];
  if (visited.has(from)) return undefined;
  visited.add(from);
  for (const name of from.dependsOn) {
    const next = find(name);
    const rest = next === undefined ? undefined : pathTo(target, next, find, visited);
    if (rest !== undefined) return [from.name, ...rest];
  }
  return undefined;
}
