/** Scheduled events on a node: what the guests of a VNET are shown, and what they approve. */
import { asDocument, keys } from "../../model/documents.ts";
import {
  type EventApproval,
  type EventRecord,
  FIRST_INCARNATION,
} from "../../model/scheduled-event.ts";
import { type FabricStore, follow } from "../../store/index.ts";
import type { WireEventList, WireEvents } from "../../wireserver/index.ts";

/** What {@link startVnetEvents} needs. */
export interface VnetEventsOptions {
  readonly store: FabricStore;
  /** A VNET belongs to one. */
  readonly tenant: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly onError: (error: unknown) => void;
}

/** Follows the events of a VNET's tenant. Disposing it ends that. */
export function startVnetEvents(options: VnetEventsOptions): WireEvents & AsyncDisposable {
  const { store, tenant, now, onError } = options;
  const stop = new AbortController();
  let record: EventRecord | undefined;
  const onRecord = (key: string, value: unknown): void => {
    if (key !== keys.eventsOf(tenant)) return; // a tenant whose name begins with this one's
    record = value === undefined ? undefined : asDocument<EventRecord>(value);
  };
  const following = follow(store, keys.eventsOf(tenant), onRecord, stop.signal);
  const ended = following.ended.catch(onError);
  return {
    list: async () => {
      await following.caughtUp;
      return listOf(record);
    },
    approve: async (container, ids) => {
      await following.caughtUp;
      const open = new Map((record?.events ?? []).map((event) => [event.id, event]));
      if (!ids.every((id) => open.has(id))) return false;
      const scheduled = ids.filter((id) => open.get(id)?.startedMs === undefined);
      for (const id of new Set(scheduled)) {
        const value: EventApproval = { container, approvedMs: now() };
        const key = keys.approval(tenant, id);
        // The first counts; one that was there already is as good.
        await store.txn({ compare: [{ key, modRev: 0 }], success: [{ kind: "put", key, value }] });
      }
      return true;
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
    },
  };
}

function listOf(record: EventRecord | undefined): WireEventList {
  if (record === undefined) return { incarnation: FIRST_INCARNATION, events: [] };
  const { incarnation, events } = record;
  return {
    incarnation,
    events: events.map((event) => ({
      ...{ id: event.id, type: event.type, source: event.source, resources: [event.instance] },
      status: event.startedMs === undefined ? "Scheduled" : "Started",
      ...{ notBeforeMs: event.notBeforeMs, durationSeconds: event.durationSeconds },
      description: event.description,
    })),
  };
}
