/**
 * The number of the ruleset that is in force in the calling thread's network namespace: it grows with every change that
 * anybody makes, so that a look at it says whether the rules are still those that we know. It costs one message.
 *
 * @see Linux include/uapi/linux/netfilter/nf_tables.h (NFT_MSG_GETGEN)
 */
import { closeSync } from "node:fs";
import { FabricError } from "../model/errors.ts";
import {
  AF_NETLINK,
  openSocket,
  receiveMessage,
  SOCK_NONBLOCK,
  SOCK_RAW,
  sendMessage,
} from "./libc.ts";

const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWGEN = (NFNL_SUBSYS_NFTABLES << 8) | 15;
const NFT_MSG_GETGEN = (NFNL_SUBSYS_NFTABLES << 8) | 16;
const NLM_F_REQUEST = 1;
const HEADER_BYTES = 16;
/** struct nfgenmsg. */
const FAMILY_BYTES = 4;
const NFTA_GEN_ID = 1;
const ANSWER_BYTES_MAX = 4096;

/** @returns undefined where the kernel has no nftables */
export function readNftGeneration(): number | undefined {
  let fd: number;
  try {
    fd = openSocket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_NETFILTER);
  } catch (error) {
    if (error instanceof FabricError) return undefined;
    throw error;
  }
  try {
    const request = Buffer.alloc(HEADER_BYTES + FAMILY_BYTES);
    request.writeUInt32LE(request.length, 0);
    request.writeUInt16LE(NFT_MSG_GETGEN, 4);
    request.writeUInt16LE(NLM_F_REQUEST, 6);
    sendMessage(fd, request, "a question for the ruleset's number");
    const answer = Buffer.alloc(ANSWER_BYTES_MAX);
    const got = receiveMessage(fd, answer, Buffer.alloc(12));
    return typeof got === "string" ? undefined : readGeneration(answer.subarray(0, got));
  } finally {
    closeSync(fd);
  }
}

/** The number in the kernel's answer; undefined if it says something else. */
export function readGeneration(answer: Buffer): number | undefined {
  const first = HEADER_BYTES + FAMILY_BYTES;
  if (answer.length < first + 8 || answer.readUInt16LE(4) !== NFT_MSG_NEWGEN) return undefined;
  let cursor = first;
  while (cursor + 8 <= answer.length) {
    const length = answer.readUInt16LE(cursor);
    if (length < 4) return undefined;
    // Numbers inside are in network byte order.
    if ((answer.readUInt16LE(cursor + 2) & 0x3fff) === NFTA_GEN_ID && length === 8) {
      return answer.readUInt32BE(cursor + 4);
    }
    cursor += (length + 3) & ~3;
  }
  return undefined;
}
