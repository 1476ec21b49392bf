/** `goalstate extensions`: what became of each VM extension of a container. */
import type { Command } from "commander";
import { FabricError } from "../../model/errors.ts";
import { ask, DATA, JSON_OUTPUT, type Look, type LookSurroundings, show } from "../look.ts";
import { renderTable } from "../table.ts";
import { ContainerViewsSchema, type ExtensionView } from "./fabric-control.ts";

const HEADING = ["NAME", "VERSION", "WANTED", "HANDLER", "STATUS", "CODE", "PENDING", "MESSAGE"];

/** Adds the command. */
export function addExtensionCommand(program: Command, options: LookSurroundings): void {
  program
    .command("extensions")
    .description("the VM extensions of a container, and what its agent says of each")
    .argument("<container>", "as ps shows it, for example hello.web_0")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action(async (name: string, look: Look) => {
      const views = await ask("/v1/containers", ContainerViewsSchema, look, options);
      const view = views.find(({ container }) => container === name);
      if (view === undefined) {
        const message = `There is no container ${name}; goalstate ps lists them`;
        throw new FabricError("ERR_USAGE_CONTAINER_UNKNOWN", message);
      }
      show(look, options, view.extensions, renderExtensions(view.extensions));
    });
}

function renderExtensions(views: readonly ExtensionView[]): string[] {
  const rows = views.map((view) => [
    ...[view.name, view.version, view.state, view.handler || "-", view.status || "-"],
    ...[view.code === null ? "-" : String(view.code), view.pending ? "yes" : "no", view.message],
  ]);
  return renderTable([HEADING, ...rows]);
}

/** For a line of `ps`: what is wrong comes first; empty if it has none. */
export function extensionNote(views: readonly ExtensionView[]): string {
  if (views.length === 0) return "";
  const failed = views.filter(
    ({ status, pending }) => !pending && status.toLowerCase() === "error",
  );
  if (failed.length > 0) return `extension ${failed.map(({ name }) => name).join(", ")} failed`;
  const pending = views.filter((view) => view.pending);
  if (pending.length > 0) return `extension ${pending.map(({ name }) => name).join(", ")} pending`;
  return views.length === 1 ? "its extension is done" : `its ${views.length} extensions are done`;
}
