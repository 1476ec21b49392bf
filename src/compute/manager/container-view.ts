/** What `ps` shows of a container: a pure function of its goal, its status and its trace. */
import type { ContainerGoal, ContainerState, ContainerStatus } from "../../model/documents.ts";
import type { Milestone } from "../../model/milestone.ts";
import { type ExtensionView, extensionViews } from "./extension-view.ts";
import { statusOf } from "./recovery.ts";

/** One row of `ps`; the names are a contract of `ps --json`. */
export interface ContainerView {
  readonly container: string;
  readonly tenant: string;
  readonly role: string;
  /** Empty while no node takes it. */
  readonly node: string;
  readonly state: ContainerState;
  /** The last one that its present boot reached. */
  readonly milestone: Milestone | "";
  readonly mac: string;
  readonly address: string;
  readonly vnet: string;
  /** What the guest agent said of itself; empty while it said nothing. */
  readonly health: string;
  /** When `state` began, as an ISO 8601 time; empty if that is not known. */
  readonly since: string;
  /** Why it is in this state. */
  readonly detail: string;
  /** What is wanted of each of its extensions, and what became of it. */
  readonly extensions: readonly ExtensionView[];
}

/** See {@link ContainerView}. */
export function containerView(
  goal: ContainerGoal,
  status: ContainerStatus | undefined,
  lastMilestone: Milestone | undefined,
): ContainerView {
  const { container, tenant, role, node, mac, address, vnet } = goal;
  const own = statusOf(goal, status);
  return {
    ...{ container, tenant, role, node, mac, address, vnet },
    ...stateOf(goal, own),
    extensions: extensionViews(goal, own),
    milestone: lastMilestone ?? "",
    health: own === undefined ? "" : healthText(own),
    since: own === undefined ? "" : new Date(own.sinceMs).toISOString(),
  };
}

function stateOf(
  { expectedState, node, recovery, attempt }: ContainerGoal,
  status: ContainerStatus | undefined,
): Pick<ContainerView, "state" | "detail"> {
  const { gaveUp, unplaced, retryAtMs, reason } = recovery;
  if (gaveUp !== undefined) return { state: "Failed", detail: gaveUp };
  if (node === "" && expectedState === "Stopped") {
    return { state: "Stopped", detail: "stopped as asked; no node has room for it now" };
  }
  if (node === "") return { state: "Failed", detail: unplaced ?? "no node takes it" };
  if (retryAtMs !== undefined && expectedState === "Started") {
    const at = new Date(retryAtMs).toISOString();
    return { state: "Failed", detail: `${reason ?? "failed"}; attempt ${attempt + 1} at ${at}` };
  }
  if (status !== undefined) return { state: status.state, detail: status.detail };
  if (reason === undefined) return { state: "Allocated", detail: `placed on ${node}` };
  return { state: "Allocated", detail: `placed on ${node} after: ${reason}` };
}

function healthText({ health }: ContainerStatus): string {
  if (health === undefined) return "";
  const said = [health.subStatus, health.description].filter(Boolean).join(": ");
  return said === "" ? health.state : `${health.state} (${said})`;
}
