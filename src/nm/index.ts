export {
  createLinuxNetwork,
  type LinuxNetworkOptions,
  NetworkAgent,
  type NetworkAgentOptions,
  type NodeNetwork,
  type NodeVnet,
  SimulatedNetwork,
  type StartVnetServices,
  type VnetServices,
} from "./agent/index.ts";
export type { BindingTable } from "./binding-table.ts";
export { type BindingsSource, readBindings } from "./bindings-file.ts";
export { answerDns } from "./dns/dns-responder.ts";
export { internalDomain, NameZone } from "./dns/name-zone.ts";
export { EndpointManager, type EndpointManagerOptions } from "./endpoint-manager.ts";
export { type ProbeResult, probeEndpoint } from "./endpoint-probe.ts";
export {
  bindingRulesOf,
  type InventoryDescription,
  inventoryWarnings,
  parseInventory,
} from "./inventory.ts";
export {
  createInventoryResolver,
  type InventoryNic,
  type InventoryResolver,
} from "./inventory-resolver.ts";
export {
  type MacOwner,
  NetworkManager,
  type NicPlacement,
  type NicRequest,
} from "./network-manager.ts";
export type { PublicEndpoint } from "./public-addresses.ts";
export { NodeVips } from "./vips/node-vips.ts";
export { VnetVips, type VnetVipsOptions } from "./vips/vnet-vips.ts";
