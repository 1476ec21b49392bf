/**
 * What does the chain cost, and what do admit, log and journal add? Calls chain and journal as the server does for each
 * frame, on one process, for 50,000 clients in turn; prints nanoseconds per exchange and the ratio to the bare chain.
 *
 *   node bench/wds/chain.ts [ROUNDS]
 */
import {
  createDhcpRequest,
  createRequestContext,
  type DropEvent,
  type ExchangeEvent,
} from "../../src/dhcp/index.ts";
import { type Ipv4Address, parseIpv4 } from "../../src/model/ipv4-address.ts";
import { macPlus, parseMac } from "../../src/model/mac-address.ts";
import { createInventoryResolver, parseInventory } from "../../src/nm/index.ts";
import {
  type Chain,
  createChain,
  createHardwarePlugin,
  createLogPlugin,
  createNmPlugin,
  createOptionsPlugin,
  createRateLimitPlugin,
  Journal,
  LogSchema,
  OptionsSchema,
  type Plugin,
  RateLimitSchema,
} from "../../src/wds/index.ts";

const CLIENTS = 50_000;
const EXCHANGES = 1_000_000;
const BASE = parseMac("00:0c:01:00:00:00");

const inventory = parseInventory(
  {
    network: { subnet: "10.64.0.0/12" },
    ranges: [{ mac: "00:0c:01:00:00:00", address: "10.64.1.0", count: CLIENTS }],
  },
  "bench",
);
const resolver = createInventoryResolver(inventory, { isGateway: false });
const now = () => performance.now();

const hardware = () => createHardwarePlugin(resolver);
const nm = () => createNmPlugin(resolver);
// Tokens without end: what is measured is the way of a frame that is admitted.
const roomy = { rate: 1e7, burst: 1e7 };
const rateLimit = () =>
  createRateLimitPlugin(
    RateLimitSchema.parse({ port: roomy, mac: roomy, unknown: roomy, global: roomy }),
    { now, seed: 1 },
  );
const log = () => createLogPlugin(LogSchema.parse({}), { now, write: () => undefined });
const options = () =>
  createOptionsPlugin(
    OptionsSchema.parse({
      rules: [
        { options: [{ code: 42, addresses: ["10.64.0.1"] }] },
        { match: { vendorClass: "MSFT" }, options: [{ code: 224, text: "windows" }] },
      ],
    }),
  );

interface Setup {
  readonly name: string;
  readonly plugins: readonly Plugin[];
  readonly journal: boolean;
}

const SETUPS: readonly (() => Setup)[] = [
  () => ({ name: "hardware, nm", plugins: [hardware(), nm()], journal: false }),
  () => ({ name: "hardware, nm, journal", plugins: [hardware(), nm()], journal: true }),
  () => ({
    name: "rate-limit, hardware, nm",
    plugins: [rateLimit(), hardware(), nm()],
    journal: false,
  }),
  () => ({
    name: "log, rate-limit, hardware, nm, journal (what serve does)",
    plugins: [log(), rateLimit(), hardware(), nm()],
    journal: true,
  }),
  () => ({
    name: "the same and options",
    plugins: [log(), rateLimit(), hardware(), nm(), options()],
    journal: true,
  }),
];

/** Nanoseconds per exchange. */
function measure({ plugins, journal: hasJournal }: Setup): number {
  const chain: Chain = createChain(plugins);
  const journal = hasJournal ? new Journal({ now, seed: 1 }) : undefined;
  const request = createDhcpRequest();
  request.messageType = 1;
  const context = createRequestContext();
  const event = createEvent(context.trail);
  const sender = { sourceMac: BASE, sourceIp: parseIpv4("0.0.0.0"), sourcePort: 68 };
  const run = (count: number) => {
    for (let index = 0; index < count; index++) {
      const mac = macPlus(BASE, (index * 7919) % CLIENTS);
      sender.sourceMac = mac;
      request.chaddr = mac;
      context.trail.clear();
      context.replyOptions.clear();
      if (chain.admit(3, sender) !== undefined) throw new Error("not admitted");
      const verdict = chain.decide(request, context);
      if (verdict instanceof Promise || verdict.kind !== "assigned") throw new Error("no answer");
      event.sourceMac = mac;
      event.chaddr = mac;
      event.xid = index;
      event.address = verdict.assignment.address;
      event.assignment = verdict.assignment;
      journal?.observe(event);
      chain.observe(event);
    }
  };
  run(EXCHANGES / 4);
  // CPU time of this thread: others may want the machine, too.
  const start = process.threadCpuUsage();
  run(EXCHANGES);
  const { user, system } = process.threadCpuUsage(start);
  return ((user + system) * 1000) / EXCHANGES;
}

function createEvent(trail: DropEvent["trail"]): ExchangeEvent {
  return {
    ...{ ifindex: 3, sourceMac: BASE, sourceIp: parseIpv4("0.0.0.0"), request: undefined },
    ...{ chaddr: BASE, xid: 0, giaddr: 0 as Ipv4Address, requestType: 1, requestClass: "INIT" },
    ...{ wanted: 0 as Ipv4Address, trail, container: undefined, replyType: "DHCPOFFER" },
    ...{ address: 0 as Ipv4Address, assignment: undefined, nakReason: undefined },
  };
}

const rounds = Number(process.argv[2] ?? 5);
const times = SETUPS.map((): number[] => []);
// Interleaved, so that a busy minute of the machine is everybody's.
for (let round = 0; round < rounds; round++) {
  for (const [index, setup] of SETUPS.entries()) times[index]!.push(measure(setup()));
}
const medians = times.map((all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)]!);
for (const [index, setup] of SETUPS.entries()) {
  const median = medians[index]!;
  const ratio = (median / medians[0]!).toFixed(2);
  process.stdout.write(
    `${median.toFixed(0).padStart(6)} ns  ${ratio.padStart(5)}x  ${setup().name}\n`,
  );
}
