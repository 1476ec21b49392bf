/**
 * The worker of one container: reads its goal, decides, takes one step after another, and writes what came of it. A
 * step that takes long is interrupted by a goal that no longer wants it; no other container waits for it.
 */
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ContainerGoal, ContainerState } from "../../model/documents.ts";
import { errorText } from "../../model/errors.ts";
import type { KeyValue } from "../../store/index.ts";
import type { Vm, VmExit } from "../hypervisor.ts";
import {
  decide,
  type Failure,
  isStillRight,
  type NetworkView,
  NO_NETWORK,
  type Step,
  type Wanted,
} from "./decide.ts";
import { GoalReader } from "./goal-reader.ts";
import { type Guest, judgeOwn, listens, newGuest, recallGuest, shownGoal } from "./guest.ts";
import type { Liveness } from "./liveness.ts";
import { policyFor } from "./policy.ts";
import { recall } from "./recall.ts";
import { startVm } from "./start-vm.ts";
import { draftStatus } from "./status-draft.ts";
import { type StatusDraft, StatusWriter } from "./status-writer.ts";
import { stopVm } from "./stop-vm.ts";
import type { NetworkUser, Waiting, WorkerEdge } from "./worker-edge.ts";

/** See the module's comment. */
export class ContainerWorker implements Waiting, NetworkUser {
  readonly container: string;
  readonly #edge: WorkerEdge;
  readonly #writer: StatusWriter;
  readonly #reader: GoalReader;
  /** Its placement is on this node. */
  #isPlaced = false;
  /** Its folder is there, and in the store there may be a status. */
  #hasPapers = true;
  #hasFolder = false;
  #network: NetworkView = NO_NETWORK;
  #guest: Guest | undefined;
  #failure: Failure | undefined;
  /** Why the VM of an earlier agent was found ended. */
  #endedReason: string | undefined;
  #stopNote: string | undefined;
  #activity: { readonly state: ContainerState; readonly detail: string } | undefined;
  #step: { readonly step: Step; readonly abort: AbortController } | undefined;
  #suspended: "ask" | "switch-off" | undefined;
  #retryAtMs = Number.POSITIVE_INFINITY;
  #isOpen = false;
  #isClosed = false;
  #isDirty = false;
  #running: Promise<void> | undefined;

  constructor(container: string, edge: WorkerEdge) {
    this.container = container;
    this.#edge = edge;
    const { store, clock } = edge;
    this.#reader = new GoalReader({
      ...{ store, container, node: edge.node },
      onRead: (first) => this.#onGoal(first),
    });
    this.#writer = new StatusWriter({
      ...{ store, container },
      now: () => clock.now(),
      draft: () => this.#draft(),
      refreshGoal: () => this.refresh(),
    });
  }

  get wanted(): Wanted {
    return this.#reader.wanted;
  }

  get vm(): Vm | undefined {
    return this.#guest?.vm;
  }

  /** The goal as its guest is to see it. */
  get shownGoal(): ContainerGoal | undefined {
    return shownGoal(this.#reader.goal, this.#guest, this.#suspended !== undefined);
  }

  // What is found at the start, before open().

  /** Takes over a VM that runs. */
  adopt(vm: Vm): void {
    this.#take(newGuest(vm, this.#edge.clock.monotonic()));
  }

  /** A VM of it was found ended. */
  foundEnded(reason: string): void {
    this.#endedReason = reason;
  }

  /** From now on it acts. */
  open(): void {
    this.#isOpen = true;
    this.wake();
  }

  /** Acts, and resolves when it has nothing more to do at once. */
  async clear(): Promise<void> {
    this.open();
    await this.#running;
  }

  // What it is told.

  /** Its placement on this node was written, or deleted. */
  place(isPlaced: boolean): void {
    this.#isPlaced = isPlaced;
    this.refresh().catch((error: unknown) => this.#fail(error));
  }

  /** Reads the goal and goes on from it. Rejects as the store. */
  async refresh(): Promise<void> {
    await this.#reader.refresh();
    this.wake();
  }

  setNetwork(network: NetworkView | undefined): void {
    this.#network = network ?? NO_NETWORK;
    this.wake();
  }

  /** Its deadline has come. */
  due(): void {
    const mustRead = this.wanted.kind === "unknown" || this.#retryAtMs !== Number.POSITIVE_INFINITY;
    this.#retryAtMs = Number.POSITIVE_INFINITY;
    if (mustRead) this.refresh().catch((error: unknown) => this.#fail(error));
    else this.wake();
  }

  /** Its guest asked or said something; on the way of every request. */
  heard(): void {
    const guest = this.#guest;
    if (guest === undefined) return;
    guest.heardMs = this.#edge.clock.monotonic();
    // It cannot speak without an address; and one that was silent speaks again.
    if (guest.leased && this.#writer.stored?.state !== "Unresponsive") return;
    guest.leased = true;
    this.wake();
  }

  fetched(incarnation: number): void {
    if (this.#guest === undefined || this.#guest.fetchedIncarnation === incarnation) return;
    this.#guest.fetchedIncarnation = incarnation;
    this.wake();
  }

  /** Its guest said something that counts: resolves when what `change` makes of it is durable, rejects as the store. */
  async report(change: (guest: Guest) => void): Promise<void> {
    if (this.#guest === undefined) return;
    change(this.#guest);
    await this.#writer.sync();
    this.wake();
  }

  /** Stops its VM and starts none; resolves when that is done. */
  async suspend(manner: "ask" | "switch-off"): Promise<void> {
    this.#suspended = manner;
    if (this.#step?.step.kind === "start") this.#step.abort.abort();
    await this.clear();
    await this.#writer.settled();
  }

  /** Lets go of it; a VM runs on. Resolves when it has ended what it can end at once. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#edge.schedule(this, Number.POSITIVE_INFINITY);
    this.#guest?.vm.release();
    if (this.#step?.step.kind === "start") {
      this.#step.abort.abort();
      await this.#running;
    }
    await this.#writer.settled();
  }

  /** Decides anew, now or after the step that is under way. */
  wake(): void {
    this.#edge.onChange?.(this.container);
    if (!this.#isOpen || this.#isClosed) return;
    this.#isDirty = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    while (this.#isDirty && !this.#isClosed) {
      this.#isDirty = false;
      try {
        this.#edge.onChange?.(this.container); // what the last turn did may show
        await this.#turn();
      } catch (error) {
        this.#isDirty = false;
        this.#fail(error);
      }
    }
  }

  async #turn(): Promise<void> {
    this.#makeFolder();
    const liveness = this.#judge();
    const step = decide({
      wanted: this.wanted,
      vm: this.#guest?.vm,
      late: liveness?.kind === "late" ? liveness.reason : undefined,
      failure: this.#failure,
      network: this.#network,
      hasPapers: this.#hasPapers,
      ...(this.#suspended !== undefined && { suspended: this.#suspended }),
    });
    if (step.kind === "rest") return this.#rest(liveness);
    const abort = new AbortController();
    this.#step = { step, abort };
    try {
      if (step.kind === "start") await this.#start(step.goal, step.namespace, abort.signal);
      else if (step.kind === "stop") await this.#stop(step, abort.signal);
      else await this.#forget();
      this.#isDirty = true;
    } finally {
      this.#step = undefined;
      this.#activity = undefined;
    }
  }

  /** Before anything is written in the store: after a crash, the folder tells that something may have been. */
  #makeFolder(): void {
    if (this.#hasFolder || this.#reader.goal === undefined) return;
    const folder = join(this.#edge.runDirectory, this.container);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#hasFolder = true;
  }

  #rest(liveness: Liveness | undefined): void {
    const { kind } = this.wanted;
    if (
      (kind === "gone" || kind === "elsewhere") &&
      !this.#hasPapers &&
      !this.#isPlaced &&
      !this.#reader.isReading
    ) {
      this.#isClosed = true;
      this.#edge.schedule(this, Number.POSITIVE_INFINITY);
      this.#edge.forgotten(this.container, this);
      return;
    }
    this.#touch();
    const untilMs = liveness?.kind === "alive" ? liveness.untilMs : Number.POSITIVE_INFINITY;
    this.#edge.schedule(this, Math.min(untilMs, this.#retryAtMs));
  }

  async #start(goal: ContainerGoal, namespace: string, signal: AbortSignal): Promise<void> {
    const { clock, onError, ...edge } = this.#edge;
    this.#stopNote = undefined;
    this.#activity = { state: "Creating", detail: "preparing its image" };
    await this.#writer.sync(); // which, as a rule, asks the store whether the goal is still this one
    if (signal.aborted) return;
    const say = (detail: string) => {
      this.#activity = { state: "Creating", detail };
      this.#touch();
    };
    try {
      const vm = await startVm({ ...edge, goal, namespace, say, signal });
      this.#take({ ...newGuest(vm, clock.monotonic()), goal });
    } catch (error) {
      if (signal.aborted) return; // not wanted any more
      onError(this.container, error);
      this.#failure = { attempt: goal.attempt, reason: errorText(error) };
    }
  }

  #take(guest: Guest): void {
    const { vm } = guest;
    if (this.#isClosed) {
      vm.release();
      return;
    }
    this.#guest = guest;
    void vm.exited.then((exit) => this.#onExit(vm, exit));
  }

  #onExit(vm: Vm, exit: VmExit): void {
    if (this.#guest?.vm !== vm || this.#isClosed) return;
    if (this.#step?.step.kind === "stop") return; // it sees to that
    this.#guest = undefined;
    const reason = exit.kind === "failed" ? exit.reason : "its guest powered off";
    if (this.#reader.goal?.expectedState === "Stopped") {
      this.#stopNote = `stopped as asked: ${reason}`;
    } else {
      this.#failure = { attempt: vm.attempt, reason };
    }
    this.wake();
  }

  async #stop(step: Extract<Step, { kind: "stop" }>, hurry: AbortSignal): Promise<void> {
    const guest = this.#guest;
    if (guest === undefined) return;
    const { clock } = this.#edge;
    this.#activity = { state: "Stopping", detail: step.detail };
    this.#touch();
    const { vm } = guest;
    const goal = this.#reader.goal ?? guest.goal;
    const policy = policyFor(this.#edge.policy, goal);
    const kind = goal?.kind ?? "iaas"; // nobody knows: not asked
    const canAsk = listens(guest, kind, clock.monotonic(), policy.silenceMs);
    const how = await stopVm({ vm, manner: step.manner, canAsk, policy, clock, hurry });
    this.#guest = undefined;
    this.#stopNote = `stopped as asked: ${how}`;
    if (step.failure !== undefined) this.#failure = step.failure;
  }

  /** The status goes only now: it tells that the container still takes room here. */
  async #forget(): Promise<void> {
    this.#edge.trace.leave(this.container);
    await this.#writer.delete(this.#edge.node);
    const folder = join(this.#edge.runDirectory, this.container);
    this.#hasFolder = false;
    this.#hasPapers = false; // unless a goal comes meanwhile
    try {
      await rm(folder, { recursive: true, force: true });
    } catch (error) {
      this.#hasPapers = true;
      throw error;
    }
  }

  #onGoal(first: { readonly status: KeyValue | undefined } | undefined): void {
    const { goal, wanted } = this.#reader;
    if (first !== undefined) this.#writer.learn(first.status);
    if (goal !== undefined) {
      this.#hasPapers = true;
      if (this.#guest?.vm.attempt === goal.attempt) this.#guest.goal = goal;
      this.#network = this.#edge.networkOf(goal.mac, this) ?? NO_NETWORK;
      if (goal.boot > 0) void this.#edge.trace.joinBoot(this.container, goal.boot);
    }
    if (first !== undefined) this.#recall();
    if (this.#step !== undefined && !isStillRight(this.#step.step, wanted)) {
      this.#step.abort.abort();
    }
  }

  /** What an earlier agent wrote of the attempt that is wanted, or of the VM that runs. */
  #recall(): void {
    const status = this.#writer.stored;
    if (status?.node !== this.#edge.node) return;
    const guest = this.#guest;
    const { goal } = this.#reader;
    const runs = guest?.vm.attempt === status.attempt;
    if (runs) recallGuest(guest, status);
    const { failure, stopNote } = recall(status, goal, runs, this.#endedReason);
    this.#failure = failure;
    this.#stopNote = stopNote;
  }

  #judge(): Liveness | undefined {
    const { clock, policy, trace } = this.#edge;
    const furthest = () => trace.furthest(this.container);
    return judgeOwn(this.#guest, this.#reader.goal, { clock, policy, furthest });
  }

  #draft(): StatusDraft | undefined {
    const { goal, modRev } = this.#reader;
    if (goal === undefined || !this.#isOpen || !this.#hasFolder) return undefined;
    const vm = this.#guest?.vm;
    const status = draftStatus({
      node: this.#edge.node,
      goal,
      activity: this.#activity,
      vm: vm && { attempt: vm.attempt, port: vm.port.name },
      said: this.#guest ?? {},
      liveness: this.#judge(),
      failure: this.#failure,
      stopNote: this.#stopNote,
      network: this.#network,
      isSuspended: this.#suspended !== undefined,
    });
    return { status, goalModRev: modRev };
  }

  /** Writes what changed, in the background. */
  #touch(): void {
    this.#writer.sync().catch((error: unknown) => this.#fail(error));
  }

  /** Something failed that the guest cannot help: it is tried again a little later. */
  #fail(error: unknown): void {
    if (this.#isClosed) return;
    const { clock, policy, onError, schedule } = this.#edge;
    onError(this.container, error);
    this.#retryAtMs = clock.monotonic() + policy.retryMs;
    schedule(this, this.#retryAtMs);
  }
}
