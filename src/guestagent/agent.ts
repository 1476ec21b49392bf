/** The loop: poll the goal state, compare its incarnation, converge, report. */

import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errorText, FabricError } from "../model/errors.ts";
import {
  type GoalState,
  type Health,
  parseHostingEnvironment,
  parseOwnEndpoints,
} from "./documents.ts";
import type { AgentEdge } from "./edge.ts";
import { type RoleConfiguration, readAppManifest, roleProgramOf } from "./role-program.ts";
import {
  type RoleGoal,
  type RoleState,
  RoleSupervisor,
  type SupervisorPolicy,
} from "./role-supervisor.ts";
import type { WireClient } from "./wire-client.ts";

/** The agent's rhythm. */
export interface AgentIntervals {
  /** Between two looks at the goal state; the real service asks for 6 s or more. */
  readonly pollMs: number;
  /** Between two health reports that say nothing new, by which the fabric knows that the guest lives. */
  readonly heartbeatMs: number;
}

export const AGENT_INTERVALS: AgentIntervals = { pollMs: 6_000, heartbeatMs: 15_000 };

/** What {@link runAgent} needs. */
export interface AgentOptions {
  readonly client: WireClient;
  /** The folder with `app.json`. */
  readonly appFolder: string;
  /** Where the agent writes down what it does, in `agent.json`, for people and programs in the guest. */
  readonly stateFolder: string;
  /** Variables that the role program inherits. */
  readonly environment: Readonly<Record<string, string>>;
  readonly edge: AgentEdge;
  readonly signal: AbortSignal;
  readonly intervals?: AgentIntervals;
  readonly supervisorPolicy?: SupervisorPolicy;
}

/** Why the agent ended: `signal` aborted, or the goal state is Stopped, the role has ended and both was reported. */
export type AgentEnd = "aborted" | "stopped";

/**
 * Runs until `signal` aborts or the goal state becomes Stopped; the role is stopped then. Rejects for nothing that a wire
 * server can do.
 */
export async function runAgent(options: AgentOptions): Promise<AgentEnd> {
  await using agent = new GuestAgent(options);
  return await agent.run();
}

/** What is reported of a role; undefined while there is nothing to say. */
export function roleStateText(state: RoleState): string | undefined {
  switch (state.kind) {
    case "no-program":
      return "NoProgram";
    case "starting":
      return undefined;
    case "started":
      return "Started";
    case "crashed":
      return `Crashed ${state.reason}`;
    case "stopped":
      return "Stopped";
    default:
      throw state satisfies never;
  }
}

const STARTING: Health = { state: "NotReady", subStatus: "Provisioning", description: "Starting" };
const READY: Health = { state: "Ready" };

class GuestAgent implements AsyncDisposable {
  readonly #options: AgentOptions;
  readonly #intervals: AgentIntervals;
  readonly #supervisor: RoleSupervisor;
  /** The goal state that the guest has converged to. */
  #converged: GoalState | undefined;
  /** A guest that was Ready once stays so: a crash of its role is the role's state. */
  #provisioned = false;
  #reportedRole: string | undefined;
  #reportedHealth: string | undefined;
  #reportedAt = 0;
  #polledAt = Number.NEGATIVE_INFINITY;
  #wake = new AbortController();

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#intervals = options.intervals ?? AGENT_INTERVALS;
    this.#supervisor = new RoleSupervisor({
      edge: options.edge,
      onChange: () => this.#onRoleChange(),
      ...(options.supervisorPolicy === undefined ? {} : { policy: options.supervisorPolicy }),
    });
  }

  async run(): Promise<AgentEnd> {
    const { client, edge, signal } = this.#options;
    await this.#untilDone("checking the wire server's versions", () => client.checkVersions());
    if (!signal.aborted) edge.log("the wire server speaks our version");
    while (!signal.aborted) {
      // Before the round, so that what the role does meanwhile ends the pause after it.
      this.#wake = new AbortController();
      await this.#untilDone("a round", () => this.#round());
      if (this.#converged?.expectedState === "Stopped" && !this.#isReportDue()) return "stopped";
      await this.#pause();
    }
    return "aborted";
  }

  #onRoleChange(): void {
    const { kind } = this.#supervisor.state;
    if (kind !== "starting" && kind !== "crashed") this.#provisioned = true;
    this.#wake.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#supervisor[Symbol.asyncDispose]();
  }

  /** Tries until it works, or until the end; the rate is bounded by the poll interval. */
  async #untilDone(what: string, work: () => Promise<void>): Promise<void> {
    const { edge, signal } = this.#options;
    while (!signal.aborted) {
      try {
        return await work();
      } catch (error) {
        if (signal.aborted) return;
        edge.log(`${what} failed, trying again: ${errorText(error)}`);
        await edge.sleep(this.#intervals.pollMs, signal);
      }
    }
  }

  async #round(): Promise<void> {
    if (this.#msUntil(this.#polledAt, this.#intervals.pollMs) <= 0) {
      this.#polledAt = this.#options.edge.now();
      await this.#poll();
    }
    // The role may change while a report is on its way; what is said last must be true.
    while (this.#isReportDue() && !this.#options.signal.aborted) await this.#report();
  }

  async #poll(): Promise<void> {
    const { client, edge } = this.#options;
    const goalState = await client.fetchGoalState();
    try {
      if (this.#isNews(goalState)) await this.#apply(goalState);
    } catch (error) {
      if (!(error instanceof FabricError) || error.code !== "ERR_AGENT_RESOURCE_GONE") throw error;
      edge.log("the goal state changed while it was read; asking for it again");
      await this.#apply(await client.fetchGoalState());
    }
  }

  /** By being different: a fabric that lost its memory may begin to count anew. */
  #isNews(goalState: GoalState): boolean {
    const { incarnation, containerId, instanceId } = this.#converged ?? {};
    return (
      goalState.incarnation !== incarnation ||
      goalState.containerId !== containerId ||
      goalState.instanceId !== instanceId
    );
  }

  async #apply(goalState: GoalState): Promise<void> {
    const { edge } = this.#options;
    edge.log(`goal state: incarnation ${goalState.incarnation}, ${goalState.expectedState}`);
    const configuration = await this.#fetchConfiguration(goalState);
    edge.log(
      `configuration: role instance ${configuration.hostingEnvironment.roleInstance}, ` +
        `settings ${configuration.hostingEnvironment.settings.size}, ` +
        `endpoints ${configuration.endpoints.length}`,
    );
    if (!this.#provisioned) await this.#reportHealth(goalState, STARTING);
    await this.#supervisor.converge(await this.#roleGoal(goalState, configuration));
    this.#converged = goalState;
  }

  async #fetchConfiguration(goalState: GoalState): Promise<RoleConfiguration> {
    const { client } = this.#options;
    const hostingEnvironment = await parseHostingEnvironment(
      await client.fetchDocument(goalState.hostingEnvironmentUrl),
    );
    const endpoints = await parseOwnEndpoints(
      await client.fetchDocument(goalState.sharedConfigUrl),
      hostingEnvironment.roleInstance,
    );
    return { incarnation: goalState.incarnation, hostingEnvironment, endpoints };
  }

  async #roleGoal(goalState: GoalState, configuration: RoleConfiguration): Promise<RoleGoal> {
    if (goalState.expectedState === "Stopped") return { kind: "stop" };
    const { appFolder, environment, edge } = this.#options;
    try {
      const manifest = await readAppManifest(appFolder);
      if (manifest !== undefined) {
        const program = roleProgramOf(manifest, appFolder, configuration, environment);
        return { kind: "run", program };
      }
      edge.log(`${appFolder} has no app.json: this container runs no role program`);
      return { kind: "no-program" };
    } catch (error) {
      const reason = errorText(error);
      edge.log(`the role program cannot be started: ${reason}`);
      return { kind: "broken", reason };
    }
  }

  #health(): Health {
    if (this.#provisioned) return READY;
    const { state } = this.#supervisor;
    if (state.kind !== "crashed") return STARTING;
    return { ...STARTING, description: `the role program ${state.reason}` };
  }

  #isReportDue(): boolean {
    if (this.#converged === undefined) return false;
    const role = roleStateText(this.#supervisor.state);
    return (
      (role !== undefined && this.#roleKey(this.#converged, role) !== this.#reportedRole) ||
      this.#healthKey(this.#converged, this.#health()) !== this.#reportedHealth ||
      this.#msUntil(this.#reportedAt, this.#intervals.heartbeatMs) <= 0
    );
  }

  #roleKey(goalState: GoalState, role: string): string {
    return `${goalState.containerId} ${role}`;
  }

  #healthKey(goalState: GoalState, health: Health): string {
    return JSON.stringify([goalState.containerId, goalState.incarnation, health]);
  }

  async #report(): Promise<void> {
    const { client, edge } = this.#options;
    const goalState = this.#converged;
    if (goalState === undefined) return;
    const role = roleStateText(this.#supervisor.state);
    const health = this.#health();
    await this.#reportHealth(goalState, health);
    if (role !== undefined && this.#roleKey(goalState, role) !== this.#reportedRole) {
      await client.reportRoleProperty(goalState, "RoleState", role);
      edge.log(`reported RoleState ${role}`);
      this.#reportedRole = this.#roleKey(goalState, role);
    }
    await this.#writeDown(goalState, health, role);
  }

  /** Says on the console only what is new; heartbeats are silent there. */
  async #reportHealth(goalState: GoalState, health: Health): Promise<void> {
    const { client, edge } = this.#options;
    await client.reportHealth(goalState, health);
    const key = this.#healthKey(goalState, health);
    const details = [health.subStatus, health.description].filter((each) => each !== undefined);
    if (key !== this.#reportedHealth) {
      edge.log(`reported ${[health.state, ...details].join(": ")}`);
    }
    this.#reportedHealth = key;
    this.#reportedAt = edge.now();
  }

  /** Replaced atomically, so that a reader never sees half of it. A full disk is no reason to be less alive. */
  async #writeDown(goalState: GoalState, health: Health, role: string | undefined): Promise<void> {
    const { stateFolder, edge } = this.#options;
    const { incarnation, containerId, instanceId, expectedState } = goalState;
    const path = join(stateFolder, "agent.json");
    const state = { incarnation, containerId, instanceId, expectedState, health, role };
    try {
      await mkdir(stateFolder, { recursive: true });
      await writeFile(`${path}.new`, `${JSON.stringify(state, undefined, 2)}\n`);
      await rename(`${path}.new`, path);
    } catch (error) {
      edge.log(`${path} cannot be written, ignoring it: ${errorText(error)}`);
    }
  }

  /** Until the next poll or heartbeat, or until the role changes. */
  async #pause(): Promise<void> {
    const { edge, signal } = this.#options;
    const waitMs = Math.min(
      this.#msUntil(this.#polledAt, this.#intervals.pollMs),
      this.#msUntil(this.#reportedAt, this.#intervals.heartbeatMs),
    );
    await edge.sleep(Math.max(waitMs, 1), AbortSignal.any([signal, this.#wake.signal]));
  }

  #msUntil(since: number, intervalMs: number): number {
    return since + intervalMs - this.#options.edge.now();
  }
}
