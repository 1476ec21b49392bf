/** Plays a scenario and holds what comes of it against its own words, the properties and the golden files. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { messageTypeName, walkOptions } from "../../src/dhcp/index.ts";
import { formatIpv4 } from "../../src/model/ipv4-address.ts";
import { encodeCaptureHeader, encodeCaptureRecord } from "../../src/net/capture-file.ts";
import { readReply } from "../dhcp/packets.ts";
import { expectNamed, expectStable, expectSums, Ledger } from "./properties.ts";
import type { ExpectedReply, Outcome, Scenario, Setup, Step } from "./scenario.ts";
import { type Host, type SentReply, settle, World } from "./simulation.ts";
import { addressOf, dataOf, frameOf, STATIONS, type Station } from "./vocabulary.ts";

/** One folder per scenario, with what went in and what came out. */
export const GOLDENS = join(import.meta.dirname, "../fixtures/scenarios");

/** Any moment will do, if it is always the same. */
const EPOCH_NS = 1_767_225_600_000_000_000n;
/** A clock that renewals of a day do not carry out of the file's range. */
const NS_PER_MS = 1_000_000n;

/** Files as they should be, of one scenario. */
export interface Recording {
  readonly in: Uint8Array;
  readonly out: Uint8Array;
}

/** Runs a scenario to its end; fails at the first step that comes out otherwise. */
export async function runScenario({ setup = {}, steps }: Scenario): Promise<Recording> {
  const { input, output } = await play(setup, steps, expectOutcome);
  return { in: input.bytes(), out: output.bytes() };
}

/**
 * Plays steps on a new network and holds what must hold whatever happens.
 *
 * @param expectThis - looks at what came of each step
 */
export async function play(
  setup: Setup,
  steps: readonly Step[],
  expectThis: typeof expectOutcome = () => undefined,
): Promise<{ readonly input: Tape; readonly output: Tape }> {
  const world = new World(setup);
  const ledger = new Ledger();
  const input = new Tape();
  const output = new Tape();
  const hosts = Object.values(world.hosts);
  const collect = (host: Host, since: number) => {
    for (const reply of host.sent.slice(since)) {
      output.write(reply.atMs, reply.bytes);
      ledger.replied(reply, world);
    }
  };
  for (const host of hosts) host.start();
  try {
    for (const [index, step] of steps.entries()) {
      const host = world.hosts[step.server ?? "A"];
      const before = countsOf(host, world);
      const sentBefore = new Map(hosts.map((each) => [each, each.sent.length]));
      await take(step, host, world, ledger, input);
      for (const each of hosts) collect(each, sentBefore.get(each)!);
      const replies = host.sent.slice(before.sent);
      expectThis(`step ${index + 1}`, step, host, world, before);
      for (const each of hosts) expectSums(each);
      if (step.kind === "send") await expectStable(world, step.message, replies);
    }
  } finally {
    for (const host of hosts) await host.stop();
  }
  for (const host of hosts) expect(host.counters.pending, "nothing waits at the end").toBe(0);
  return { input, output };
}

async function take(
  step: Step,
  host: Host,
  world: World,
  ledger: Ledger,
  input: Tape,
): Promise<void> {
  switch (step.kind) {
    case "send": {
      const frame = frameOf(step.message);
      ledger.requested(step.message);
      input.write(world.clock.nowMs, tagged(frame, step.message.vlan));
      const { length } = host.drops;
      host.inject(step.message, frame);
      if (host.drops.length > length) expectNamed(host, step.message);
      return void (await settle());
    }
    case "wait":
      return world.clock.advance(step.ms);
    case "inventory":
      return world.change(step.nics);
    case "backend":
      world.backend = step.state;
      return undefined;
    case "restart":
      await host.stop();
      return host.start();
    default:
      return step satisfies never;
  }
}

/** In a capture file the tag is in the frame. */
function tagged(frame: Uint8Array, vlan: number | undefined): Uint8Array {
  if (vlan === undefined) return frame;
  const tag = [0x81, 0x00, vlan >>> 8, vlan & 255];
  return Uint8Array.from([...frame.subarray(0, 12), ...tag, ...frame.subarray(12)]);
}

interface Counts {
  readonly sent: number;
  readonly drops: number;
  readonly notes: ReadonlyMap<string, number>;
  readonly asked: number;
}

function countsOf(host: Host, world: World): Counts {
  const notes = new Map([...host.counters.notes, ["omitted", host.counters.optionsOmitted]]);
  return {
    sent: host.sent.length,
    drops: host.drops.length,
    notes: notes as ReadonlyMap<string, number>,
    asked: world.asked,
  };
}

function expectOutcome(
  label: string,
  outcome: Outcome & { kind: string },
  host: Host,
  world: World,
  before: Counts,
): void {
  const replies = host.sent.slice(before.sent);
  const drops = host.drops.slice(before.drops).map(({ reason }) => reason);
  expect(drops, `${label}: drops`).toEqual(outcome.drops ?? []);
  const wanted = outcome.replies ?? [];
  expect(replies.map(inWords), `${label}: replies`).toEqual(wanted.map(expectedInWords));
  wanted.forEach((reply, index) => {
    expectReply(`${label}: reply ${index + 1}`, replies[index]!, reply);
  });
  if (outcome.kind === "restart") return;
  const after = countsOf(host, world);
  const notes = [...after.notes].filter(([name, count]) => count > (before.notes.get(name) ?? 0));
  expect(notes.map(([name]) => name).sort(), `${label}: notes`).toEqual(
    [...(outcome.notes ?? [])].sort(),
  );
  expect(world.asked - before.asked, `${label}: times that the inventory was asked`).toBe(
    outcome.asked ?? 0,
  );
}

function stationOf(mac: number): string {
  const found = Object.entries(STATIONS).find(([, each]) => each === mac);
  return found?.[0] ?? String(mac);
}

/** Type, address and destination: what the catalogue says of every reply. */
function inWords({ bytes }: SentReply): string {
  const reply = readReply(bytes);
  const type = messageTypeName(reply.message) ?? "BOOTREPLY";
  const yiaddr = formatIpv4(reply.message.yiaddr);
  const source = `${stationOf(reply.sourceMac)} ${formatIpv4(reply.sourceIp)}:${reply.sourcePort}`;
  const destination = `${stationOf(reply.destinationMac)} ${formatIpv4(reply.destinationIp)}`;
  return `${type} ${yiaddr} ${source} -> ${destination}:${reply.destinationPort}`;
}

/** Whatever is sent comes from the server identifier, port 67, and our own hardware address. */
function expectedInWords({ type, yiaddr = "0.0.0.0", to }: ExpectedReply): string {
  const source = `S ${formatIpv4(addressOf("S"))}:67`;
  return `${type} ${formatIpv4(addressOf(yiaddr))} ${source} -> ${destinationInWords(to)}`;
}

function destinationInWords(to: string): string {
  if (to === "all") return "all 255.255.255.255:68";
  const [station, address] = to.split(" ") as [Station, string];
  const [ip, port = "68"] = address.split(":") as [string, string?];
  return `${station} ${formatIpv4(addressOf(ip))}:${port}`;
}

function expectReply(label: string, { bytes }: SentReply, wanted: ExpectedReply): void {
  const { message, payload } = readReply(bytes);
  const field = (name: "ciaddr" | "siaddr" | "giaddr") =>
    expect(formatIpv4(message[name]), `${label}: ${name}`).toBe(
      formatIpv4(addressOf(wanted[name] ?? "0.0.0.0")),
    );
  field("ciaddr");
  field("siaddr");
  field("giaddr");
  expect(message.flags, `${label}: flags`).toBe(wanted.flags ?? 0);
  expect(message.hops, `${label}: hops`).toBe(0);
  if (wanted.xid !== undefined) expect(message.xid, `${label}: xid`).toBe(wanted.xid);
  const file = Buffer.from(message.file).toString("latin1");
  expect(file, `${label}: file`).toBe(wanted.file ?? "");
  for (const [code, value] of Object.entries(wanted.options ?? {})) {
    const data = message.options.get(Number(code));
    if (value === true) expect(data, `${label}: option ${code}`).toBeDefined();
    else if (value === false) expect(data, `${label}: option ${code}`).toBeUndefined();
    else expect(data, `${label}: option ${code}`).toEqual(dataOf(value));
  }
  const codes: number[] = [];
  const end = walkOptions(payload, 240, payload.length, (code) => codes.push(code) > 0);
  expect(end.kind, `${label}: one End`).toBe("end");
  expect(firstPad(payload, codes), `${label}: Pad stands behind End only`).toBe(false);
  if (wanted.order !== undefined) expect(codes, `${label}: order`).toEqual(wanted.order);
  if (wanted.type === "DHCPNAK") expectNak(label, codes, payload);
  if (wanted.type === "DHCPOFFER" || wanted.type === "DHCPACK") {
    expect(codes[0], `${label}: the message type comes first`).toBe(53);
    if (codes.includes(82)) expect(codes.at(-1), `${label}: 82 comes last`).toBe(82);
  }
  if (wanted.datagram !== undefined) {
    const [least, most] = wanted.datagram;
    expect(payload.length + 28, label).toBeGreaterThanOrEqual(least);
    expect(payload.length + 28, label).toBeLessThanOrEqual(most);
  }
}

/** True if a Pad stands before End: then the instances take less than the area. */
function firstPad(payload: Uint8Array, codes: readonly number[]): boolean {
  let used = 0;
  let cursor = 240;
  for (const code of codes) {
    if (payload[cursor] !== code) return true;
    const length = 2 + payload[cursor + 1]!;
    cursor += length;
    used += length;
  }
  return payload[240 + used] !== 255;
}

/** A refusal says so, and who refuses; nothing else. */
function expectNak(label: string, codes: readonly number[], payload: Uint8Array): void {
  expect(codes.slice(0, 3), label).toEqual([53, 54, 56]);
  for (const code of codes.slice(3)) expect([61, 82], label).toContain(code);
  expect(
    payload.subarray(44, 236).every((octet) => octet === 0),
    label,
  ).toBe(true);
}

/** A capture file in memory. */
class Tape {
  readonly #pieces: Uint8Array[] = [encodeCaptureHeader()];

  write(atMs: number, bytes: Uint8Array): void {
    const timestampNs = EPOCH_NS + BigInt(Math.round(atMs)) * NS_PER_MS;
    this.#pieces.push(encodeCaptureRecord({ timestampNs, bytes, wireLength: bytes.length }));
  }

  bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#pieces));
  }
}

/** Compares a recording with the golden files, or writes them if asked to. */
export function expectGolden({ id, name }: Scenario, recording: Recording): void {
  const folder = join(GOLDENS, `${id}-${name}`);
  if (process.env["UPDATE_GOLDENS"] !== undefined) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "in.pcap"), recording.in);
    writeFileSync(join(folder, "out.pcap"), recording.out);
  }
  for (const side of ["in", "out"] as const) {
    const golden = readFileSync(join(folder, `${side}.pcap`));
    expect(golden.equals(recording[side]), `${side}.pcap is as it was committed`).toBe(true);
  }
}
