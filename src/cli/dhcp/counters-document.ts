/** `goalstate dhcp counters`: everything that the server counts, read when it is asked for. */
import { z } from "zod";
import { optionName } from "../option-text.ts";
import type { DhcpNetworkView } from "./network-view.ts";
import { explainIgnored, explainNote, explainReason } from "./reasons.ts";

const Counts = z.record(z.string(), z.int());

const NetworkCountersSchema = z.object({
  network: z.string(),
  /** Frames that reached the server: the sum of replies, silences and pending. */
  received: z.int(),
  /** By type. */
  replies: Counts,
  /** Frames that were not answered, by reason. */
  silences: Counts,
  /** Requests that an asynchronous plugin is deciding now. */
  pending: z.int(),
  /** Oddities of requests that were answered all the same. */
  notes: Counts,
  /** What of the requests' options was not used, by reason. */
  ignoredOptions: Counts,
  /** Options that did not fit into a reply, by code. */
  omittedOptions: Counts,
  nakCopies: z.int(),
  observerErrors: z.int(),
  plugins: z.record(z.string(), z.object({ decided: z.int(), failed: z.int(), timedOut: z.int() })),
  /** The packet socket. */
  ring: z.object({
    received: z.int(),
    transmitted: z.int(),
    droppedByKernel: z.int(),
    transmitFailed: z.int(),
  }),
});

/** What the fabric answers at `/v1/dhcp/counters`. */
export const CountersSchema = z.object({ networks: z.array(NetworkCountersSchema) });

export type NetworkCounters = z.infer<typeof NetworkCountersSchema>;
export type CountersDocument = z.infer<typeof CountersSchema>;

/** Reads the counters of all networks. */
export function readCounters(networks: readonly DhcpNetworkView[]): CountersDocument {
  return { networks: networks.map(readNetwork) };
}

function readNetwork(network: DhcpNetworkView): NetworkCounters {
  const { counters, plugins } = network;
  const { received, replies, pending, nakCopies, observerErrors } = counters;
  const omitted = [...counters.omittedByCode].map((count, code) => [`${code}`, count] as const);
  return {
    network: network.name,
    ...{ received, replies: { ...replies }, pending, nakCopies, observerErrors },
    silences: Object.fromEntries(counters.drops),
    notes: Object.fromEntries(counters.notes),
    ignoredOptions: { ...counters.ignoredOptions },
    omittedOptions: Object.fromEntries(omitted.filter(([, count]) => count > 0)),
    plugins: Object.fromEntries([...plugins].map(([name, counts]) => [name, { ...counts }])),
    ring: { ...network.readSocketCounters() },
  };
}

/** The counters as lines of text; those that are zero are left out where there are many. */
export function renderCounters({ networks }: CountersDocument): string[] {
  return networks.flatMap(renderNetwork);
}

type Row = readonly [count: number, name: string, meaning?: string];

function renderNetwork(network: NetworkCounters): string[] {
  const { received, pending, replies, silences, ring } = network;
  const sum = (counts: Readonly<Record<string, number>>) =>
    Object.values(counts).reduce((total, count) => total + count, 0);
  const title =
    `${network.network}: ${received} requests, ${sum(replies)} answered, ` +
    `${sum(silences)} met with silence, ${pending} pending`;
  return [
    title,
    ...renderRows("replies", rowsOf(replies)),
    ...renderRows(
      "silences",
      rowsOf(silences, (reason) => explainReason(reason).meaning),
    ),
    ...renderRows("notes", rowsOf(network.notes, explainNote)),
    ...renderRows("options ignored", rowsOf(network.ignoredOptions, explainIgnored)),
    ...renderRows("options that did not fit", omittedRows(network)),
    ...renderRows("plugins", pluginRows(network)),
    ...renderRows("socket", [
      [ring.received, "received"],
      [ring.transmitted, "transmitted"],
      [ring.droppedByKernel, "dropped by the kernel"],
      [ring.transmitFailed, "transmit failures"],
    ]),
    ...renderRows("other", [
      [network.nakCopies, "unicast copies of a DHCPNAK"],
      [network.observerErrors, "observer errors"],
    ]),
  ];
}

function omittedRows({ omittedOptions }: NetworkCounters): Row[] {
  return Object.entries(omittedOptions).map(([code, count]) => [count, optionName(Number(code))]);
}

function rowsOf(
  counts: Readonly<Record<string, number>>,
  meaning?: (name: string) => string,
): Row[] {
  return Object.entries(counts).map(([name, count]) =>
    meaning === undefined ? [count, name] : [count, name, meaning(name)],
  );
}

function pluginRows({ plugins }: NetworkCounters): Row[] {
  return Object.entries(plugins).flatMap(([name, { decided, failed, timedOut }]): Row[] => [
    [decided, `${name} decided`],
    [failed, `${name} failed`],
    [timedOut, `${name} timed out`],
  ]);
}

function renderRows(title: string, rows: readonly Row[]): string[] {
  const shown = rows.filter(([count]) => count > 0).sort(([a], [b]) => b - a);
  if (shown.length === 0) return [];
  const width = Math.max(...shown.map(([count]) => `${count}`.length));
  return [
    `  ${title}`,
    ...shown.map(([count, name, meaning]) => {
      const words = meaning === undefined ? "" : `: ${meaning}`;
      return `    ${`${count}`.padStart(width)} ${name}${words}`;
    }),
  ];
}
