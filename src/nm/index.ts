export { type ProbeResult, probeEndpoint } from "./endpoint-probe.ts";
export {
  createInventoryResolver,
  type InventoryDescription,
  type InventoryNic,
  type InventoryResolver,
  inventoryWarnings,
  parseInventory,
} from "./inventory.ts";
export {
  NetworkAgent,
  type NetworkAgentOptions,
  type NodeVnet,
  type StartVnetServices,
  type VnetServices,
} from "./network-agent.ts";
export { NetworkManager, type NicRequest } from "./network-manager.ts";
