/**
 * The provider chain, after Windows Deployment Services: ordered providers, of which the first with an opinion
 * decides who a client is. The order is the caller's explicit list.
 */
import type { ChainVerdict, DecideRequest } from "../dhcp/index.ts";
import type { Plugin } from "./plugin.ts";

const UNKNOWN: ChainVerdict = Object.freeze({ kind: "unknown" });

/** How often each provider decided, and how often it failed. */
export interface PluginCounters {
  decided: number;
  failed: number;
}

export interface Chain {
  readonly decide: DecideRequest;
  readonly counters: ReadonlyMap<string, PluginCounters>;
}

/**
 * Makes a chain of providers. A provider that throws costs its one request: the client is met with silence, as after
 * any error, because an answer from a later provider could be the wrong one.
 */
export function createChain(plugins: readonly Plugin[]): Chain {
  const counters = new Map(plugins.map(({ name }) => [name, { decided: 0, failed: 0 }]));
  const links = plugins.map((plugin) => ({ plugin, counter: counters.get(plugin.name)! }));
  return {
    counters,
    decide: (request, context) => {
      for (const { plugin, counter } of links) {
        try {
          const verdict = plugin.decide(request, context);
          if (verdict.kind === "next") continue;
          counter.decided += 1;
          return verdict;
        } catch {
          counter.failed += 1;
          return { kind: "error", reason: `plugin.${plugin.name}` };
        }
      }
      return UNKNOWN;
    },
  };
}
