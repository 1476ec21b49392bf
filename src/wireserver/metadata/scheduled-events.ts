/** `/metadata/scheduledevents`: the document, and what guests approve. */

import { z } from "zod";
import { FIRST_INCARNATION } from "../../model/scheduled-event.ts";
import { refuse } from "../refusal.ts";
import type { WireEvent, WireEventList } from "../wire-host.ts";
import type { MetadataValue } from "./metadata-tree.ts";

/** Of one approval; a deployment has no more events. */
const START_REQUESTS_MAX = 100;

/** What is shown where nothing is ever scheduled. */
export const NO_EVENTS: WireEventList = { incarnation: FIRST_INCARNATION, events: [] };

/** @param asked - the version that was asked for; fields appear with theirs */
export function scheduledEventsOf(
  { incarnation, events }: WireEventList,
  asked: string,
): { readonly DocumentIncarnation: number; readonly Events: readonly unknown[] } {
  return { DocumentIncarnation: incarnation, Events: events.map((event) => render(event, asked)) };
}

function render(event: WireEvent, asked: string): Record<string, MetadataValue | number> {
  // The first version, a preview, wrote names as the wire server does.
  const mark = asked < "2017-08-01" ? "_" : "";
  const isStarted = event.status === "Started";
  return {
    EventId: event.id,
    EventStatus: event.status,
    EventType: event.type,
    ResourceType: "VirtualMachine",
    Resources: event.resources.map((name) => mark + name),
    NotBefore: isStarted ? "" : new Date(event.notBeforeMs).toUTCString(),
    ...(asked >= "2019-04-01" && { Description: event.description }),
    ...(asked >= "2019-08-01" && { EventSource: event.source }),
    ...(asked >= "2020-07-01" && { DurationInSeconds: event.durationSeconds }),
  };
}

const StartSchema = z.object({
  StartRequests: z
    .array(z.object({ EventId: z.string().min(1).max(64) }))
    .min(1)
    .max(START_REQUESTS_MAX),
});

/**
 * The ids of the events that a guest approves.
 *
 * @param body - text, as it was sent
 * @throws FabricError ERR_WIRE_REQUEST_MALFORMED
 */
export function parseStartRequests(body: unknown): readonly string[] {
  const read = StartSchema.safeParse(parseJson(body));
  if (read.success) return read.data.StartRequests.map(({ EventId }) => EventId);
  throw refuse(
    "ERR_WIRE_REQUEST_MALFORMED",
    'Bad request. An approval is {"StartRequests":[{"EventId":"..."}]}',
  );
}

function parseJson(body: unknown): unknown {
  try {
    return JSON.parse(String(body));
  } catch {
    return undefined;
  }
}
