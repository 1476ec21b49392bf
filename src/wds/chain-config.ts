/** The chain as people write it: which plugins, in which order, with which settings. */
import { isAbsolute, join } from "node:path";
import { z } from "zod";
import { errorText, FabricError } from "../model/errors.ts";
import { formatPath } from "../model/schema.ts";
import { BUILTIN_PLUGINS, type ChainSurroundings, DEFAULT_CHAIN } from "./builtin-plugins.ts";
import { loadPlugin } from "./load-plugin.ts";
import type { Plugin } from "./plugin.ts";
import { createPluginHost } from "./plugin-host.ts";

/** Most plugins of one chain. */
export const CHAIN_PLUGINS_MAX = 16;

/** Where a chain is written. */
export interface ChainSource {
  /** The file, for errors. */
  readonly file: string;
  /** The folder that paths of plugins are relative to. */
  readonly folder: string;
  /** What stands at `chain`; undefined for the default chain. */
  readonly chain: unknown;
}

/** A chain, ready to be asked. */
export interface LoadedChain {
  readonly plugins: readonly Plugin[];
  /** What is accepted but may surprise. */
  readonly warnings: readonly string[];
}

/** One entry: a plugin of ours by name, or one of a third party by path. */
interface Entry {
  readonly place: string;
  /** Name or path, for errors. */
  readonly label: string;
  readonly plugin?: string;
  readonly path?: string;
  readonly settings: unknown;
}

/**
 * Makes the plugins of a chain.
 *
 * @throws FabricError ERR_USAGE_CHAIN with one line that names the file, the place, the plugin and the fix
 */
export async function loadChain(
  source: ChainSource,
  surroundings: ChainSurroundings,
): Promise<LoadedChain> {
  const plugins: Plugin[] = [];
  const warnings: string[] = [];
  const places = new Map<string, Entry>();
  for (const entry of readEntries(source)) {
    const plugin = await makePlugin(source, entry, surroundings, warnings);
    const other = places.get(plugin.name);
    if (other !== undefined) {
      const advice = `${other.place} has that name already; a chain has each plugin once`;
      throw chainError(source, entry, "", `the plugin is named ${plugin.name}, and ${advice}`);
    }
    places.set(plugin.name, entry);
    plugins.push(plugin);
  }
  if (!plugins.some(({ resolve }) => resolve !== undefined)) {
    const text = "no plugin resolves, so nobody gets an answer; add hardware and nm";
    throw new FabricError("ERR_USAGE_CHAIN", `${source.file}: chain: ${text}`);
  }
  return { plugins, warnings: [...warnings, ...findClashes(plugins)] };
}

function readEntries({ file, chain }: ChainSource): Entry[] {
  if (chain === undefined) {
    return DEFAULT_CHAIN.map((plugin) => ({
      ...{ place: "chain", label: plugin, plugin, settings: {} },
    }));
  }
  const fail = (place: string, text: string) =>
    new FabricError("ERR_USAGE_CHAIN", `${file}: ${place}: ${text}`);
  if (!Array.isArray(chain) || chain.length === 0 || chain.length > CHAIN_PLUGINS_MAX) {
    throw fail(
      "chain",
      `must be a list of 1 to ${CHAIN_PLUGINS_MAX} plugins; leave it out for the default`,
    );
  }
  return chain.map((written: unknown, index) => {
    const place = `chain[${index}]`;
    const result = EntrySchema.safeParse(
      typeof written === "string" ? { plugin: written } : written,
    );
    if (!result.success) {
      const form = "an entry is a name, { plugin, settings } or { path, settings }";
      throw fail(place, `${result.error.issues.map(({ message }) => message).join("; ")}; ${form}`);
    }
    const { plugin, path, settings } = result.data;
    if ((plugin === undefined) === (path === undefined)) {
      throw fail(place, "needs either `plugin`, a name, or `path`, a module");
    }
    return { ...result.data, place, label: plugin ?? path!, settings: settings ?? {} } as Entry;
  });
}

const EntrySchema = z.strictObject({
  plugin: z.string().optional(),
  path: z.string().min(1).optional(),
  settings: z.unknown().optional(),
});

async function makePlugin(
  source: ChainSource,
  entry: Entry,
  surroundings: ChainSurroundings,
  warnings: string[],
): Promise<Plugin> {
  if (entry.path !== undefined) return loadThirdParty(source, entry, entry.path, surroundings);
  const builtin = BUILTIN_PLUGINS.get(entry.plugin!);
  if (builtin === undefined) {
    const names = [...BUILTIN_PLUGINS.keys()].join(", ");
    throw chainError(source, entry, "", `there is no such plugin; there are ${names}`);
  }
  const result = builtin.schema.safeParse(entry.settings);
  if (!result.success) {
    const [issue] = result.error.issues;
    const path = formatPath(["settings", ...(issue?.path ?? [])]);
    throw chainError(source, entry, path, issueText(result.error.issues));
  }
  for (const warning of builtin.warnings?.(result.data) ?? []) {
    warnings.push(`${entry.place} (${entry.label}): ${warning}`);
  }
  try {
    return builtin.create(result.data, surroundings);
  } catch (error) {
    throw chainError(source, entry, "settings", errorText(error));
  }
}

/** The first issue stands behind its path; the others bring theirs. */
function issueText(issues: readonly z.core.$ZodIssue[]): string {
  return issues
    .map(({ path, message }, index) =>
      index === 0 ? message : `${formatPath(["settings", ...path])}: ${message}`,
    )
    .join("; ");
}

async function loadThirdParty(
  source: ChainSource,
  entry: Entry,
  path: string,
  { now, log }: ChainSurroundings,
): Promise<Plugin> {
  const file = isAbsolute(path) ? path : join(source.folder, path);
  try {
    return await loadPlugin(file, entry.settings, createPluginHost(now, log));
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw chainError(source, entry, "", `the plugin cannot be loaded: ${text}`);
  }
}

function chainError({ file }: ChainSource, entry: Entry, path: string, text: string): FabricError {
  const place = path === "" ? entry.place : `${entry.place}.${path}`;
  return new FabricError("ERR_USAGE_CHAIN", `${file}: ${place} (${entry.label}): ${text}`);
}

/** Options that two plugins set, and providers whose clients cannot be told from strangers. */
function findClashes(plugins: readonly Plugin[]): string[] {
  const setters = new Map<number, string>();
  const clashes = plugins.flatMap(({ name, setsOptions }) =>
    (setsOptions ?? []).flatMap((code) => {
      const other = setters.get(code);
      setters.set(code, name);
      return other === undefined
        ? []
        : [
            `chain: ${other} and ${name} both set option ${code}; ${name} counts, for it stands later`,
          ];
    }),
  );
  const limits = plugins.some(({ admit }) => admit !== undefined);
  const silent = plugins.filter(({ resolve, knows }) => resolve !== undefined && !knows);
  return [
    ...clashes,
    ...silent
      .filter(() => limits)
      .map(
        ({ name }) =>
          `chain: ${name} has no knows(), so rate-limit takes every sender for its client`,
      ),
  ];
}
