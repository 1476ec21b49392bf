/** Shares a store with other processes of this machine, over a unix socket. */
import { lstatSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { FabricError } from "../../model/errors.ts";
import type { LocalStore } from "../local-store.ts";
import { ServedConnection } from "./served-connection.ts";
import type { StoreSocketPath } from "./socket-path.ts";

/** Clients at a time; a fabric has one per node process, and a few commands. */
export const CLIENTS_MAX = 1024;

/** The socket is made with mode 0600, in one step. */
const UMASK = 0o177;

/** What {@link serveStore} needs. */
export interface ServeStoreOptions {
  readonly store: LocalStore;
  /** The path of the socket. A socket that is there is replaced: whoever has the store open is its only server. */
  readonly openPath: () => StoreSocketPath;
  /** Told why a connection was ended by this side: a client that does not keep to the protocol, or a store that failed. */
  readonly onFault?: (error: Error) => void;
}

/** A store that is shared. Dispose it before the store, or clients see a store that closes instead of one that is away. */
export interface StoreServer extends AsyncDisposable {
  /** Clients that are connected now. */
  readonly clientCount: number;
}

/**
 * Serves `store` to every {@link openRemoteStore} on the same socket. Only the user of this process can connect.
 *
 * The leases of a client are held for it while it is heard of, at least by its pings. When it falls silent, their time
 * to live runs from the last time that it was heard, or from the end of its connection.
 *
 * @throws FabricError `ERR_STORE_SOCKET` if the socket cannot be made
 * @example
 * await using store = openSqliteStore({ path: join(folder, "fabric.sqlite") });
 * const openPath = () => openSocketPath(folder, "store.sock");
 * await using _server = await serveStore({ store, openPath });
 */
export async function serveStore(options: ServeStoreOptions): Promise<StoreServer> {
  const { store, openPath, onFault = () => undefined } = options;
  const connections = new Map<Socket, ServedConnection>();
  const accept = (socket: Socket) => {
    const connection = new ServedConnection({
      ...{ store, socket, onFault },
      onHello: (session) => {
        // It is one client: its older connection is dead, and it only knows that better than we do.
        for (const other of connections.values()) {
          if (other !== connection && other.session === session) other.close();
        }
      },
    });
    connections.set(socket, connection);
    socket.once("close", () => connections.delete(socket));
  };
  const server = createServer(accept);
  server.maxConnections = CLIENTS_MAX;
  await using opened = new AsyncDisposableStack();
  try {
    const { path } = opened.use(openPath());
    removeStale(path);
    await listen(server, path);
    server.on("error", onFault);
  } catch (cause) {
    throw new FabricError("ERR_STORE_SOCKET", "Cannot make the socket of the store", { cause });
  }
  opened.defer(() => {
    for (const connection of connections.values()) connection.close();
    connections.clear();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  const kept = opened.move();
  return {
    get clientCount() {
      return connections.size;
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Anything but a socket is somebody's file, and stays; listening then fails and says so. */
function removeStale(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSocket() === true) unlinkSync(path);
}

/** Binding happens inside listen(), so that the mode holds for this file only. */
function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const before = process.umask(UMASK);
    try {
      server.listen({ path }, () => {
        server.off("error", reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}
