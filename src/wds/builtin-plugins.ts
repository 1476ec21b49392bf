/** The plugins that come with us: their names, their settings, and what they need. */
import { z } from "zod";
import type { Ipv4Subnet } from "../model/ipv4-address.ts";
import type { Plugin } from "./plugin.ts";
import { createHardwarePlugin, type HostDirectory } from "./plugins/hardware/plugin.ts";
import { createLogPlugin, LogSchema, type WriteLog } from "./plugins/log/plugin.ts";
import { createNmPlugin, type NicResolver } from "./plugins/nm/plugin.ts";
import { createOptionsPlugin, OptionsSchema, optionsWarnings } from "./plugins/options/plugin.ts";
import { createRateLimitPlugin, RateLimitSchema } from "./plugins/rate-limit/plugin.ts";

/** What the plugins of a chain need from whoever runs it. */
export interface ChainSurroundings {
  readonly hosts: HostDirectory;
  readonly nics: NicResolver;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly log: WriteLog;
  /** Any integer that senders do not know. */
  readonly seed: number;
  /** True if one client alone is behind this interface; absent: many share each. */
  readonly isPort?: (ifindex: number) => boolean;
  /** Relay agents have their address in here. */
  readonly relays?: readonly Ipv4Subnet[];
}

/** One kind of plugin. */
export interface BuiltinPlugin {
  readonly schema: z.ZodType;
  /** @throws RangeError for what a schema cannot know */
  create(settings: unknown, surroundings: ChainSurroundings): Plugin;
  warnings?(settings: unknown): string[];
}

/** No settings: what these read is the inventory. */
const NoSettings = z.strictObject({});

function builtin<Schema extends z.ZodType>(plugin: {
  schema: Schema;
  create(settings: z.output<Schema>, surroundings: ChainSurroundings): Plugin;
  warnings?(settings: z.output<Schema>): string[];
}): BuiltinPlugin {
  return plugin as BuiltinPlugin;
}

/** By name, in the order of the default chain. */
export const BUILTIN_PLUGINS: ReadonlyMap<string, BuiltinPlugin> = new Map([
  [
    "log",
    builtin({
      schema: LogSchema,
      create: (settings, { now, log }) => createLogPlugin(settings, { now, write: log }),
    }),
  ],
  ["rate-limit", builtin({ schema: RateLimitSchema, create: createRateLimitPlugin })],
  [
    "hardware",
    builtin({ schema: NoSettings, create: (_settings, { hosts }) => createHardwarePlugin(hosts) }),
  ],
  ["nm", builtin({ schema: NoSettings, create: (_settings, { nics }) => createNmPlugin(nics) })],
  [
    "options",
    builtin({
      schema: OptionsSchema,
      create: createOptionsPlugin,
      warnings: optionsWarnings,
    }),
  ],
]);

/** The chain of an inventory that names none. */
export const DEFAULT_CHAIN: readonly string[] = ["log", "rate-limit", "hardware", "nm"];
