export { type Chain, type ChainOptions, createChain, type PluginCounters } from "./chain.ts";
export {
  JOURNAL_CLIENTS_MAX,
  JOURNAL_ENTRIES_MAX,
  JOURNAL_STRANGERS_MAX,
  Journal,
  type JournalEntry,
  type JournalExplanation,
  type JournalOptions,
  type JournalOutcome,
} from "./journal.ts";
export { JOURNAL_TEXTS_MAX, JOURNAL_TRAILS_MAX } from "./journal-texts.ts";
export { LiveChain } from "./live-chain.ts";
export {
  type ContextView,
  NEXT,
  type NextVerdict,
  type OptionsVerdict,
  PLUGIN_BUDGET_MS,
  type Plugin,
  type PolicyVerdict,
  REASON_CHARACTERS_MAX,
  type RequestView,
  type ResolveVerdict,
  WHY_CHARACTERS_MAX,
} from "./plugin.ts";
export { createHardwarePlugin, type HostDirectory } from "./plugins/hardware/plugin.ts";
export { createNmPlugin, type NicResolver } from "./plugins/nm/plugin.ts";
