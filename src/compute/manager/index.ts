export { ComputeManager, type Submitted } from "./compute-manager.ts";
export { type ContainerView, containerView } from "./container-view.ts";
export type { ComputeManagerOptions, ManagerClock } from "./manager-context.ts";
