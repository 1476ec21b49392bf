/** Where the control socket of a fabric is, also where the data folder's path is longer than a socket's may be. */
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";

/** Name of the socket in the data folder. */
export const CONTROL_SOCKET = "control.sock";
/** `sun_path` of struct sockaddr_un has 108 octets, and the last one is NUL. */
export const SOCKET_PATH_BYTES_MAX = 107;

/** A path that a socket can be bound to and connected to until it is disposed. */
export interface SocketPath extends Disposable {
  readonly path: string;
}

/**
 * The control socket's path. If it is too long for the kernel, the folder is held open and the socket is reached through
 * its descriptor, so that it is the same file in any case.
 *
 * @throws Error of node:fs if the path is too long and the folder cannot be opened
 */
export function openSocketPath(folder: string): SocketPath {
  const path = join(folder, CONTROL_SOCKET);
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) {
    return { path, [Symbol.dispose]: () => undefined };
  }
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  let isOpen = true;
  return {
    path: `/proc/self/fd/${fd}/${CONTROL_SOCKET}`,
    [Symbol.dispose]: () => {
      if (isOpen) closeSync(fd);
      isOpen = false;
    },
  };
}
