/** Unix sockets in a folder, also where the folder's path is longer than a socket's may be. */
import { chmodSync, closeSync, constants, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { AF_UNIX, bindSocket, listenSocket, openSocket, SOCK_STREAM } from "./libc.ts";

/** `sun_path` of struct sockaddr_un has 108 octets, and the last one is NUL. */
export const SOCKET_PATH_BYTES_MAX = 107;
/** One client at a time is served; others wait. */
const LISTEN_BACKLOG = 4;

/** A path that a socket can be bound to and connected to until it is disposed. */
export interface SocketPath extends Disposable {
  readonly path: string;
}

/**
 * The path of a socket. If it is too long for the kernel, the folder is held open and the socket is reached through its
 * descriptor, so that it is the same file in any case.
 *
 * @throws Error of node:fs if the path is too long and the folder cannot be opened
 */
export function openSocketPath(folder: string, name: string): SocketPath {
  const path = join(folder, name);
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) {
    return { path, [Symbol.dispose]: () => undefined };
  }
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  let isOpen = true;
  return {
    path: `/proc/self/fd/${fd}/${name}`,
    [Symbol.dispose]: () => {
      if (isOpen) closeSync(fd);
      isOpen = false;
    },
  };
}

/**
 * Listens on a unix socket of mode 0600 for another process, which is handed the descriptor and needs no right to the
 * folder. What was there is replaced.
 *
 * @returns a descriptor that you close
 */
export function listenForOther(folder: string, name: string): number {
  rmSync(join(folder, name), { force: true });
  using socket = openSocketPath(folder, name);
  const fd = openSocket(AF_UNIX, SOCK_STREAM, 0);
  try {
    bindSocket(fd, unixAddress(socket.path), join(folder, name));
    chmodSync(socket.path, 0o600);
    listenSocket(fd, LISTEN_BACKLOG);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** struct sockaddr_un. */
function unixAddress(path: string): Buffer {
  const bytes = Buffer.alloc(2 + SOCKET_PATH_BYTES_MAX + 1);
  bytes.writeUInt16LE(AF_UNIX, 0);
  bytes.write(path, 2);
  return bytes;
}
