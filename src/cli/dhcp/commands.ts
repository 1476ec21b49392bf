/** `goalstate dhcp ...`: commands that look inside the DHCP server. */
import { type Command, InvalidArgumentError } from "commander";
import { formatMac, parseMac } from "../../model/mac-address.ts";
import { askControl } from "../control/control-client.ts";
import { chooseFabricFolder } from "../control/running-fabrics.ts";
import { ExplanationSchema, renderExplanation } from "./explain.ts";

/** What the commands take from their surroundings. */
export interface DhcpCommandOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
}

interface LookArguments {
  readonly data?: string;
  readonly json?: boolean;
}

const DATA = [
  "--data <dir>",
  "data folder of the fabric (default: the only one that runs)",
] as const;
const JSON_OUTPUT = ["--json", "print JSON"] as const;

/** Adds the commands. */
export function addDhcpCommands(program: Command, options: DhcpCommandOptions): void {
  const dhcp = program.command("dhcp").description("look inside the DHCP server");
  dhcp
    .command("explain")
    .description("the last decisions about a client, with the reason for each answer and silence")
    .argument("<mac>", "the client's hardware address", readMacArgument)
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((mac: string, look: LookArguments) => explain(mac, look, options));
}

function readMacArgument(text: string): string {
  try {
    return formatMac(parseMac(text));
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

async function explain(
  mac: string,
  { data, json }: LookArguments,
  { environment, print }: DhcpCommandOptions,
): Promise<void> {
  const folder = await chooseFabricFolder(data, environment);
  const answer = await askControl(folder, `/v1/dhcp/explain/${mac}`);
  const explanation = ExplanationSchema.parse(JSON.parse(answer));
  if (json === true) print(JSON.stringify(explanation, undefined, 2));
  else for (const line of renderExplanation(explanation)) print(line);
}
