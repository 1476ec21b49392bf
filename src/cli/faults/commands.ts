/** `goalstate fault ...`: answers to a container's guest that are wrong on purpose. */
import type { Command } from "commander";
import { z } from "zod";
import { FabricError } from "../../model/errors.ts";
import { ask, DATA, JSON_OUTPUT, type Look, type LookSurroundings, show } from "../look.ts";
import { renderTable } from "../table.ts";
import { FaultsSchema, type FaultsView, FaultViewSchema } from "./fault-control.ts";

/** Adds the commands. */
export function addFaultCommands(program: Command, options: LookSurroundings): void {
  const fault = program
    .command("fault")
    .description("answer a container's guest wrongly on purpose: playbooks after real incidents");
  fault
    .command("set")
    .description("begin a playbook, in place of one that is on")
    .argument("<container>", "as ps shows it, for example hello.web_0")
    .argument("<playbook>", "a name, as fault list shows it, or a file (YAML)")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((container: string, name: string, look: Look) => set(container, name, look, options));
  fault
    .command("clear")
    .description("answer rightly again")
    .argument("<container>", "as ps shows it, for example hello.web_0")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((container: string, look: Look) => clear(container, look, options));
  fault
    .command("list")
    .description("what is on, and the playbooks that are shipped")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((look: Look) => list(look, options));
  fault
    .command("show")
    .description("print a playbook, for example as the start of your own")
    .argument("<playbook>", "a name, as fault list shows it, or a file")
    .action((name: string) => showPlaybook(name, options));
}

async function set(
  container: string,
  name: string,
  look: Look,
  options: LookSurroundings,
): Promise<void> {
  const { readPlaybook } = await import("./playbooks.ts");
  const playbook = readPlaybook(name);
  const request = { method: "POST", path: pathOf(container), body: { playbook } } as const;
  const view = await ask(request, FaultViewSchema, look, options);
  const clients = playbook.clients === "" ? [] : [`clients: ${playbook.clients}`];
  show(look, options, view, [`${container}: fault ${view.playbook} is on`, ...clients]);
}

async function clear(container: string, look: Look, options: LookSurroundings): Promise<void> {
  const request = { method: "DELETE", path: pathOf(container) } as const;
  const answer = await ask(request, z.object({ cleared: z.boolean() }), look, options);
  const text = answer.cleared ? "is answered rightly again" : "has no fault";
  show(look, options, answer, [`${container}: ${text}`]);
}

function pathOf(container: string): string {
  return `/v1/containers/${encodeURIComponent(container)}/fault`;
}

/** What is shipped can be read without a fabric. */
async function list(look: Look, options: LookSurroundings): Promise<void> {
  let faults: FaultsView;
  let isRunning = true;
  try {
    faults = await ask("/v1/faults", FaultsSchema, look, options);
  } catch (error) {
    const isNobody = error instanceof FabricError && error.code === "ERR_CONTROL_NOT_RUNNING";
    if (!isNobody || look.data !== undefined) throw error;
    isRunning = false;
    const { listPlaybooks } = await import("./playbooks.ts");
    faults = { on: [], playbooks: listPlaybooks() };
  }
  const playbooks = faults.playbooks.map(({ name, story, clients }) => ({ name, story, clients }));
  show(look, options, { ...faults, playbooks }, renderFaults(faults, isRunning));
}

function renderFaults({ on, playbooks }: FaultsView, isRunning: boolean): string[] {
  const onRows = on.map(({ container, playbook, since }) => [container, playbook, since]);
  const nothing = isRunning ? "No fault is on." : "No fabric runs, so no fault is on.";
  return [
    ...(on.length === 0 ? [nothing] : renderTable([["CONTAINER", "FAULT", "SINCE"], ...onRows])),
    "",
    ...renderTable([["PLAYBOOK", "STORY"], ...playbooks.map(({ name, story }) => [name, story])]),
  ];
}

async function showPlaybook(name: string, { print }: LookSurroundings): Promise<void> {
  const { readPlaybookText } = await import("./playbooks.ts");
  print(readPlaybookText(name).trimEnd());
}
