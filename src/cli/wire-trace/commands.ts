/** `goalstate requests`: what a container's guest asked the platform, and what it was answered. */
import type { Command } from "commander";
import { DATA, JSON_OUTPUT } from "../look.ts";
import { parseDuration } from "../parse-duration.ts";
import type { RequestsArguments, RequestsCommandOptions } from "./show-requests.ts";

/** Adds the command. */
export function addRequestsCommand(program: Command, options: RequestsCommandOptions): void {
  program
    .command("requests")
    .description("what a container's guest asked the platform, with every answer")
    .argument("<container>", "as ps shows it, for example hello.web_0")
    .option(...DATA)
    .option("--since <duration>", "only the last, for example 10m", parseDuration)
    .option(...JSON_OUTPUT)
    .option("--har", "print an HTTP Archive (HAR 1.2)")
    .option("-o, --output <file>", "write to a file")
    .option("--follow", "go on with what comes, until Ctrl-C")
    .action(async (container: string, args: RequestsArguments) => {
      const { showRequests } = await import("./show-requests.ts");
      await showRequests(container, args, options);
    });
}
