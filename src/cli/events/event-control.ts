/** What commands ask about scheduled events, and the documents that they get. */
import { z } from "zod";
import {
  EVENT_DESCRIPTION_CHARACTERS_MAX,
  EVENT_NOTICE_SECONDS,
  EVENT_SECONDS_MAX,
  EVENT_SOURCES,
  EVENT_TYPES,
} from "../../model/scheduled-event.ts";

/** What is sent to make an event. */
export const NewEventSchema = z
  .strictObject({
    container: z.string().min(1).max(256),
    type: z.enum(EVENT_TYPES),
    source: z.enum(EVENT_SOURCES).default("Platform"),
    /** Shown to guests. */
    description: z
      .string()
      .max(EVENT_DESCRIPTION_CHARACTERS_MAX)
      .regex(/^\P{Cc}*$/u, "has a control character")
      .default(""),
    /** Until it starts, if nobody approves. Absent: as Azure for its type. */
    noticeSeconds: z.number().min(0).max(EVENT_SECONDS_MAX).optional(),
    /** Of the interruption; -1: unknown. */
    durationSeconds: z.union([z.literal(-1), z.int().min(1).max(EVENT_SECONDS_MAX)]).default(-1),
    /** True: what it says is done when it starts. */
    isActedOn: z.boolean().default(false),
  })
  .transform(({ noticeSeconds, ...event }) => ({
    ...event,
    noticeSeconds: noticeSeconds ?? EVENT_NOTICE_SECONDS[event.type],
  }));

/** A valid {@link NewEventSchema}. */
export type NewEvent = z.output<typeof NewEventSchema>;

export const EventViewSchema = z.object({
  tenant: z.string(),
  id: z.string(),
  container: z.string(),
  type: z.enum(EVENT_TYPES),
  status: z.enum(["Scheduled", "Started"]),
  source: z.enum(EVENT_SOURCES),
  /** ISO 8601. */
  notBefore: z.string(),
  durationSeconds: z.number(),
  description: z.string(),
  isActedOn: z.boolean(),
});

/** An event, as `event list` shows it. */
export type EventView = z.infer<typeof EventViewSchema>;
export const EventViewsSchema = z.array(EventViewSchema);
export const ClearedSchema = z.object({ cleared: z.int() });

/** What the routes need. Promises resolve when it is durable. */
export interface EventControl {
  /** @throws FabricError ERR_USAGE_CONTAINER_UNKNOWN, ERR_USAGE_EVENT */
  add(event: NewEvent): Promise<EventView>;
  list(): Promise<readonly EventView[]>;
  /** Takes the container's events away, or the one of this id, without doing what they say. */
  clear(container: string, id?: string): Promise<{ readonly cleared: number }>;
  /** Of a tenant that is gone. */
  forgetTenant(tenant: string): Promise<void>;
}
