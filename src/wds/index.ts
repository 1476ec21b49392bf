export { type Chain, type ChainOptions, createChain, type PluginCounters } from "./chain.ts";
export {
  NEXT,
  type NextVerdict,
  type OptionsVerdict,
  PLUGIN_BUDGET_MS,
  type Plugin,
  type PolicyVerdict,
  type ResolveVerdict,
} from "./plugin.ts";
export { createHardwarePlugin, type HostDirectory } from "./plugins/hardware/plugin.ts";
export { createNmPlugin, type NicResolver } from "./plugins/nm/plugin.ts";
