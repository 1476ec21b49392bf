/**
 * Lists and changes links with messages to the kernel, at once and without a process: a port is opened or closed in
 * microseconds, and fifty of them with one call. Everything works in the calling thread's network namespace.
 *
 * @see Linux man 7 rtnetlink
 */
import { closeSync } from "node:fs";
import { FabricError } from "../model/errors.ts";
import {
  AF_NETLINK,
  bindSocket,
  errnoName,
  openSocket,
  receiveMessage,
  SOCK_NONBLOCK,
  SOCK_RAW,
  sendMessage,
} from "./libc.ts";
import {
  encodeLinkChange,
  encodeLinkDump,
  type Link,
  type LinkChange,
  readAnswers,
  readLinkMessages,
} from "./link-messages.ts";

const NETLINK_ROUTE = 0;
/** Messages that are sent together; their answers fit the socket's buffer. */
const BATCH_MESSAGES_MAX = 64;
const DATAGRAM_BYTES_MAX = 64 * 1024;
const SOCKADDR_NL_BYTES = 12;
/** A dump that a change made worthless is asked for again. */
const DUMP_ATTEMPTS_MAX = 5;

/**
 * All links that there are now.
 *
 * @throws FabricError ERR_NET_SYSTEM_CALL
 */
export function dumpLinks(): Link[] {
  return withSocket((fd) => {
    for (let attempt = 1; attempt <= DUMP_ATTEMPTS_MAX; attempt += 1) {
      const links = tryDump(fd, attempt);
      if (links !== undefined) return links;
    }
    throw new FabricError(
      "ERR_NET_SYSTEM_CALL",
      "Cannot list the links: the kernel's answer is cut",
    );
  });
}

/** @returns undefined if the answer is not whole */
function tryDump(fd: number, sequence: number): Link[] | undefined {
  sendMessage(fd, encodeLinkDump(sequence), "a question for all links");
  const links: Link[] = [];
  // The kernel makes the dump while it is read, so there is always something to read until it ends.
  for (;;) {
    const datagram = receive(fd);
    if (datagram === undefined) return undefined;
    for (const message of readLinkMessages(datagram)) {
      if (message.kind === "link") links.push(message.link);
      else if (message.kind === "done" && message.sequence === sequence) return links;
      else if (message.kind === "error" || message.kind === "malformed") return undefined;
    }
  }
}

/**
 * Makes changes in their order; one that fails does not keep the next from being made.
 *
 * @returns the errno names of those that failed, by their index; `ENODEV` if the link is gone
 * @throws FabricError ERR_NET_SYSTEM_CALL if the kernel cannot be asked
 */
export function changeLinks(changes: readonly LinkChange[]): Map<number, string> {
  const failures = new Map<number, string>();
  if (changes.length === 0) return failures;
  return withSocket((fd) => {
    for (let start = 0; start < changes.length; start += BATCH_MESSAGES_MAX) {
      const batch = changes.slice(start, start + BATCH_MESSAGES_MAX);
      const messages = batch.map((change, index) => encodeLinkChange(change, start + index + 1));
      sendMessage(fd, Buffer.concat(messages), "changes of links");
      collectAnswers(fd, batch.length, failures);
    }
    return failures;
  });
}

/** The kernel has made the changes when the send returns; the answers only have to be read. */
function collectAnswers(fd: number, count: number, failures: Map<number, string>): void {
  let answered = 0;
  while (answered < count) {
    const datagram = receive(fd);
    if (datagram === undefined) {
      throw new FabricError("ERR_NET_SYSTEM_CALL", "Cannot change links: an answer is missing");
    }
    for (const { sequence, errno } of readAnswers(datagram)) {
      answered += 1;
      if (errno !== 0) failures.set(sequence - 1, errnoName(errno));
    }
  }
}

function receive(fd: number): Uint8Array | undefined {
  const datagram = Buffer.alloc(DATAGRAM_BYTES_MAX);
  const got = receiveMessage(fd, datagram, Buffer.alloc(SOCKADDR_NL_BYTES));
  return typeof got === "string" || got > DATAGRAM_BYTES_MAX
    ? undefined
    : datagram.subarray(0, got);
}

function withSocket<T>(action: (fd: number) => T): T {
  const fd = openSocket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
  try {
    const address = Buffer.alloc(SOCKADDR_NL_BYTES);
    address.writeUInt16LE(AF_NETLINK, 0);
    bindSocket(fd, address, "the kernel's links");
    return action(fd);
  } finally {
    closeSync(fd);
  }
}
