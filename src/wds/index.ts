export { BUILTIN_PLUGINS, type ChainSurroundings, DEFAULT_CHAIN } from "./builtin-plugins.ts";
export { type Chain, type ChainOptions, createChain, type PluginCounters } from "./chain.ts";
export {
  CHAIN_PLUGINS_MAX,
  type ChainSource,
  type LoadedChain,
  loadChain,
} from "./chain-config.ts";
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
export { PLUGIN_LOAD_MS } from "./load-plugin.ts";
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
export { PLUGIN_API_VERSION, type PluginFactory, type PluginHost } from "./plugin-host.ts";
export { createHardwarePlugin, type HostDirectory } from "./plugins/hardware/plugin.ts";
export {
  ALARMS,
  createLogPlugin,
  LOG_KINDS_MAX,
  LogSchema,
  type WriteLog,
} from "./plugins/log/plugin.ts";
export { createNmPlugin, type NicResolver } from "./plugins/nm/plugin.ts";
export {
  createOptionsPlugin,
  OPTION_RULES_MAX,
  OPTIONS_OF_RULE_MAX,
  OptionsSchema,
  optionsWarnings,
} from "./plugins/options/plugin.ts";
export {
  createRateLimitPlugin,
  RATE_INTERFACES_MAX,
  RATE_SENDERS_MAX,
  RateLimitSchema,
} from "./plugins/rate-limit/plugin.ts";
