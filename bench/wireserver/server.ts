/**
 * A server in a process of its own: `plain`, node:http with the bytes of one goal state, or `wireserver`, with so many
 * containers. Tells its parent its port, and on each message what it has used.
 */
import { createServer, type Server } from "node:http";
import { ContactBook } from "../../src/cli/wire-process/contact-book.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { goalStateOf } from "../../src/wireserver/documents.ts";
import { createWireServer, FaultBook, type WireContainer } from "../../src/wireserver/index.ts";
import { renderGoalState } from "../../src/wireserver/render-documents.ts";
import { guestOf } from "./guests.ts";

const [, , kind = "", count = "1"] = process.argv;
const ENDPOINT = parseIpv4("168.63.129.16");
/** As the wire process tells its node what guests asked. */
const CONTACTS_INTERVAL_MS = 1_000;

/** What a process has used. */
export interface Usage {
  /** User and system. */
  readonly cpuUs: number;
  readonly heapBytes: number;
  readonly rssBytes: number;
}

function startPlain(): Server {
  const goalState = goalStateOf(guestOf(0), { address: ENDPOINT, port: 80 }, true);
  const body = Buffer.from(renderGoalState(goalState));
  const headers = {
    "content-type": "text/xml; charset=utf-8",
    "content-length": String(body.length),
  };
  return createServer((_request, response) => {
    response.writeHead(200, headers);
    response.end(body);
  });
}

async function startWireServer(): Promise<Server> {
  const guests = new Map<number, WireContainer>();
  for (let index = 0; index < Number(count); index++) {
    const guest = guestOf(index);
    guests.set(guest.address, guest);
  }
  const book = new ContactBook((contacts) => process.send?.({ contacts }));
  setInterval(() => book.flushAll(), CONTACTS_INTERVAL_MS).unref();
  const app = createWireServer({
    directory: { findByAddress: (address) => guests.get(address) },
    observer: {
      contact: (container, asked) => book.note(container, asked.kind, asked.incarnation),
      health: async () => undefined,
      roleProperties: async () => undefined,
      refused: () => undefined,
    },
    faults: new FaultBook(() => performance.now()),
    vault: { identityOf: () => Promise.reject(new Error("nobody asks for it")) },
    endpoint: ENDPOINT,
  });
  await app.ready();
  return app.server;
}

const server = kind === "plain" ? startPlain() : await startWireServer();
server.listen(0, "0.0.0.0", () => {
  const address = server.address();
  process.send?.({ port: typeof address === "object" ? address?.port : undefined });
});
process.on("message", (isCollected: boolean) => {
  // A collection of all garbage costs as much as a thousand answers: CPU time is told of samples without one.
  if (isCollected) globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  const { heapUsed, external, rss } = process.memoryUsage();
  const usage: Usage = { cpuUs: user + system, heapBytes: heapUsed + external, rssBytes: rss };
  process.send?.({ usage });
});
process.on("disconnect", () => process.exit());
