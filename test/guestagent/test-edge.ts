/** Real time, no chance, and a console that is remembered. */

import { setTimeout as delay } from "node:timers/promises";
import type { AgentEdge } from "../../src/guestagent/edge.ts";

export function createTestEdge(): { readonly edge: AgentEdge; readonly lines: string[] } {
  const lines: string[] = [];
  const edge: AgentEdge = {
    now: () => performance.now(),
    sleep: async (ms, signal) => {
      await delay(ms, undefined, { signal }).catch(() => {});
    },
    random: () => 0.5,
    log: (line) => lines.push(line),
  };
  return { edge, lines };
}
