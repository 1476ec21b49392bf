export {
  BOOTS_KEPT,
  type BootTrace,
  type BootTraceOptions,
  createBootTrace,
  type Evidence,
  type FollowedMilestone,
  type Reached,
  type TimelineEntry,
} from "./boot-trace.ts";
export { findLastMilestone } from "./last-milestone.ts";
export { findWait, type Wait, why } from "./why.ts";
