/** What a plugin of a third party is given. It lives outside of this tree, so all that it may use is in here. */
import {
  createBootProfile,
  createExtraOption,
  createOptionProfile,
  escapeTenantText,
  readOption,
} from "../dhcp/index.ts";
import { formatIpv4, parseIpv4, parseSubnet } from "../model/ipv4-address.ts";
import { formatMac, parseMac } from "../model/mac-address.ts";
import { NEXT, type Plugin } from "./plugin.ts";
import type { WriteLog } from "./plugins/log/plugin.ts";

/** Grows by one when something is taken away or changes its meaning; additions do not count. */
export const PLUGIN_API_VERSION = 1;

/** The second argument of a plugin's factory. */
export interface PluginHost {
  readonly apiVersion: number;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Writes one structured line; texts of clients go through `escapeTenantText` first. */
  readonly log: WriteLog;
  /** Not mine: ask the next one. */
  readonly NEXT: typeof NEXT;
  /** An option for `context.replyOptions.set()`. */
  readonly createExtraOption: typeof createExtraOption;
  /** The options of a network, for an assignment. */
  readonly createOptionProfile: typeof createOptionProfile;
  readonly createBootProfile: typeof createBootProfile;
  /** A copy of an option's data. */
  readonly readOption: typeof readOption;
  readonly escapeTenantText: typeof escapeTenantText;
  readonly parseMac: typeof parseMac;
  readonly formatMac: typeof formatMac;
  readonly parseIpv4: typeof parseIpv4;
  readonly formatIpv4: typeof formatIpv4;
  readonly parseSubnet: typeof parseSubnet;
}

/** The default export of a plugin's module. It throws what is wrong with its settings. */
export type PluginFactory = (settings: unknown, host: PluginHost) => Plugin | Promise<Plugin>;

/** Makes the host of one plugin. */
export function createPluginHost(now: () => number, log: WriteLog): PluginHost {
  return Object.freeze({
    ...{ apiVersion: PLUGIN_API_VERSION, now, log, NEXT },
    ...{ createExtraOption, createOptionProfile, createBootProfile, readOption },
    ...{ escapeTenantText, parseMac, formatMac, parseIpv4, formatIpv4, parseSubnet },
  });
}
