export { createLinuxNetwork, type LinuxNetworkOptions } from "./linux-network.ts";
export { NetworkAgent, type NetworkAgentOptions } from "./network-agent.ts";
export type { NodeNetwork, NodeOverlay, NodePort } from "./node-network.ts";
export type { NodeVnet, StartVnetServices, VnetServices } from "./node-vnet.ts";
export { SimulatedNetwork } from "./simulated-network.ts";
