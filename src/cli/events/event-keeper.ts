/** Scheduled events in the control process: makes them, starts them when they are due or approved, and ends them. */
import { asDocument, type ContainerGoal, keys, type TenantRecord } from "../../model/documents.ts";
import { FabricError } from "../../model/errors.ts";
import {
  advanceEvents,
  EVENT_ACTIONS,
  EVENTS_MAX,
  type EventRecord,
  FIRST_INCARNATION,
  type ScheduledEvent,
  withEvents,
} from "../../model/scheduled-event.ts";
import { deleteKeys, type FabricStore, follow, updateDocument } from "../../store/index.ts";
import type { EventControl, EventView, NewEvent } from "./event-control.ts";

/** Wait before something is tried again that failed. */
const RETRY_MS = 1_000;

/** What {@link EventKeeper} needs. */
export interface EventKeeperOptions {
  readonly store: FabricStore;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Returns what stops it. */
  readonly startTimer: (milliseconds: number, callback: () => void) => () => void;
  readonly createId: () => string;
  /** Does what an event says; resolves when that is durable. */
  readonly act: (container: string, action: "restart" | "stop") => Promise<void>;
  readonly onError: (what: string, error: unknown) => void;
}

/** The one writer of `/events/`. Nothing is kept in memory that the store does not have, but timers and approvals. */
export class EventKeeper implements EventControl {
  readonly #options: EventKeeperOptions;
  /** Approved events by tenant; an approval stays in the store until its event is over. */
  readonly #approved = new Map<string, Set<string>>();
  readonly #timers = new Map<string, () => void>();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: EventKeeperOptions) {
    this.#options = options;
  }

  /** Goes on with what an earlier run left, until `signal` aborts. Rejects when the store fails. */
  async run(signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    try {
      for (const { tenant } of await this.#records()) {
        if (await this.#isAccepted(tenant)) this.#advanceSoon(tenant);
        else await this.forgetTenant(tenant);
      }
      const onApproval = (key: string, value: unknown): void => this.#learn(key, value);
      await follow(store, keys.approvals, onApproval, signal).ended;
    } finally {
      for (const stop of this.#timers.values()) stop();
      this.#timers.clear();
    }
  }

  async add(wanted: NewEvent): Promise<EventView> {
    const { now, createId } = this.#options;
    const { container, type, source, description, durationSeconds, isActedOn } = wanted;
    if (isActedOn && EVENT_ACTIONS[type] === undefined) {
      throw new FabricError(
        "ERR_USAGE_EVENT",
        `A VM cannot be made to ${type} here; leave out act`,
      );
    }
    return this.#enqueue(async () => {
      const { tenant, instance } = await this.#requireContainer(container);
      const event: ScheduledEvent = {
        ...{ id: createId(), container, instance, type, source, description },
        notBeforeMs: now() + wanted.noticeSeconds * 1000,
        ...{ durationSeconds, isActedOn },
      };
      await this.#change(tenant, (record) => {
        if (record.events.length >= EVENTS_MAX) {
          const message = `${tenant} has ${EVENTS_MAX} events already; clear some`;
          throw new FabricError("ERR_USAGE_EVENT", message);
        }
        return withEvents(record, [...record.events, event]);
      });
      this.#advanceSoon(tenant);
      return viewOf(tenant, event);
    });
  }

  async list(): Promise<readonly EventView[]> {
    const records = await this.#records();
    return records.flatMap(({ tenant, events }) => events.map((event) => viewOf(tenant, event)));
  }

  async clear(container: string, id?: string): Promise<{ readonly cleared: number }> {
    const isMeant = (event: ScheduledEvent) =>
      event.container === container && (id === undefined || event.id === id);
    return this.#enqueue(async () => {
      const found = (await this.#records()).find(({ events }) => events.some(isMeant));
      if (found === undefined) return { cleared: 0 };
      const { tenant } = found;
      const kept = found.events.filter((event) => !isMeant(event));
      const record = withEvents(found, kept);
      await this.#change(tenant, () => record);
      await this.#deleteApprovals(tenant, record);
      return { cleared: found.events.length - kept.length };
    });
  }

  async forgetTenant(tenant: string): Promise<void> {
    await this.#enqueue(async () => {
      const { store } = this.#options;
      const { kvs } = await store.list(keys.approvalsOf(tenant));
      await deleteKeys(store, [keys.eventsOf(tenant), ...kvs.map(({ key }) => key)]);
    });
  }

  #learn(key: string, value: unknown): void {
    const [tenant = "", id = ""] = key.slice(keys.approvals.length).split("/");
    const approved = this.#approved.getOrInsertComputed(tenant, () => new Set());
    if (value === undefined) {
      approved.delete(id);
      if (approved.size === 0) this.#approved.delete(tenant);
    } else {
      approved.add(id);
      this.#advanceSoon(tenant);
    }
  }

  #advanceSoon(tenant: string): void {
    this.#enqueue(() => this.#advance(tenant)).catch((error: unknown) => {
      this.#options.onError(`events of ${tenant} were not started`, error);
      this.#wakeAt(tenant, this.#options.now() + RETRY_MS);
    });
  }

  /**
   * What an event says is done before the event is shown as started: after a crash in between it is done once more, and
   * never forgotten.
   */
  async #advance(tenant: string): Promise<void> {
    const record = (await this.#read(tenant)) ?? emptyRecord(tenant);
    const nowMs = this.#options.now();
    const approved = this.#approved.get(tenant) ?? new Set();
    const { started, nextMs, record: changed } = advanceEvents(record, approved, nowMs);
    for (const event of started) await this.#act(event);
    if (changed !== undefined) await this.#change(tenant, () => changed);
    await this.#deleteApprovals(tenant, changed ?? record);
    if (nextMs !== undefined) this.#wakeAt(tenant, nextMs);
  }

  async #act({ type, container, isActedOn }: ScheduledEvent): Promise<void> {
    const action = isActedOn ? EVENT_ACTIONS[type] : undefined;
    if (action === undefined) return;
    try {
      await this.#options.act(container, action);
    } catch (error) {
      this.#options.onError(`${type} of ${container} could not be done`, error);
    }
  }

  #wakeAt(tenant: string, atMs: number): void {
    const { startTimer, now } = this.#options;
    this.#timers.get(tenant)?.();
    const stop = startTimer(Math.max(0, atMs - now()), () => {
      this.#timers.delete(tenant);
      this.#advanceSoon(tenant);
    });
    this.#timers.set(tenant, stop);
  }

  /** One change after another: each is decided on what the one before wrote. */
  #enqueue<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(task);
    this.#queue = done.catch(() => undefined); // its own caller learns it
    return done;
  }

  async #change(tenant: string, change: (record: EventRecord) => EventRecord): Promise<void> {
    await updateDocument(this.#options.store, keys.eventsOf(tenant), (old) =>
      change(old === undefined ? emptyRecord(tenant) : asDocument<EventRecord>(old)),
    );
  }

  async #read(tenant: string): Promise<EventRecord | undefined> {
    const { kv } = await this.#options.store.get(keys.eventsOf(tenant));
    return kv === undefined ? undefined : asDocument<EventRecord>(kv.value);
  }

  async #records(): Promise<readonly EventRecord[]> {
    const { kvs } = await this.#options.store.list(keys.events);
    return kvs.map(({ value }) => asDocument<EventRecord>(value));
  }

  /** Of events that are over, or were when the approval came. */
  async #deleteApprovals(tenant: string, { events }: EventRecord): Promise<void> {
    const present = new Set(events.map(({ id }) => id));
    const stale = [...(this.#approved.get(tenant) ?? [])].filter((id) => !present.has(id));
    if (stale.length === 0) return;
    await deleteKeys(
      this.#options.store,
      stale.map((id) => keys.approval(tenant, id)),
    );
  }

  async #requireContainer(container: string): Promise<ContainerGoal> {
    const { kv } = await this.#options.store.get(keys.containerGoal(container));
    const goal = kv === undefined ? undefined : asDocument<ContainerGoal>(kv.value);
    if (goal !== undefined && (await this.#isAccepted(goal.tenant))) return goal;
    const message = `There is no container ${container}; goalstate ps lists them`;
    throw new FabricError("ERR_USAGE_CONTAINER_UNKNOWN", message);
  }

  async #isAccepted(tenant: string): Promise<boolean> {
    const { kv } = await this.#options.store.get(keys.tenant(tenant));
    return kv !== undefined && asDocument<TenantRecord>(kv.value).phase === "accepted";
  }
}

function emptyRecord(tenant: string): EventRecord {
  return { tenant, incarnation: FIRST_INCARNATION, events: [] };
}

function viewOf(tenant: string, event: ScheduledEvent): EventView {
  const { id, container, type, source, description, startedMs, durationSeconds } = event;
  return {
    ...{ tenant, id, container, type, source, description, durationSeconds },
    status: startedMs === undefined ? "Scheduled" : "Started",
    notBefore: new Date(event.notBeforeMs).toISOString(),
    isActedOn: event.isActedOn,
  };
}
