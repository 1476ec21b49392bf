/** What a failure needs to explain itself where nobody can look at the machine any more: in what a CI run printed. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { FabricStore } from "../../src/store/index.ts";

const execute = promisify(execFile);
const COMMAND_MS = 5_000;
const ERRORS_MAX = 6;
const LINES_MAX = 16;
const CHARACTERS_MAX = 300;
/** Of which nothing depends: multicast, and links' own addresses. */
const DULL = /^(?:33:33|01:00:5e|.* permanent$)/;
const TENANT = /\bt\d+\b/g;

export interface DiagnosisOptions {
  /** The fabric's; empty: it did not start. */
  readonly prefix: string;
  readonly store: FabricStore;
  readonly nodes: readonly string[];
  /** Folder of the processes' logs. */
  readonly logs: string;
  /** VNETs of the tenants that they name are shown. */
  readonly faults: readonly string[];
}

/** Goals beside what each node has, and what the processes complained of. Never fails: what cannot be read says why. */
export async function diagnose(options: DiagnosisOptions): Promise<string[]> {
  const { prefix, nodes, logs, faults } = options;
  if (prefix === "") return describeLogs(logs);
  const tenants = new Set(faults.flatMap((fault) => fault.match(TENANT) ?? []));
  const names = readdirSync("/run/netns").filter((name) => name.startsWith(prefix));
  const isShown = (name: string) => [...tenants].some((tenant) => name.endsWith(`-${tenant}.net`));
  const [stored, ...shown] = await Promise.all([
    describeStore(options, tenants),
    ...nodes.map((node) => describeNode(`${prefix}${node}`)),
    ...names.filter(isShown).map(describeVnet),
  ]);
  const sockets = readText("/proc/net/sockstat").match(/^TCP:.*$/m) ?? [];
  return [
    `it is ${new Date().toISOString().slice(11, 23)}; namespaces: ${names.map((name) => name.slice(prefix.length)).join(" ")}`,
    `this machine's ${sockets.join("")}`,
    ...describeLogs(logs),
    ...stored,
    ...shown.flat(),
  ];
}

async function describeStore(
  { store, nodes }: DiagnosisOptions,
  tenants: ReadonlySet<string>,
): Promise<string[]> {
  const prefixes = [
    "/nodes/",
    ...[...tenants].flatMap((tenant) => [`/vnets/${tenant}.`, `/containers/${tenant}.`]),
    ...nodes.map((node) => `/on/${node}/nics/`),
    "/vips/",
  ];
  try {
    const lists = await Promise.all(prefixes.map((prefix) => store.list(prefix)));
    const rows = lists.flatMap(({ kvs }) => kvs);
    return rows.map(({ key, value }) => cut(`${key} ${JSON.stringify(value)}`));
  } catch (error) {
    return [`store: ${(error as Error).message}`];
  }
}

async function describeNode(namespace: string): Promise<string[]> {
  return describe(namespace, [
    ["ip", "-n", namespace, "-br", "link", "show"],
    ["ip", "-n", namespace, "route", "show"],
    // One that has a number and no name was removed, and lives on: something in it is still open.
    ["ip", "-n", namespace, "netns", "list-id"],
    inside(namespace, "nft", "list", "set", "inet", "goalstate_fence", "live"),
  ]);
}

async function describeVnet(namespace: string): Promise<string[]> {
  return describe(namespace, [
    ["ip", "-n", namespace, "-br", "link", "show"],
    ["ip", "-n", namespace, "-o", "-d", "link", "show", "type", "vxlan"],
    ["bridge", "-n", namespace, "fdb", "show"],
    ["ip", "-n", namespace, "neigh", "show"],
    inside(namespace, "nft", "list", "set", "bridge", "goalstate_overlay", "peers"),
    inside(namespace, "nft", "list", "chain", "bridge", "goalstate", "prerouting"),
    inside(namespace, "nft", "list", "counters"),
  ]);
}

function inside(namespace: string, ...command: readonly string[]): string[] {
  return ["ip", "netns", "exec", namespace, ...command];
}

async function describe(
  namespace: string,
  commands: readonly (readonly string[])[],
): Promise<string[]> {
  const texts = await Promise.all(commands.map(run));
  return commands.flatMap((command, index) => {
    const text = texts[index] ?? "";
    // nft's lists are long and narrow.
    const rows = command.includes("nft") ? [text.replaceAll(/\s+/g, " ")] : text.split("\n");
    const all = rows.map((row) => row.trim()).filter((row) => row !== "" && !DULL.test(row));
    const more = all.length > LINES_MAX ? [`... ${all.length} lines`] : [];
    const lines = [...all.slice(0, LINES_MAX), ...more].map((line) => cut(`    ${line}`));
    return [`${namespace}$ ${command.filter((word) => word !== namespace).join(" ")}`, ...lines];
  });
}

async function run([program = "", ...args]: readonly string[]): Promise<string> {
  try {
    return (await execute(program, args, { timeout: COMMAND_MS })).stdout;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The last different errors of each process, with their numbers. */
function describeLogs(folder: string): string[] {
  const files = readdirSync(folder).filter((name) => name.endsWith(".log"));
  return files.flatMap((name) => {
    const counts = new Map<string, { readonly times: number; readonly last: string }>();
    for (const line of readText(join(folder, name)).split("\n")) {
      const error = readError(line);
      if (error === undefined) continue;
      const times = (counts.get(error.text)?.times ?? 0) + 1;
      counts.delete(error.text); // the newest last
      counts.set(error.text, { times, last: error.at });
    }
    const last = [...counts].slice(-ERRORS_MAX);
    return last.map(([text, { times, last }]) => cut(`${name}: ${times} x, last ${last}: ${text}`));
  });
}

function readError(line: string): { readonly text: string; readonly at: string } | undefined {
  try {
    const { level, time, what, msg, err } = JSON.parse(line);
    if (!(level >= 50)) return undefined;
    const text = [msg, what, err?.message].filter((part) => part !== undefined).join(": ");
    return { text, at: new Date(time).toISOString().slice(11, 23) };
  } catch {
    return undefined; // what a process printed
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    return (error as Error).message;
  }
}

function cut(line: string): string {
  const flat = line.replaceAll("\n", " ");
  return flat.length > CHARACTERS_MAX ? `${flat.slice(0, CHARACTERS_MAX)}...` : flat;
}
