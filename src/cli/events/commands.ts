/** `goalstate event`: what guests are told that the platform is about to do to them. */
import { type Command, Option } from "commander";
import { EVENT_SOURCES, EVENT_TYPES } from "../../model/scheduled-event.ts";
import { ask, DATA, JSON_OUTPUT, type Look, type LookSurroundings, show } from "../look.ts";
import { parseDuration } from "../parse-duration.ts";
import { renderTable } from "../table.ts";
import {
  ClearedSchema,
  type EventView,
  EventViewSchema,
  EventViewsSchema,
} from "./event-control.ts";

interface AddArguments extends Look {
  readonly type: string;
  readonly notBefore?: number;
  readonly duration?: number;
  readonly source: string;
  readonly description: string;
  readonly act?: boolean;
}

/** Adds the commands. */
export function addEventCommands(program: Command, options: LookSurroundings): void {
  const event = program
    .command("event")
    .description("scheduled events: what guests are told that is about to be done to a VM");
  event
    .command("add")
    .description("schedule an event; all VMs of the deployment see it, and may approve it")
    .argument("<container>", "as ps shows it, for example hello.web_0")
    .addOption(
      new Option("--type <type>", "what is about to be done")
        .choices(EVENT_TYPES)
        .makeOptionMandatory(),
    )
    .option(
      "--not-before <time>",
      "it starts after this time, or when a guest approves (default: as in Azure)",
      parseDuration,
    )
    .option("--duration <time>", "how long it interrupts the VM (default: unknown)", parseDuration)
    .addOption(
      new Option("--source <source>", "who wants it").choices(EVENT_SOURCES).default("Platform"),
    )
    .option("--description <text>", "shown to guests", "")
    .option("--act", "do it when it starts: restart (Reboot, Redeploy) or stop the container")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((container: string, add: AddArguments) => addEvent(container, add, options));
  event
    .command("list")
    .description("the events that are scheduled or under way")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((look: Look) => listEvents(look, options));
  event
    .command("clear")
    .description("take the events of a container away, without doing what they say")
    .argument("<container>", "as ps shows it, for example hello.web_0")
    .argument("[id]", "only this event")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((container: string, id: string | undefined, look: Look) =>
      clearEvents(container, id, look, options),
    );
}

async function addEvent(
  container: string,
  add: AddArguments,
  options: LookSurroundings,
): Promise<void> {
  const { type, source, description, notBefore, duration } = add;
  const body = {
    ...{ container, type, source, description, isActedOn: add.act === true },
    ...(notBefore !== undefined && { noticeSeconds: notBefore }),
    ...(duration !== undefined && { durationSeconds: duration }),
  };
  const request = { method: "POST", path: "/v1/events", body } as const;
  const added = await ask(request, EventViewSchema, add, options);
  show(add, options, added, [
    `${added.id}: ${added.type} of ${added.container}, not before ${added.notBefore}`,
  ]);
}

async function listEvents(look: Look, options: LookSurroundings): Promise<void> {
  const events = await ask("/v1/events", EventViewsSchema, look, options);
  const rows = events.map((event: EventView) => [
    ...[event.container, event.type, event.status, event.notBefore, event.id],
    event.description === "" ? "-" : event.description,
  ]);
  const head = ["CONTAINER", "TYPE", "STATUS", "NOT BEFORE", "ID", "DESCRIPTION"];
  show(look, options, events, renderTable([head, ...rows]));
}

async function clearEvents(
  container: string,
  id: string | undefined,
  look: Look,
  options: LookSurroundings,
): Promise<void> {
  const query = id === undefined ? "" : `?id=${encodeURIComponent(id)}`;
  const path = `/v1/containers/${encodeURIComponent(container)}/events${query}`;
  const answer = await ask({ method: "DELETE", path }, ClearedSchema, look, options);
  show(look, options, answer, [`${answer.cleared} cleared`]);
}
