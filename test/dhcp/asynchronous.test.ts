/** Requests that a plugin decides later: each waits alone, is answered at most once, and outlives its frame. */
import { describe, expect, test } from "vitest";
import {
  type Assignment,
  type ChainVerdict,
  type DecideRequest,
  messageTypeName,
  PENDING_MAX,
} from "../../src/dhcp/index.ts";
import type { MacAddress } from "../../src/model/mac-address.ts";
import {
  CLIENT_IP,
  CLIENT_MAC,
  OTHER_IP,
  OTHER_MAC,
  octets,
  profileWith,
  type RequestSpec,
  readReply,
  requestFrame,
  SERVER_IP,
} from "./packets.ts";
import { PORT, startServer } from "./test-server.ts";

const DISCOVER: RequestSpec = { type: "DHCPDISCOVER", options: { 61: [1, 2, 3] } };
const ASSIGNMENT: Assignment = { address: CLIENT_IP, profile: profileWith(), container: "slow" };
const ASSIGNED: ChainVerdict = { kind: "assigned", assignment: ASSIGNMENT };
const OTHER: ChainVerdict = {
  kind: "assigned",
  assignment: { ...ASSIGNMENT, address: OTHER_IP },
};

/** A server whose chain answers CLIENT_MAC when the test says so, and everybody else at once. */
function startSlowServer(slow: MacAddress = CLIENT_MAC) {
  const waiting: { resolve: (verdict: ChainVerdict) => void; reject: (e: Error) => void }[] = [];
  const decide: DecideRequest = (request, context) => {
    if (request.chaddr !== slow) return OTHER;
    context.detach();
    const { promise, resolve, reject } = Promise.withResolvers<ChainVerdict>();
    waiting.push({ resolve, reject });
    return promise;
  };
  const server = startServer({ decide });
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
  const replies = () => server.socket.sent.map(({ bytes }) => readReply(bytes));
  return { ...server, waiting, settled, replies };
}

describe("serveDhcp() with an asynchronous chain", () => {
  test("answers when the promise settles, with the octets of the request", async () => {
    const { counters, send, waiting, settled, replies, socket } = startSlowServer();
    expect(send(DISCOVER)).toEqual([]);
    expect(counters.pending).toBe(1);
    // The ring's memory is used again before the answer comes.
    expect(send({ type: "DHCPDISCOVER", mac: OTHER_MAC, xid: 7 })).toHaveLength(1);
    socket.sent.length = 0;
    waiting[0]!.resolve(ASSIGNED);
    await settled();
    const [reply, ...more] = replies();
    expect(more).toEqual([]);
    expect(reply?.message).toMatchObject({
      chaddr: CLIENT_MAC,
      yiaddr: CLIENT_IP,
      xid: 0x12345678,
    });
    expect(reply?.message.options.get(61)).toEqual(Uint8Array.of(1, 2, 3));
    expect(counters.pending).toBe(0);
  });

  test("S10: a retransmission while the first is being decided asks nobody again", async () => {
    const { counters, send, waiting, settled, replies } = startSlowServer();
    send(DISCOVER);
    send(DISCOVER);
    expect(waiting).toHaveLength(1);
    expect(counters.drops.get("dup.inflight")).toBe(1);
    waiting[0]!.resolve(ASSIGNED);
    await settled();
    expect(replies()).toHaveLength(1);
    send(DISCOVER);
    expect(waiting).toHaveLength(2);
    waiting[1]!.resolve(ASSIGNED);
    await settled();
  });

  test("another message of the same client is no duplicate", async () => {
    const { send, waiting, settled } = startSlowServer();
    send(DISCOVER);
    send({ ...DISCOVER, xid: 2 });
    send({ ...DISCOVER, broadcast: true });
    send({ type: "DHCPREQUEST", options: { 54: octets(SERVER_IP), 50: octets(CLIENT_IP) } });
    expect(waiting).toHaveLength(4);
    for (const { resolve } of waiting) resolve(ASSIGNED);
    await settled();
  });

  test("others are answered while one waits", async () => {
    const { ask, send, waiting, settled } = startSlowServer();
    send(DISCOVER);
    for (let xid = 0; xid < 1000; xid++) {
      const reply = ask({ type: "DHCPDISCOVER", mac: OTHER_MAC, xid });
      expect(reply.message.xid).toBe(xid);
    }
    waiting[0]!.resolve(ASSIGNED);
    await settled();
  });

  test("a promise that rejects is silence, never a refusal", async () => {
    const { counters, send, waiting, settled, replies } = startSlowServer();
    send({ type: "DHCPREQUEST", options: { 50: octets(CLIENT_IP) } });
    waiting[0]!.reject(new Error("backend is down"));
    await settled();
    expect(replies()).toEqual([]);
    expect(counters.drops.get("plugin.error")).toBe(1);
  });

  test("beyond the bound, who waited longest is given up, and answered no more", async () => {
    const { counters, sendFrame, waiting, settled, socket } = startSlowServer();
    for (let xid = 0; xid <= PENDING_MAX; xid++) sendFrame(requestFrame({ ...DISCOVER, xid }));
    expect(counters.pending).toBe(PENDING_MAX);
    expect(counters.drops.get("pending.overflow")).toBe(1);
    socket.sent.length = 0;
    for (const { resolve } of waiting) resolve(ASSIGNED);
    await settled();
    const xids = socket.sent.map(({ bytes }) => readReply(bytes).message.xid);
    expect(xids).toHaveLength(PENDING_MAX);
    expect(xids).not.toContain(0);
  });

  test("what still waits when the server stops is counted, and never sent", async () => {
    const stop = new AbortController();
    const { promise, resolve } = Promise.withResolvers<ChainVerdict>();
    const dropped: string[] = [];
    const { send, socket, counters } = startServer({
      decide: () => promise,
      signal: stop.signal,
      onDrop: ({ reason }) => dropped.push(reason),
    });
    send(DISCOVER);
    stop.abort();
    await new Promise<void>((done) => setImmediate(done));
    resolve(ASSIGNED);
    await new Promise<void>((done) => setImmediate(done));
    expect(dropped).toEqual(["server.stopped"]);
    expect(counters.pending).toBe(0);
    expect(socket.sent).toEqual([]);
  });

  test("the chain's changes to the reply survive the wait, and touch nobody else's", async () => {
    const { resolve, promise } = Promise.withResolvers<void>();
    const { send, ask, socket } = startServer({
      decide: (request, context) => {
        if (request.chaddr !== CLIENT_MAC) return OTHER;
        const detached = context.detach();
        expect(context.detach()).toBe(detached);
        return promise.then(() => {
          detached.context.replyOptions.remove(6);
          return ASSIGNED;
        });
      },
    });
    send(DISCOVER);
    resolve();
    expect(ask({ type: "DHCPDISCOVER", mac: OTHER_MAC }).message.options.has(6)).toBe(true);
    socket.sent.length = 0;
    await new Promise<void>((done) => setImmediate(done));
    const [frame] = socket.sent;
    const { message } = readReply(frame!.bytes);
    expect(messageTypeName(message)).toBe("DHCPOFFER");
    expect(message.options.has(6)).toBe(false);
    expect(frame!.ifindex).toBe(PORT);
  });
});
