/**
 * The command line: reads arguments, wires, and turns errors into one line and an exit code (1 failed, 2 wrong usage).
 * Commands are loaded when they are run, for one that only asks a running fabric needs little.
 */
import { join } from "node:path";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { type Logger, pino } from "pino";
import packageJson from "../../package.json" with { type: "json" };
import { errorText, FabricError } from "../model/errors.ts";
import { addAuthorityCommand } from "./authority-command.ts";
import { defaultCacheFolder, defaultDataFolder } from "./data-folder.ts";
import { addDhcpCommands } from "./dhcp/commands.ts";
import { addEventCommands } from "./events/commands.ts";
import { addFabricCommands } from "./fabric/commands.ts";
import { addFaultCommands } from "./faults/commands.ts";
import type { HypervisorChoice } from "./hypervisor-choice.ts";
import { type MetricsAddress, parseMetricsAddress } from "./metrics/metrics-address.ts";
import { parseSeconds } from "./parse-seconds.ts";
import { addRelayCommand } from "./relay-command.ts";
import { addTenantCommands } from "./tenants/commands.ts";
import { addUserCommands } from "./users/commands.ts";
import { addRequestsCommand } from "./wire-trace/commands.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const DEMO_TIMEOUT_SECONDS = 180;
/** 128 MiB of memory for each interface. */
const RING_FRAMES_MAX = 65_536;
const HELLO = join(import.meta.dirname, "../../examples/hello/tenant.yaml");

interface DemoArguments {
  readonly data?: string;
  readonly hypervisor: HypervisorChoice;
  readonly exitWhenReady?: boolean;
  readonly timeout: number;
  readonly logLevel: string;
}

interface ServeArguments {
  readonly interface: readonly string[];
  readonly ringFrames?: number;
  readonly inventory: string;
  readonly metrics?: MetricsAddress;
  readonly data?: string;
  readonly logLevel: string;
}

const logLevel = () =>
  new Option("--log-level <level>", "what to log on standard error, as JSON lines")
    .choices(["debug", "info", "warn", "error", "silent"])
    .default("warn");

function createProgram(signal: AbortSignal): Command {
  const program = new Command("goalstate")
    .description(
      "Boots VMs on QEMU/KVM the way Azure's fabric does, and shows which step each has reached.",
    )
    .version(packageJson.version, "-V, --version", "print the version")
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(usageLine(text)),
    })
    .configureHelp({ showGlobalOptions: true });
  program
    .command("demo")
    .description("bring up a fabric in its own namespaces, deploy tenants, show their boot live")
    .argument("[file...]", "tenant files (default: examples/hello/tenant.yaml)")
    .option("--data <dir>", "data folder")
    .addOption(
      new Option("--hypervisor <kind>", "what runs the guests")
        .choices(["qemu", "netns", "auto"])
        .default("auto"),
    )
    .option("--exit-when-ready", "tear everything down and exit 0 once all is Ready and answers")
    .option(
      "--timeout <seconds>",
      "how long it may take until all is Ready",
      parseSeconds,
      DEMO_TIMEOUT_SECONDS,
    )
    .addOption(logLevel())
    .action((files: string[], options: DemoArguments) => demo(files, options, signal));
  program
    .command("serve")
    .description("answer DHCP and serve the wire server on interfaces or bridges of this machine")
    .requiredOption(
      "--interface <name>",
      "interface or bridge to answer on, or a pattern ('tap*'); may be repeated",
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .requiredOption("--inventory <file>", "who gets which address (YAML)")
    .option("--data <dir>", "data folder")
    .option(
      "--ring-frames <count>",
      "give each interface a ring of so many frames (default: 4096 if it is named, none if a pattern chose it)",
      parseRingFrames,
    )
    .option("--metrics <address:port>", "serve Prometheus metrics there, too", readMetricsAddress)
    .addOption(logLevel().default("info"))
    .action((options: ServeArguments) => serve(options, signal));
  addFabricCommands(program, { ...surroundings(signal), logLevel, createLog });
  addTenantCommands(program, { ...surroundings(signal), warn });
  addAuthorityCommand(program, { environment: process.env, print });
  addEventCommands(program, { environment: process.env, print });
  addRequestsCommand(program, { ...surroundings(signal), warn });
  addFaultCommands(program, { environment: process.env, print });
  addUserCommands(program, {
    environment: process.env,
    print,
    input: process.stdin,
    now: Date.now,
  });
  addDhcpCommands(program, { environment: process.env, print, warn });
  addRelayCommand(program, { logLevel, createLog, print, signal });
  return program;
}

function surroundings(signal: AbortSignal) {
  return { environment: process.env, print, signal };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function warn(line: string): void {
  process.stderr.write(`goalstate: ${line}\n`);
}

/** commander's error as one line of ours; its suggestion would be a second one. */
function usageLine(text: string): string {
  const line = text.trim().replaceAll(/\s*\n\s*/g, " ");
  return `${line.replace(/^error: /, "goalstate: ")}\n`;
}

function readMetricsAddress(text: string): MetricsAddress {
  try {
    return parseMetricsAddress(text);
  } catch (error) {
    throw new InvalidArgumentError(errorText(error));
  }
}

function parseRingFrames(text: string): number {
  const frames = Number(text);
  if (Number.isInteger(frames) && frames >= 32 && frames <= RING_FRAMES_MAX) return frames;
  throw new InvalidArgumentError(`It must be a whole number from 32 to ${RING_FRAMES_MAX}.`);
}

async function demo(files: string[], options: DemoArguments, signal: AbortSignal): Promise<void> {
  const { runDemo } = await import("./demo.ts");
  await runDemo({
    files: files.length > 0 ? files : [HELLO],
    data: options.data ?? defaultDataFolder("demo", process.env),
    hypervisor: options.hypervisor,
    exitWhenReady: options.exitWhenReady === true,
    timeoutSeconds: options.timeout,
    searchPath: process.env["PATH"] ?? "",
    cacheFolder: defaultCacheFolder(process.env),
    environment: process.env,
    print,
    log: createLog(options.logLevel),
    signal,
  });
}

async function serve(options: ServeArguments, signal: AbortSignal): Promise<void> {
  const { runServe } = await import("./serve.ts");
  await runServe({
    interfaces: options.interface,
    inventoryPath: options.inventory,
    data: options.data ?? defaultDataFolder(serveFolderName(options.interface), process.env),
    ...(options.ringFrames !== undefined && { ringFrames: options.ringFrames }),
    ...(options.metrics !== undefined && { metrics: options.metrics }),
    print,
    log: createLog(options.logLevel),
    onHangup,
    signal,
  });
}

/** A pattern's characters mean something to shells: they are left out of the folder's name. */
function serveFolderName(interfaces: readonly string[]): string {
  return `serve-${interfaces.join("+").replaceAll(/[^\w.+-]/g, "_")}`;
}

function createLog(level: string): Logger {
  return pino({ level, base: null }, pino.destination({ dest: 2, sync: true }));
}

/** What SIGHUP does instead of ending the process. */
let reload: (() => void) | undefined;

function onHangup(callback: () => void): Disposable {
  reload = callback;
  return {
    [Symbol.dispose]: () => {
      reload = undefined;
    },
  };
}

/** One abort ends everything; a second Ctrl-C is not needed and changes nothing. */
function abortOnSignals(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort());
  process.on("SIGHUP", () => (reload === undefined ? stop.abort() : reload()));
  // Nobody reads what we say (a closed pipe): stop as after Ctrl-C, so that nothing is left behind.
  process.stdout.on("error", () => stop.abort());
  return stop.signal;
}

/** One line, but for a file with several wrong places: those are one a line, as editors read them. */
function messageOf(error: unknown): string {
  const isList = error instanceof FabricError && error.isUsage && error.cause === undefined;
  return isList ? error.message : errorText(error);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof FabricError) return error.isUsage ? EXIT_USAGE : EXIT_FAILED;
  return EXIT_FAILED;
}

try {
  await createProgram(abortOnSignals()).parseAsync();
} catch (error) {
  // commander has printed its own already
  if (!(error instanceof CommanderError)) process.stderr.write(`goalstate: ${messageOf(error)}\n`);
  process.exitCode = exitCodeOf(error);
}
