/** `goalstate dhcp ...`: commands that look inside the DHCP server. */
import type { Command } from "commander";
import { ask, DATA, JSON_OUTPUT, type Look, show } from "../look.ts";
import { readMacArgument } from "../mac-argument.ts";

/** What the commands take from their surroundings. */
export interface DhcpCommandOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
  /** Prints what is accepted but may surprise. */
  readonly warn: (line: string) => void;
}

/** Adds the commands. */
export function addDhcpCommands(program: Command, options: DhcpCommandOptions): void {
  const dhcp = program.command("dhcp").description("look inside the DHCP server");
  dhcp
    .command("explain")
    .description("the last decisions about a client, with the reason for each answer and silence")
    .argument("<mac>", "the client's hardware address", readMacArgument)
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((mac: string, look: Look) => explain(mac, look, options));
  dhcp
    .command("counters")
    .description("what the server received, answered and did not answer, by reason")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((look: Look) => counters(look, options));
  dhcp
    .command("replay")
    .description("feed a capture to the server that an inventory makes, and see what it answers")
    .argument("<file>", "what clients sent: pcap or pcapng")
    .requiredOption("--inventory <file>", "who gets which address (YAML)")
    .requiredOption("-o, --output <file>", "where the replies are written (pcap)")
    .option("--on-gateway", "as on an interface that has the gateway's address")
    .option(
      "--compare",
      "compare with the replies in the capture; exit 1 if type or address differ",
    )
    .option(...JSON_OUTPUT)
    .action((file: string, replay: ReplayArguments) => runReplay(file, replay, options));
}

interface ReplayArguments {
  readonly inventory: string;
  readonly output: string;
  readonly onGateway?: boolean;
  readonly compare?: boolean;
  readonly json?: boolean;
}

async function runReplay(
  file: string,
  replay: ReplayArguments,
  { print, warn }: DhcpCommandOptions,
): Promise<void> {
  const { replayFile } = await import("../replay/replay-file.ts");
  await replayFile({
    ...{ file, print, warn },
    inventory: replay.inventory,
    output: replay.output,
    isGateway: replay.onGateway === true,
    compare: replay.compare === true,
    json: replay.json === true,
  });
}

async function explain(mac: string, look: Look, options: DhcpCommandOptions): Promise<void> {
  const { ExplanationSchema, renderExplanation } = await import("./explain.ts");
  const explanation = await ask(`/v1/dhcp/explain/${mac}`, ExplanationSchema, look, options);
  show(look, options, explanation, renderExplanation(explanation));
}

async function counters(look: Look, options: DhcpCommandOptions): Promise<void> {
  const { CountersSchema, renderCounters } = await import("./counters-document.ts");
  const document = await ask("/v1/dhcp/counters", CountersSchema, look, options);
  show(look, options, document, renderCounters(document));
}
