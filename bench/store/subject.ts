/** The stores that are measured: one in this process, one of another process behind a socket. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSocketPath } from "../../src/net/socket-path.ts";
import { type FabricStore, openRemoteStore, openSqliteStore } from "../../src/store/index.ts";

/** A store in a folder that goes with it. */
export interface Subject extends AsyncDisposable {
  readonly file: string;
  readonly store: FabricStore;
  /** Another client of it; in this process, it is the store itself. */
  openClient(): FabricStore;
}

export type SubjectName = "embedded" | "socket";

export const SUBJECTS: Readonly<Record<SubjectName, () => Promise<Subject>>> = {
  embedded: openEmbedded,
  socket: openShared,
};

function openFolder(): { readonly folder: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "goalstate-bench-store-"));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

async function openEmbedded(): Promise<Subject> {
  await using opened = new AsyncDisposableStack();
  const { folder } = opened.use(openFolder());
  const file = join(folder, "fabric.sqlite");
  const store = opened.use(openSqliteStore({ path: file }));
  const kept = opened.move();
  return {
    ...{ file, store },
    openClient: () => store,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function openShared(): Promise<Subject> {
  await using opened = new AsyncDisposableStack();
  const { folder } = opened.use(openFolder());
  const file = join(folder, "fabric.sqlite");
  const script = join(import.meta.dirname, "server.ts");
  const child = spawn(process.execPath, [script, file, join(folder, "store.sock")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  opened.defer(async () => {
    if (child.exitCode !== null) return;
    const closed = once(child, "close");
    child.kill();
    await closed;
  });
  await once(child.stdout, "data");
  const openClient = () =>
    opened.use(openRemoteStore({ openPath: () => openSocketPath(folder, "store.sock") }));
  const clients = new AsyncDisposableStack();
  const store = openClient();
  const kept = opened.move();
  kept.use(clients);
  return {
    ...{ file, store },
    openClient: () =>
      clients.use(openRemoteStore({ openPath: () => openSocketPath(folder, "store.sock") })),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
