/** Loads a plugin of a third party from an ES module. */
import { statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { errorText } from "../model/errors.ts";
import type { Plugin } from "./plugin.ts";
import type { PluginHost } from "./plugin-host.ts";

/** Longest time that a module and its factory may take. */
export const PLUGIN_LOAD_MS = 5000;

const NAME = /^[a-z][a-z0-9-]{0,31}$/;
const PHASES = ["admit", "resolve", "policy", "options", "observe"] as const;
const METHODS = [...PHASES, "knows"] as const;

/**
 * Imports the module, calls its default export with the settings and checks what that returns. A file that has changed
 * since it was loaded is loaded anew.
 *
 * @throws Error with what is wrong and how to mend it
 */
export async function loadPlugin(
  file: string,
  settings: unknown,
  host: PluginHost,
): Promise<Plugin> {
  const plugin = await withinTime(makePlugin(file, settings, host));
  const problem = findProblem(plugin);
  if (problem !== undefined) throw new Error(problem);
  return plugin as Plugin;
}

async function makePlugin(file: string, settings: unknown, host: PluginHost): Promise<unknown> {
  const url = pathToFileURL(file);
  url.search = `?changed=${modifiedMs(file)}`;
  const module: { default?: unknown } = await import(url.href);
  const factory = module.default;
  if (typeof factory !== "function") {
    throw new Error("it has no default export that is a function (settings, host) => plugin");
  }
  return factory(settings, host);
}

function modifiedMs(file: string): number {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) throw new Error("there is no such file");
  return stat.mtimeMs;
}

async function withinTime(made: Promise<unknown>): Promise<unknown> {
  const { promise, reject } = Promise.withResolvers<never>();
  const late = new Error(`it was not loaded within ${PLUGIN_LOAD_MS / 1000} s`);
  const timer = setTimeout(() => reject(late), PLUGIN_LOAD_MS);
  try {
    return await Promise.race([made, promise]);
  } catch (error) {
    throw new Error(errorText(error), { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** What is wrong with the result of a factory, in the words of the contract. */
function findProblem(plugin: unknown): string | undefined {
  if (typeof plugin !== "object" || plugin === null) return "its factory returned no plugin object";
  const { name, isAsynchronous, budgetMs, setsOptions } = plugin as Record<string, unknown>;
  if (typeof name !== "string" || !NAME.test(name)) {
    return "its `name` must be a lower-case word of letters, digits and hyphens, at most 32 long";
  }
  if (isAsynchronous !== undefined && typeof isAsynchronous !== "boolean") {
    return "`isAsynchronous` must be true or false";
  }
  if (budgetMs !== undefined && !(typeof budgetMs === "number" && budgetMs > 0)) {
    return "`budgetMs` must be a number above 0";
  }
  if (setsOptions !== undefined && !isCodes(setsOptions)) {
    return "`setsOptions` must be a list of option codes";
  }
  const methods = plugin as Record<string, unknown>;
  for (const method of METHODS) {
    const value = methods[method];
    if (value !== undefined && typeof value !== "function")
      return `\`${method}\` must be a function`;
  }
  if (PHASES.every((phase) => methods[phase] === undefined)) {
    return `it takes part in nothing: it needs one of ${PHASES.join(", ")}`;
  }
  return undefined;
}

function isCodes(value: unknown): boolean {
  return Array.isArray(value) && value.every((code) => Number.isInteger(code));
}
