/** The last step of one boot, read from the keys alone. */
import type { Milestone } from "../model/milestone.ts";
import type { FabricStore } from "../store/index.ts";
import { bootPrefix, findTraceKey } from "./milestone-keys.ts";

/** The furthest milestone that a boot of a container has reached; undefined if none. Rejects as the store. */
export async function findLastMilestone(
  store: FabricStore,
  container: string,
  boot: number,
): Promise<Milestone | undefined> {
  const { kvs } = await store.list(bootPrefix(container, boot));
  const step = findTraceKey(kvs.at(-1)?.key ?? "")?.step; // keys are in the order of milestones
  return step === "start" ? undefined : step;
}
