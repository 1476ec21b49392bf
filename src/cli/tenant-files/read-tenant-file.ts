/** The one way from a file that a user names to a tenant. */
import { dirname, extname, resolve } from "node:path";
import { FabricError } from "../../model/errors.ts";
import { parseTenant, type TenantDescription } from "../../model/tenant.ts";
import { parseYaml } from "../read-yaml.ts";
import { readBoundedText } from "./bounded-text.ts";

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
 * Reads a tenant from `.yaml` or `.yml`.
 *
 * @throws FabricError ERR_USAGE_FILE if a file cannot be read or has another form, ERR_USAGE_TENANT for what is wrong
 * in it; both name file, line and column of every wrong place
 */
export function readTenantFile(path: string): TenantFile {
  const folder = resolve(dirname(path));
  const kind = extname(path).toLowerCase();
  if (kind === ".yaml" || kind === ".yml") {
    const { data, source } = parseYaml(readBoundedText(path), path);
    const tenant = parseTenant(data, source);
    return { tenant, folder, warnings: [], source: { kind: "yaml", files: [path] } };
  }
  const message = `${path} is no tenant file; name a .yaml file, or the .csdef or .cscfg of a classic service`;
  throw new FabricError("ERR_USAGE_FILE", message);
}
