/** Runs a fabric as its user would: `up`, or its parts, and commands that ask it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { removeLeftovers } from "../../../src/compute/index.ts";
import { finish, GOALSTATE, type Running, run } from "../processes.ts";

export const EXAMPLES = join(import.meta.dirname, "../../../examples");
const POLL_MS = 200;

/** One row of `ps --json`. */
export interface Row {
  readonly container: string;
  readonly tenant: string;
  readonly role: string;
  readonly node: string;
  readonly state: string;
  readonly milestone: string;
  readonly mac: string;
  readonly address: string;
  readonly vnet: string;
  readonly health: string;
  readonly since: string;
  readonly detail: string;
  readonly extensions: readonly { readonly state: string; readonly pending: boolean }[];
}

/** What a command printed, and how it ended. */
export interface Outcome {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** A data folder, and whatever runs on it. Disposing ends all of it, and removes what it made, also after a failure. */
export interface Scene extends AsyncDisposable {
  readonly data: string;
  /** Runs a command against the fabric, and waits for its end. */
  ask(...args: string[]): Promise<Outcome>;
  /** As {@link Scene.ask}; anything but exit code 0 fails the test with what was printed. */
  tell(...args: string[]): Promise<string>;
  /** Starts a process of the fabric: `up`, `control` or `node`. */
  start(...args: string[]): Running;
  ps(): Promise<readonly Row[]>;
  /** The row of a container. */
  row(container: string): Promise<Row>;
  /** Polls `ps` until a row has what is wanted; fails with the rows after `seconds`. */
  until(
    what: string,
    seconds: number,
    isSo: (rows: readonly Row[]) => boolean | Promise<boolean>,
  ): Promise<void>;
  /** Writes a file into a folder of the scene; returns its path. */
  write(name: string, text: string): string;
}

/** Makes a {@link Scene}. */
export function openScene(label: string): Scene {
  const data = mkdtempSync(join(tmpdir(), `gst-${label}-`));
  const running: Running[] = [];
  const ask = (...args: string[]) => finish([GOALSTATE, ...args, "--data", data]);
  const tell = async (...args: string[]) => {
    const { code, stdout, stderr } = await ask(...args);
    if (code === 0) return stdout;
    throw new Error(`goalstate ${args.join(" ")} ended with ${code}: ${stdout}${stderr}`);
  };
  const ps = async () => JSON.parse(await tell("ps", "--json")) as Row[];
  return {
    ...{ data, ask, tell, ps },
    start: (...args) => {
      const process = run([GOALSTATE, ...args, "--data", data]);
      running.push(process);
      return process;
    },
    row: async (container) => {
      const rows = await ps();
      const found = rows.find((row) => row.container === container);
      if (found === undefined) throw new Error(`${container} is not in ${text(rows)}`);
      return found;
    },
    until: async (what, seconds, isSo) => {
      const deadlineMs = performance.now() + seconds * 1000;
      for (;;) {
        const rows = await ps();
        if (await isSo(rows)) return;
        if (performance.now() > deadlineMs) {
          throw new Error(`not within ${seconds} s: ${what}\n${text(rows)}\n${nodeLogs(data)}`);
        }
        await delay(POLL_MS);
      }
    },
    write: (name, content) => {
      const path = join(data, name);
      writeFileSync(path, content);
      return path;
    },
    [Symbol.asyncDispose]: async () => {
      // Nodes first, for `up` would wait for those that do not end.
      await Promise.all(running.reverse().map((process) => process[Symbol.asyncDispose]()));
      await removeLeftovers(prefixOf(data));
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** What everything on this machine that belongs to the fabric begins with. */
export function prefixOf(data: string): string {
  return `gs-${readFileSync(join(data, "fabric-id"), "utf8").trim()}-`;
}

function text(rows: readonly Row[]): string {
  return rows
    .map(({ container, state, node, detail }) => `${container} ${state} ${node}: ${detail}`)
    .join("\n");
}

function nodeLogs(data: string): string {
  const names = ["node-1", "node-2", "node-3"];
  return names
    .map((name) => {
      try {
        return readFileSync(join(data, "nodes", name, "node.log"), "utf8").slice(-2000);
      } catch {
        return ""; // no such node
      }
    })
    .join("");
}

/** A tenant of `hello` apps, as YAML. */
export function tenantFile(options: {
  readonly tenant: string;
  readonly roles: Readonly<Record<string, number>>;
  readonly memoryMib?: number;
  readonly more?: string;
  readonly addressSpace?: string;
}): string {
  const { tenant, roles, memoryMib = 128, more = "", addressSpace = "10.20.0.0/24" } = options;
  const app = join(EXAMPLES, "hello/app");
  const lines = Object.entries(roles).map(
    ([name, instances]) =>
      `  - { name: ${name}, instances: ${instances}, app: ${app}, size: { cpus: 1, memoryMib: ${memoryMib} }, endpoints: [{ name: http, protocol: http, port: 8080 }] }`,
  );
  return [
    `tenant: ${tenant}`,
    `vnet: { name: net, addressSpace: ${addressSpace} }`,
    ...(more === "" ? [] : [more]),
    "roles:",
    ...lines,
    "",
  ].join("\n");
}
