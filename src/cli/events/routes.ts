/** What the control socket answers about scheduled events. */
import { FabricError } from "../../model/errors.ts";
import type { ControlRoutes } from "../control/control-server.ts";
import { type EventControl, type NewEvent, NewEventSchema } from "./event-control.ts";

/** @param events - those of this fabric */
export function eventRoutes(events: EventControl): ControlRoutes {
  return (app) => {
    app.get("/v1/events", () => events.list());
    app.post("/v1/events", ({ body }) => events.add(readEvent(body)));
    app.delete<{ Params: { container: string }; Querystring: { id?: string } }>(
      "/v1/containers/:container/events",
      ({ params, query }) => events.clear(params.container, query.id),
    );
  };
}

function readEvent(body: unknown): NewEvent {
  const read = NewEventSchema.safeParse(body);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const place = issue === undefined ? "" : `${issue.path.join(".")}: ${issue.message}`;
  throw new FabricError("ERR_USAGE_EVENT", `The event is wrong: ${place}`);
}
