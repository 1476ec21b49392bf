export { ComputeManager, type Submitted } from "./compute-manager.ts";
export { type ContainerView, containerView } from "./container-view.ts";
export { describeExtensions, type ExtensionView, isFailing } from "./extension-view.ts";
export type { ComputeManagerOptions, ManagerClock } from "./manager-context.ts";
