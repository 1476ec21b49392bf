/**
 * Where milestones live in the store: `/trace/<container>/<boot>/<NN-milestone>`, sorted by time of
 * a healthy boot.
 */
import { FabricError } from "../model/errors.ts";
import { findMilestone, type Milestone, milestoneIndex } from "../model/milestone.ts";

/** Prefix of everything in this room. */
export const TRACE_PREFIX = "/trace/";

const BOOT_DIGITS = 8;
const CONTAINER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const KEY = /^\/trace\/([^/]+)\/(\d+)\/\d\d-([a-z-]+)$/;

/**
 * What a key under {@link TRACE_PREFIX} says. `step` is `start` for the record that opens a boot.
 */
export interface TraceKey {
  readonly container: string;
  /** 1 for the first boot. */
  readonly boot: number;
  readonly step: Milestone | "start";
}

/** @throws FabricError `ERR_TRACE_BAD_CONTAINER` if the name cannot be part of a key */
export function containerPrefix(container: string): string {
  if (CONTAINER.test(container)) return `${TRACE_PREFIX}${container}/`;
  throw new FabricError(
    "ERR_TRACE_BAD_CONTAINER",
    `${JSON.stringify(container)} is not a container name: use letters, digits, ".", "_" and "-"`,
  );
}

/** @throws FabricError `ERR_TRACE_BAD_CONTAINER` */
export function bootPrefix(container: string, boot: number): string {
  return `${containerPrefix(container)}${String(boot).padStart(BOOT_DIGITS, "0")}/`;
}

/** @throws FabricError `ERR_TRACE_BAD_CONTAINER` */
export function traceKey({ container, boot, step }: TraceKey): string {
  const number = step === "start" ? 0 : milestoneIndex(step) + 1;
  return `${bootPrefix(container, boot)}${String(number).padStart(2, "0")}-${step}`;
}

/** The parts of a key, or undefined if it is none of this version's. */
export function findTraceKey(key: string): TraceKey | undefined {
  const [, container, boot, name] = KEY.exec(key) ?? [];
  if (container === undefined || name === undefined) return undefined;
  const step = name === "start" ? "start" : findMilestone(name);
  return step === undefined ? undefined : { container, boot: Number(boot), step };
}
