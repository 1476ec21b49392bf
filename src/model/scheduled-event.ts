/** Scheduled events: what the platform is about to do to a VM, told to all VMs of its deployment before it is done. */

export const EVENT_TYPES = ["Freeze", "Reboot", "Redeploy", "Preempt", "Terminate"] as const;
export type EventType = (typeof EVENT_TYPES)[number];

export const EVENT_SOURCES = ["Platform", "User"] as const;
export type EventSource = (typeof EVENT_SOURCES)[number];

/** What is done to the container when the event starts, by {@link ScheduledEvent.isActedOn}; a VM is not frozen here. */
export const EVENT_ACTIONS = {
  Freeze: undefined,
  Reboot: "restart",
  Redeploy: "restart",
  Preempt: "stop",
  Terminate: "stop",
} as const satisfies Record<EventType, "restart" | "stop" | undefined>;

/** Notice that Azure gives, in seconds. */
export const EVENT_NOTICE_SECONDS: Readonly<Record<EventType, number>> = {
  Freeze: 900,
  Reboot: 900,
  Redeploy: 600,
  Preempt: 30,
  Terminate: 300,
};

/** Events of one tenant that are there at once. */
export const EVENTS_MAX = 100;
export const EVENT_DESCRIPTION_CHARACTERS_MAX = 256;
export const EVENT_SECONDS_MAX = 86_400;

/** How long an event without a known duration is shown as started. */
const STARTED_MS = 60_000;

/** One event. */
export interface ScheduledEvent {
  /** GUID. */
  readonly id: string;
  readonly container: string;
  /** The role instance, `web_0`: what guests know the container by. */
  readonly instance: string;
  readonly type: EventType;
  readonly source: EventSource;
  readonly description: string;
  /** Epoch milliseconds: it starts then, or when a guest approves. */
  readonly notBeforeMs: number;
  /** Epoch milliseconds; absent: it is scheduled. */
  readonly startedMs?: number;
  /** Of the interruption; -1: unknown. */
  readonly durationSeconds: number;
  /** True: what it says is done when it starts. */
  readonly isActedOn: boolean;
}

/** `/events/T`, written by the control process: the events of a deployment. */
export interface EventRecord {
  readonly tenant: string;
  /** Grows with each change. */
  readonly incarnation: number;
  /** At most {@link EVENTS_MAX}. */
  readonly events: readonly ScheduledEvent[];
}

/**
 * `/approvals/T/E`, written once, by the node whose guest lets event E of tenant T start; deleted by the control process
 * when the event is over.
 */
export interface EventApproval {
  readonly container: string;
  /** Epoch milliseconds. */
  readonly approvedMs: number;
}

/** What guests see before there was any event. */
export const FIRST_INCARNATION = 1;

/** What has become of the events of a deployment. */
export interface EventStep {
  /** Undefined: nothing has changed. */
  readonly record?: EventRecord;
  /** Those that start now. */
  readonly started: readonly ScheduledEvent[];
  /** Ids of those that are over. */
  readonly ended: readonly string[];
  /** Epoch milliseconds of the next change that time brings; absent: none. */
  readonly nextMs?: number;
}

/**
 * Starts what was approved or is due, and ends what is over.
 *
 * @param approved - ids that a guest has approved
 */
export function advanceEvents(
  record: EventRecord,
  approved: ReadonlySet<string>,
  nowMs: number,
): EventStep {
  const starts = ({ id, startedMs, notBeforeMs }: ScheduledEvent) =>
    startedMs === undefined && (notBeforeMs <= nowMs || approved.has(id));
  const started = record.events.filter(starts);
  const events = record.events
    .map((event) => (starts(event) ? { ...event, startedMs: nowMs } : event))
    .filter((event) => nowMs < endMs(event));
  const kept = new Set(events.map(({ id }) => id));
  const ended = record.events.map(({ id }) => id).filter((id) => !kept.has(id));
  const nextMs = Math.min(...events.map(changeMs));
  return {
    ...((started.length > 0 || ended.length > 0) && { record: withEvents(record, events) }),
    ...{ started, ended },
    ...(events.length > 0 && { nextMs }),
  };
}

/** The record with other events, and the next incarnation. */
export function withEvents(record: EventRecord, events: readonly ScheduledEvent[]): EventRecord {
  return { ...record, incarnation: record.incarnation + 1, events };
}

/** When time changes an event next. */
function changeMs(event: ScheduledEvent): number {
  return event.startedMs === undefined ? event.notBeforeMs : endMs(event);
}

function endMs({ startedMs, durationSeconds }: ScheduledEvent): number {
  if (startedMs === undefined) return Number.POSITIVE_INFINITY;
  return startedMs + (durationSeconds < 0 ? STARTED_MS : durationSeconds * 1000);
}
