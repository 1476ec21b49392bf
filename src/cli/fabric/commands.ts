/** `goalstate up`, `control` and `node`: what a fabric runs as. */
import { join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Logger } from "pino";
import { defaultCacheFolder, defaultDataFolder } from "../data-folder.ts";
import type { HypervisorChoice } from "../hypervisor-choice.ts";

const PROGRAM = join(import.meta.dirname, "../../../bin/goalstate");
/** What `up` names nodes by default: their number is bounded by the underlay's addresses and the machine. */
const NODES_MAX = 64;

/** What the commands take from their surroundings. */
export interface FabricCommandOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
  readonly signal: AbortSignal;
  readonly logLevel: () => Option;
  readonly createLog: (level: string) => Logger;
}

interface UpArguments {
  readonly data?: string;
  readonly config?: string;
  readonly nodes?: number;
  readonly hypervisor?: HypervisorChoice;
  readonly keepRunning?: boolean;
  readonly expose?: boolean;
  readonly logLevel: string;
}

interface ControlArguments {
  readonly data?: string;
  readonly config?: string;
  readonly logLevel: string;
}

interface NodeArguments {
  readonly data?: string;
  readonly address: string;
  readonly faultDomain?: string;
  readonly cpus: number;
  readonly memoryMib: number;
  readonly ttl: number;
  readonly hypervisor: HypervisorChoice;
  readonly logLevel: string;
}

/** Adds the commands. */
export function addFabricCommands(program: Command, options: FabricCommandOptions): void {
  const { logLevel } = options;
  const hypervisor = () =>
    new Option("--hypervisor <kind>", "what runs the guests").choices(["qemu", "netns", "auto"]);
  program
    .command("up")
    .description("run a fabric on this machine: managers, and a process for each node")
    .option("--config <file>", "nodes, capacity and address pools (YAML)")
    .option("--data <dir>", "data folder")
    .option("--nodes <count>", "so many nodes, each as a host of its own (default: 1)", readNodes)
    .addOption(hypervisor())
    .option("--keep-running", "leave the VMs running at the end; the next start adopts them")
    .option("--expose", "let this machine reach public addresses: adds one interface and one route")
    .addOption(logLevel())
    .action((up: UpArguments) => runUp(up, options));
  program
    .command("control")
    .description("run the managers of a fabric alone; nodes are started with 'goalstate node'")
    .option("--config <file>", "address pools (YAML)")
    .option("--data <dir>", "data folder")
    .addOption(logLevel())
    .action((control: ControlArguments) => runControl(control, options));
  program
    .command("node")
    .description("run one node of a fabric whose data folder is on this machine")
    .argument("<name>", "the node's name")
    .option("--data <dir>", "data folder of the fabric")
    .requiredOption(
      "--address <address>",
      "its address on the network between the nodes, with the size of that if it is not a /24",
    )
    .option("--fault-domain <name>", "what fails together with it (default: the node alone)")
    .option("--cpus <count>", "processors that containers may take", readCount, 8)
    .option("--memory-mib <count>", "memory that containers may take", readCount, 4096)
    .option("--ttl <seconds>", "how long it may be silent until it is given up", readCount, 10)
    .addOption(hypervisor().default("auto"))
    .addOption(logLevel())
    .action((name: string, node: NodeArguments) => runNode(name, node, options));
}

function readCount(text: string): number {
  const count = Number(text);
  if (!(count > 0)) throw new InvalidArgumentError("It must be a number above 0.");
  return count;
}

function readNodes(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= NODES_MAX) return count;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${NODES_MAX}.`);
}

async function runUp(up: UpArguments, options: FabricCommandOptions): Promise<void> {
  const { runUp: run } = await import("./up.ts");
  const { environment, print, signal, createLog } = options;
  await run({
    ...{ environment, print, signal },
    data: up.data ?? defaultDataFolder("up", environment),
    ...(up.config !== undefined && { config: up.config }),
    ...(up.nodes !== undefined && { nodes: up.nodes }),
    ...(up.hypervisor !== undefined && { hypervisor: up.hypervisor }),
    keepRunning: up.keepRunning === true,
    expose: up.expose === true,
    program: PROGRAM,
    logLevel: up.logLevel,
    log: createLog(up.logLevel),
  });
}

async function runControl(
  control: ControlArguments,
  { environment, print, signal, createLog }: FabricCommandOptions,
): Promise<void> {
  const { runControl: run } = await import("./control-process.ts");
  const { openDataFolder } = await import("../data-folder.ts");
  const { readUpConfig } = await import("./up-config.ts");
  const config = readUpConfig(control.config, undefined);
  await using data = await openDataFolder(control.data ?? defaultDataFolder("up", environment));
  const log = createLog(control.logLevel);
  await run({ data, config, command: "control", log, signal }, async () => print("ready"));
}

async function runNode(
  name: string,
  node: NodeArguments,
  options: FabricCommandOptions,
): Promise<void> {
  const { runNode: run } = await import("./node-process.ts");
  const { environment, print, signal, createLog } = options;
  await run({
    ...{ environment, print, signal, node: name },
    data: node.data ?? defaultDataFolder("up", environment),
    address: node.address,
    faultDomain: node.faultDomain ?? name,
    cpus: node.cpus,
    memoryMib: node.memoryMib,
    ttlSeconds: node.ttl,
    hypervisor: node.hypervisor,
    searchPath: environment["PATH"] ?? "",
    cacheFolder: defaultCacheFolder(environment),
    log: createLog(node.logLevel),
  });
}
