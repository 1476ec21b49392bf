/**
 * The DHCP server's counters as Prometheus metrics. Each is read when it is scraped, so that a packet costs nothing more.
 * Labels are from closed sets: networks, types, reasons, notes, option codes and plugins, never an address or a name that a
 * client chose.
 */
import { Counter, Gauge, type Registry } from "prom-client";
import { IGNORED_OPTION_REASONS } from "../../dhcp/index.ts";
import type { DhcpNetworkView } from "../dhcp/network-view.ts";
import { DROP_REASONS, REQUEST_NOTES } from "../dhcp/reasons.ts";

const PREFIX = "goalstate_dhcp_";
/** Names that are there from the start: a rate can then be taken of the first one, too. */
const KNOWN_DROPS: readonly string[] = Object.keys(DROP_REASONS);
const KNOWN_NOTES: readonly string[] = Object.keys(REQUEST_NOTES);

type Counts = Iterable<readonly [label: string, count: number]>;

/** A counter of a network. */
interface Metric {
  readonly name: string;
  readonly help: string;
  readonly read: (network: DhcpNetworkView) => number;
}

/** A counter of a network for each value of one more label. */
interface LabelledMetric {
  readonly name: string;
  readonly help: string;
  readonly label: string;
  readonly read: (network: DhcpNetworkView) => Counts;
}

const METRICS: readonly Metric[] = [
  {
    name: "frames_received_total",
    help: "Frames that reached the server: the sum of replies, drops and pending requests.",
    read: ({ counters }) => counters.received,
  },
  {
    name: "nak_copies_total",
    help: "Unicast copies of a DHCPNAK, which are not among the replies.",
    read: ({ counters }) => counters.nakCopies,
  },
  {
    name: "observer_errors_total",
    help: "Observers that threw; their request was answered all the same.",
    read: ({ counters }) => counters.observerErrors,
  },
];

const LABELLED: readonly LabelledMetric[] = [
  {
    name: "replies_total",
    help: "Replies by message type.",
    label: "type",
    read: ({ counters }) => Object.entries(counters.replies),
  },
  {
    name: "drops_total",
    help: "Frames that were not answered, by reason; see goalstate dhcp counters for words.",
    label: "reason",
    read: ({ counters }) => withZeros(KNOWN_DROPS, counters.drops),
  },
  {
    name: "notes_total",
    help: "Oddities of requests that were answered all the same.",
    label: "note",
    read: ({ counters }) => withZeros(KNOWN_NOTES, counters.notes),
  },
  {
    name: "options_ignored_total",
    help: "Requests of whose options something was not used, by reason.",
    label: "reason",
    read: ({ counters }) =>
      IGNORED_OPTION_REASONS.map((reason) => [reason, counters.ignoredOptions[reason]]),
  },
  {
    name: "options_omitted_total",
    help: "Options that did not fit into a reply and were left out whole, by code.",
    label: "code",
    read: ({ counters }) =>
      [...counters.omittedByCode].flatMap((count, code) => (count > 0 ? [[`${code}`, count]] : [])),
  },
  {
    name: "plugin_decisions_total",
    help: "Opinions of each plugin other than to ask the next one.",
    label: "plugin",
    read: ({ plugins }) => [...plugins].map(([name, { decided }]) => [name, decided]),
  },
  {
    name: "plugin_failures_total",
    help: "Requests that a plugin failed: it threw, was too slow, or answered what is no verdict.",
    label: "plugin",
    read: ({ plugins }) => [...plugins].map(([name, { failed }]) => [name, failed]),
  },
  {
    name: "plugin_timeouts_total",
    help: "Requests that a plugin did not decide within its budget; they are failures, too.",
    label: "plugin",
    read: ({ plugins }) => [...plugins].map(([name, { timedOut }]) => [name, timedOut]),
  },
  {
    name: "socket_frames_total",
    help:
      "Frames of the packet sockets: received, transmitted, dropped (by the kernel, for nobody read them in time) and " +
      "refused (not sent: no buffer, or the interface refused).",
    label: "outcome",
    read: (network) => {
      const { received, transmitted, droppedByKernel, transmitFailed } =
        network.readSocketCounters();
      return Object.entries({
        ...{ received, transmitted },
        dropped: droppedByKernel,
        refused: transmitFailed,
      });
    },
  },
];

/**
 * Registers the metrics.
 *
 * @param networks - those that are answered at the time of the scrape
 */
export function registerDhcpMetrics(
  registry: Registry,
  networks: () => readonly DhcpNetworkView[],
): void {
  const registers = [registry];
  for (const { name, help, read } of METRICS) {
    new Counter({
      ...{ name: `${PREFIX}${name}`, help, labelNames: ["network"], registers },
      collect() {
        this.reset();
        for (const network of networks()) this.inc({ network: network.name }, read(network));
      },
    });
  }
  for (const { name, help, label, read } of LABELLED) {
    new Counter({
      ...{ name: `${PREFIX}${name}`, help, labelNames: ["network", label], registers },
      collect() {
        this.reset();
        for (const network of networks()) {
          for (const [value, count] of read(network)) {
            this.inc({ network: network.name, [label]: value }, count);
          }
        }
      },
    });
  }
  new Gauge({
    name: `${PREFIX}pending_requests`,
    help: "Requests that asynchronous plugins are deciding now.",
    labelNames: ["network"],
    registers,
    collect() {
      this.reset();
      for (const { name, counters } of networks()) this.set({ network: name }, counters.pending);
    },
  });
}

/** The counts, and 0 for each known name that has none. */
function withZeros(known: readonly string[], counts: ReadonlyMap<string, number>): Counts {
  const zeros = known.map((name) => [name, 0] as const);
  return new Map([...zeros, ...counts]);
}
