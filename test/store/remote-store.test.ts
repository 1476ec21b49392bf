/** A store that other processes share over a socket. */
import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, onTestFinished } from "vitest";
import {
  type FabricStore,
  type LocalStore,
  openMemoryStore,
  openRemoteStore,
  openSqliteStore,
  serveStore,
} from "../../src/store/index.ts";
import { storeConformance } from "./conformance.ts";

/** A client of a store that is served until the test ends. */
function openShared(local: LocalStore): FabricStore {
  const path = join(tmpdir(), `goalstate-store-${randomUUID()}.sock`);
  const openPath = () => ({ path, [Symbol.dispose]: () => undefined });
  const server = serveStore({ store: local, openPath });
  onTestFinished(async () => {
    await (await server)[Symbol.asyncDispose]();
    await local[Symbol.asyncDispose]();
  });
  return openRemoteStore({ openPath });
}

describe("openRemoteStore() of a store in memory", () => {
  storeConformance(() => openShared(openMemoryStore()));
});

describe("openRemoteStore() of a SQLite store", () => {
  storeConformance(() => openShared(openSqliteStore({ path: ":memory:" })));
});
