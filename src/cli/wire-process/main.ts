/** The wire process: serves guests on sockets that it is handed, and knows nothing but what its node tells it. */
import { Server, Socket } from "node:net";
import { pino } from "pino";
import { FaultBook, TraceRecorder } from "../../wireserver/index.ts";
import { wallClock } from "../wall-clock.ts";
import { ChildLink } from "./child-link.ts";
import { ChildVnet, warmUp } from "./child-vnet.ts";
import type { Order } from "./messages.ts";
import { RefusalFilter } from "./refusal-filter.ts";

const CONTACTS_MS = 1_000;

const log = pino({ level: "warn", base: null }, pino.destination({ dest: 2, sync: true }));
const link = new ChildLink((message, whenWritten) => process.send?.(message, whenWritten));
const refusals = new RefusalFilter(() => performance.now());
const faults = new FaultBook(() => performance.now());
const recorder = new TraceRecorder({
  now: wallClock(Date.now, () => performance.now()),
  startTimer: (milliseconds, callback) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  take: (batch) => {
    if (!link.hasRoom) return false;
    link.send({ kind: "trace", ...batch });
    return true;
  },
});
const vnets = new Map<number, ChildVnet>();

function vnetOf(vnet: number): ChildVnet {
  const known = vnets.get(vnet);
  if (known !== undefined) return known;
  const made = new ChildVnet({ vnet, link, faults, recorder, refusals, log });
  vnets.set(vnet, made);
  return made;
}

async function obey(order: Order, handle: unknown): Promise<void> {
  switch (order.kind) {
    case "listen":
      if (handle instanceof Server) await vnetOf(order.vnet).listen(order.service, handle);
      link.send({ kind: "took" });
      break;
    case "connection":
      if (handle instanceof Socket) await vnetOf(order.vnet).take(order.service, handle);
      break;
    case "close":
      await vnets.get(order.vnet)?.close();
      vnets.delete(order.vnet);
      link.send({ kind: "closed", vnet: order.vnet });
      break;
    case "instances":
      vnetOf(order.vnet).setInstances(order.instances);
      break;
    case "container":
      vnetOf(order.vnet).setContainer(order);
      break;
    case "forget":
      vnetOf(order.vnet).forget(order.address, order.name);
      break;
    case "fault":
      faults.set(order.container, order.playbook);
      break;
    case "answer":
      link.answer(order);
      break;
    case "beginTrace":
      recorder.beginFile();
      break;
    case "ping":
      link.send({ kind: "pong" });
      break;
    default:
      throw order satisfies never;
  }
}

/** For good. What could still be read was needed to load this code. */
function giveUpRights(userId: number): void {
  if (process.getuid?.() === 0) {
    process.setgroups?.([]);
    process.setgid?.(userId);
    process.setuid?.(userId);
  }
  process.permission?.drop("fs.read");
}

// Without its node it is nothing: the sockets must be free for the next one.
process.on("disconnect", () => process.exit(0));
// They are the node's to decide; a terminal sends Ctrl-C to all.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);

await warmUp(log);
giveUpRights(Number(process.argv[2]));
process.on("message", (order: Order, handle: unknown) => {
  obey(order, handle).catch((err: unknown) => {
    log.fatal({ err }, "an order failed");
    process.exit(1);
  });
});
setInterval(() => {
  for (const vnet of vnets.values()) vnet.flushContacts();
}, CONTACTS_MS).unref();
link.send({ kind: "ready" });
