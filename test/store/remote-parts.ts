/** Processes and sockets for the tests of remote stores; all of them end with the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";
import {
  type FabricStore,
  type LocalStore,
  openMemoryStore,
  openRemoteStore,
  type RemoteStoreOptions,
  type ServeStoreOptions,
  type StoreServer,
  serveStore,
} from "../../src/store/index.ts";
import { temporaryFolder } from "../temporary-folder.ts";

/** A path as the stores want it. */
export const fixedPath = (path: string) => () => ({ path, [Symbol.dispose]: () => undefined });

/** A path for a socket, in a folder of its own. */
export function socketPath(): string {
  return join(temporaryFolder("store"), "store.sock");
}

/** A client that is closed when the test ends. */
export function openClient(
  path: string,
  options: Omit<RemoteStoreOptions, "openPath"> = {},
): FabricStore {
  const store = openRemoteStore({ ...options, openPath: fixedPath(path) });
  onTestFinished(() => store[Symbol.asyncDispose]());
  return store;
}

/** Serves a store in memory, or another, from this process until the test ends. */
export async function serveHere(
  options: Partial<ServeStoreOptions> & { readonly path?: string } = {},
): Promise<{ readonly path: string; readonly local: LocalStore; readonly server: StoreServer }> {
  const { path = socketPath(), store: local = openMemoryStore() } = options;
  const server = await serveStore({ openPath: fixedPath(path), ...options, store: local });
  onTestFinished(async () => {
    await server[Symbol.asyncDispose]();
    await local[Symbol.asyncDispose]();
  });
  return { path, local, server };
}

/** A child process and the lines that it prints. */
export interface Child {
  readonly process: ChildProcess;
  /** The next line. */
  line(): Promise<string>;
  /** Ends it as a power failure would, and waits for that. */
  kill(): Promise<void>;
}

function startChild(script: string, args: readonly string[]): Child {
  const path = join(import.meta.dirname, script);
  const child = spawn(process.execPath, [path, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
  };
  onTestFinished(kill);
  return {
    process: child,
    kill,
    line: async () => {
      const { done, value } = await lines.next();
      if (done === true) throw new Error(`${script} ended`);
      return value;
    },
  };
}

/** A process that serves the store in `file`, ready. */
export async function startServer(file: string, path: string): Promise<Child> {
  const child = startChild("remote-server-process.ts", [file, path]);
  await child.line();
  return child;
}

/** A process that holds a lease with a key. */
export async function startHolder(
  path: string,
  options: { readonly ttlMs: number; readonly key: string; readonly id?: string },
): Promise<Child & { readonly lease: string }> {
  const { ttlMs, key, id } = options;
  const args = [path, String(ttlMs), key, ...(id === undefined ? [] : [id])];
  const child = startChild("remote-client-process.ts", args);
  const [, lease] = (await child.line()).split(" ");
  return { ...child, lease: lease! };
}
