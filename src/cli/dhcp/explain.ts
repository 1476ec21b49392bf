/** `goalstate dhcp explain`: what the server decided about one client lately, and why. */
import { z } from "zod";
import { formatMac, type MacAddress } from "../../model/mac-address.ts";
import {
  adviceLines,
  type DecisionDocument,
  DecisionSchema,
  describeDecision,
  outcomeLine,
  requestLine,
} from "./decision.ts";
import type { DhcpNetworkView } from "./network-view.ts";

/** Other clients that are shown if nothing was seen from the one that was asked for. */
export const RECENT_CLIENTS_MAX = 10;

/** What the fabric answers at `/v1/dhcp/explain/MAC`. */
export const ExplanationSchema = z.object({
  mac: z.string(),
  /** Containers that have this NIC, if it was answered. */
  containers: z.array(z.string()),
  networks: z.array(z.string()),
  /** Oldest first. */
  decisions: z.array(DecisionSchema),
  /** Only if there are no decisions: the last one of each client that was seen lately, newest first. */
  recent: z.array(DecisionSchema),
});

export type Explanation = z.infer<typeof ExplanationSchema>;

/** Gathers what is kept of a client on all networks. */
export async function explainClient(
  networks: readonly DhcpNetworkView[],
  mac: MacAddress,
): Promise<Explanation> {
  const views = await Promise.all(networks.map(openView));
  const decisions = views.flatMap((view) => describeClient(view, mac)).sort(byTime);
  const recent = decisions.length > 0 ? [] : views.flatMap(listRecent);
  return {
    mac: formatMac(mac),
    containers: networks
      .map((network) => network.decisions.explain(mac)?.container)
      .filter((container) => container !== undefined),
    networks: networks.map(({ name }) => name),
    decisions,
    recent: recent.sort(byTime).reverse().slice(0, RECENT_CLIENTS_MAX),
  };
}

/** A network with the names of its interfaces, which cost a system call. */
interface View {
  readonly network: DhcpNetworkView;
  readonly interfaces: ReadonlyMap<number, string>;
}

async function openView(network: DhcpNetworkView): Promise<View> {
  return { network, interfaces: await network.listInterfaces() };
}

function describeClient({ network, interfaces }: View, mac: MacAddress): DecisionDocument[] {
  const entries = network.decisions.explain(mac)?.entries ?? [];
  // Oldest first: a stable sort then keeps the order of what happened within one millisecond.
  return entries.toReversed().map((entry) => {
    const port = interfaces.get(entry.ifindex) ?? `interface ${entry.ifindex}`;
    return describeDecision(entry, { mac, network: network.name, port });
  });
}

/** The last decision of each client that was heard lately. */
function listRecent(view: View): DecisionDocument[] {
  const { decisions } = view.network;
  const macs = [
    ...decisions.recent("strangers", RECENT_CLIENTS_MAX),
    ...decisions.recent("clients", RECENT_CLIENTS_MAX),
  ];
  return macs
    .map((mac) => describeClient(view, mac).sort(byTime).at(-1))
    .filter((last) => last !== undefined);
}

function byTime(a: DecisionDocument, b: DecisionDocument): number {
  return a.at < b.at ? -1 : Number(a.at > b.at);
}

/** The explanation as lines of text. */
export function renderExplanation(explanation: Explanation): string[] {
  const { mac, containers, networks, decisions, recent } = explanation;
  if (decisions.length > 0) {
    const title = containers.length === 0 ? mac : `${mac} (${containers.join(", ")})`;
    return [`${title}, the latest last:`, ...decisions.flatMap(renderDecision)];
  }
  const nothing = `Nothing was seen from ${mac} on ${networks.join(", ")}.`;
  if (recent.length === 0) {
    const capture = `tcpdump -eni ${networks[0]} udp port 67`;
    return [
      `${nothing} Nothing was seen from any other client either.`,
      `To do: see that the client's link is up and on this network: ${capture}`,
    ];
  }
  return [
    `${nothing} These clients were seen lately, the latest first:`,
    ...recent.map(
      (decision) =>
        `  ${decision.at}  ${decision.mac}  ${requestLine(decision)} -> ${outcomeLine(decision)}`,
    ),
    "To do: compare the MAC with these; else see that the client's link is up and on this network.",
  ];
}

/** A repeated reason is explained where it is met last. */
function renderDecision(
  decision: DecisionDocument,
  index: number,
  all: readonly DecisionDocument[],
): string[] {
  const { at, firstAt, count, network, port, steps } = decision;
  const place = port === network ? port : `${network}, port ${port}`;
  const times = count === 1 ? "" : `  (${count} times since ${firstAt})`;
  const width = Math.max(0, ...steps.map(({ plugin }) => plugin.length));
  const isSaidLater = all
    .slice(index + 1)
    .some(({ outcome }) => outcome.reason === decision.outcome.reason);
  return [
    `${at}  ${place}  ${requestLine(decision)}${times}`,
    ...steps.map(
      ({ plugin, verdict, why }) =>
        `    ${plugin.padEnd(width)}  ${verdict}${why === undefined ? "" : `: ${why}`}`,
    ),
    `  -> ${outcomeLine(decision)}`,
    ...(isSaidLater ? [] : adviceLines(decision).map((line) => `     ${line}`)),
  ];
}
