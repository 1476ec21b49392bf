import type { Scenario } from "../scenario.ts";
import { DISCOVERING } from "./discovering.ts";
import { FRAMES } from "./frames.ts";
import { INFORMING } from "./informing.ts";
import { OPTIONS } from "./options.ts";
import { RELAYING } from "./relaying.ts";
import { REQUESTING } from "./requesting.ts";

/** The scenarios by what they are about. */
export const PARTS = {
  DHCPDISCOVER: DISCOVERING,
  DHCPREQUEST: REQUESTING,
  "the other messages": INFORMING,
  options: OPTIONS,
  relays: RELAYING,
  frames: FRAMES,
} as const satisfies Record<string, readonly Scenario[]>;

export const SCENARIOS: readonly Scenario[] = Object.values(PARTS).flat();
