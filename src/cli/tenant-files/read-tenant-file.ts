/** The one way from a file that a user names to a tenant. */
import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import { FabricError } from "../../model/errors.ts";
import { NameSchema } from "../../model/names.ts";
import { parseTenant, type TenantDescription } from "../../model/tenant.ts";
import { parseYaml } from "../read-yaml.ts";
import { readBoundedText } from "./bounded-text.ts";
import { readClassicTenant } from "./classic/classic-tenant.ts";

/** A tenant that was read from files. */
export interface TenantFile {
  readonly tenant: TenantDescription;
  /** Absolute: what relative paths in the tenant are relative to. */
  readonly folder: string;
  /** What was read and has no effect, each as `FILE:LINE:COLUMN: what; why`. */
  readonly warnings: readonly string[];
  /** The files that were read, as the user would name them. */
  readonly source: { readonly kind: "yaml" | "classic"; readonly files: readonly string[] };
}

/**
 * Reads a tenant from `.yaml` or `.yml`, or from a classic pair of which `path` is one file: its partner is beside it,
 * the one of the same name or the only one there is.
 *
 * @throws FabricError ERR_USAGE_FILE if a file cannot be read, has another form, or has no partner; ERR_USAGE_TENANT for
 * what is wrong in it; both name file, line and column of every wrong place
 */
export function readTenantFile(path: string): TenantFile {
  switch (extname(path).toLowerCase()) {
    case ".yaml":
    case ".yml":
      return readYamlTenant(path);
    case ".csdef":
      return readClassicPair(path, findPartner(path, ".cscfg"));
    case ".cscfg":
      return readClassicPair(findPartner(path, ".csdef"), path);
    default: {
      const message = `${path} is no tenant file; name a .yaml file, or the .csdef or .cscfg of a classic service`;
      throw new FabricError("ERR_USAGE_FILE", message);
    }
  }
}

function readYamlTenant(path: string): TenantFile {
  const { data, source } = parseYaml(readBoundedText(path), path);
  const tenant = parseTenant(data, source);
  const folder = resolve(dirname(path));
  return { tenant, folder, warnings: [], source: { kind: "yaml", files: [path] } };
}

function readClassicPair(definition: string, configuration: string): TenantFile {
  const folder = resolve(dirname(definition));
  const files = {
    definition,
    configuration,
    // A role's name becomes a path only if it is one that the schema takes.
    findApp: (role: string) =>
      NameSchema.safeParse(role).success && existsSync(join(folder, role, "app.json"))
        ? `./${role}`
        : undefined,
  };
  const read = readClassicTenant(
    readBoundedText(definition),
    readBoundedText(configuration),
    files,
  );
  return { ...read, folder, source: { kind: "classic", files: [definition, configuration] } };
}

/** The other file of a classic pair. */
function findPartner(path: string, extension: string): string {
  const folder = dirname(path);
  const stem = basename(path, extname(path)).toLowerCase();
  const candidates = listFolder(folder).filter((name) => extname(name).toLowerCase() === extension);
  const same = candidates.filter((name) => basename(name, extname(name)).toLowerCase() === stem);
  const [found, ...more] = same.length > 0 ? same : candidates;
  if (found === undefined) {
    const message = `${path} has no partner: there is no ${extension} file beside it; put it there`;
    throw new FabricError("ERR_USAGE_FILE", message);
  }
  if (more.length === 0) return join(folder, found);
  const names = [found, ...more].join(", ");
  const fix =
    extension === ".cscfg"
      ? "name the one to use instead"
      : `give one of them the name ${stem}.csdef`;
  throw new FabricError("ERR_USAGE_FILE", `${path} may belong to ${names}; ${fix}`);
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (cause) {
    throw new FabricError("ERR_USAGE_FILE", `Cannot read ${folder}`, { cause });
  }
}
