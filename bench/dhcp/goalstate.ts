/** Our server, as a user starts it. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { type Network, ROOT, SERVER_INTERFACE, type Server, startServer } from "./processes.ts";

export const ADDRESS_BASE = "10.64.1.0";
/** Where it answers relayed requests. */
export const WIRE_SERVER_ADDRESS = "168.63.129.16";

const NETWORK =
  "network: { subnet: 10.64.0.0/12, gateway: 10.64.0.1, dns: [10.64.0.1], leaseSeconds: 86400 }\n";

/** An inventory of 50,000 NICs in one range. */
export const RANGE_INVENTORY = `${NETWORK}ranges: [{ mac: "00:0c:01:00:00:00", address: ${ADDRESS_BASE}, count: 50000 }]\n`;

/** @param gcFile - where pauses for garbage are noted; without it, nothing watches */
export async function startGoalstate(
  network: Network,
  folder: string,
  inventory: string,
  gcFile?: string,
): Promise<Server> {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "inventory.yaml");
  writeFileSync(path, inventory);
  const log = join(folder, "serve.log");
  const served = ["--interface", SERVER_INTERFACE, "--inventory", path];
  const data = ["--data", join(folder, "data")];
  const command = [join(ROOT, "bin/goalstate"), "serve", ...served, ...data];
  const isReady = () => readFileSync(log, "utf8").includes("ready\n");
  const watch = `--import=${join(import.meta.dirname, "watch-gc.mjs")}`;
  const env = gcFile === undefined ? {} : { NODE_OPTIONS: watch, BENCH_GC_FILE: gcFile };
  const server = await startServer(network.host, command, log, isReady, env);
  if (gcFile !== undefined) writeFileSync(gcFile, ""); // what was collected while it loaded is no pause in serving
  return server;
}

/** Longest pause for garbage since the server was ready, in milliseconds. */
export function longestPauseMs(gcFile: string): number {
  return Math.max(0, ...readFileSync(gcFile, "utf8").split("\n").map(Number));
}

/** Writes a file of individually named bindings; returns its path. */
export async function writeBindings(folder: string, count: number): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "bindings.csv");
  const file = await open(path, "w");
  try {
    const base = 0x0a_40_01_00;
    for (let first = 0; first < count; first += 10_000) {
      const lines: string[] = [];
      for (let index = first; index < Math.min(first + 10_000, count); index++) {
        const octets = [index >> 16, (index >> 8) & 255, index & 255];
        const mac = octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
        const value = base + index;
        const address = [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
        lines.push(`00:0c:01:${mac},${address},web-${index},host-${index}\n`);
      }
      await file.write(lines.join(""));
    }
  } finally {
    await file.close();
  }
  return path;
}

/** An inventory of the bindings in a file. */
export function bindingsInventory(path: string): string {
  return `${NETWORK}bindings: ${path}\n`;
}
