export { type AgentClock, systemClock } from "./agent/clock.ts";
export { ComputeAgent, type ComputeAgentOptions } from "./agent/compute-agent.ts";
export type { GuestHealth } from "./agent/liveness.ts";
export { COMPUTE_POLICY, type ComputePolicy } from "./agent/policy.ts";
export type { BootSource, BootSourceRequest, PrepareBootSource } from "./agent/start-vm.ts";
export { bundleAgent } from "./guest/agent-bundle.ts";
export { buildGuestImage } from "./guest-image.ts";
export type {
  Adoption,
  AdoptionScope,
  DiskImage,
  EndedGuest,
  GuestBoot,
  GuestDescription,
  Hypervisor,
  PreparedGuest,
  StopOptions,
  StopStep,
  Vm,
  VmExit,
  VmLifetime,
  VmPort,
  VmSpec,
} from "./hypervisor.ts";
export {
  createNetnsHypervisor,
  type NetnsHypervisorOptions,
} from "./hypervisors/netns/netns-hypervisor.ts";
export {
  createQemuHypervisor,
  findQemu,
  openQemuMachines,
} from "./hypervisors/qemu/index.ts";
export { type ImageStore, imageBootSource, openImageStore } from "./images/index.ts";
export { removeLeftovers, removeNamespace } from "./leftovers.ts";
export {
  ComputeManager,
  type ComputeManagerOptions,
  type ContainerView,
  containerView,
  describeExtensions,
  type ManagerClock,
  type Submitted,
} from "./manager/index.ts";
export { killProcesses, listProcesses } from "./processes.ts";
export { type ProvisioningDisc, writeProvisioningDisc } from "./provisioning-disc.ts";
