export { type Chain, createChain, type PluginCounters } from "./chain.ts";
export { NEXT, type Plugin, type PluginVerdict } from "./plugin.ts";
export { createHardwarePlugin, type HostDirectory } from "./plugins/hardware/plugin.ts";
export { createNmPlugin, type NicResolver } from "./plugins/nm/plugin.ts";
