/** The store of a fabric, shared by its processes over a socket in the data folder. */
import { openSocketPath } from "../net/socket-path.ts";
import {
  type FabricStore,
  type LocalStore,
  openRemoteStore,
  type RemoteStoreOptions,
  type StoreServer,
  serveStore,
} from "../store/index.ts";

/** Name of the socket in the data folder. */
export const STORE_SOCKET = "store.sock";

/**
 * Shares the store with the other processes of the fabric. Dispose it before the store.
 *
 * @param onFault - told why a connection was ended by this side
 * @throws FabricError ERR_STORE_SOCKET if the socket cannot be made
 */
export function shareStore(
  folder: string,
  store: LocalStore,
  onFault: (error: Error) => void,
): Promise<StoreServer> {
  return serveStore({ store, openPath: () => openSocketPath(folder, STORE_SOCKET), onFault });
}

/** Opens the store that another process shares in the same data folder, now or later. */
export function openSharedStore(
  folder: string,
  options: Omit<RemoteStoreOptions, "openPath"> = {},
): FabricStore {
  return openRemoteStore({ ...options, openPath: () => openSocketPath(folder, STORE_SOCKET) });
}
