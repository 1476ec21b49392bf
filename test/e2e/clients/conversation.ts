/** A capture of DHCP in words: who said what, and in which of RFC 2131's states. */
import { execFileSync } from "node:child_process";

/** One message of a capture. */
export interface Exchange {
  /** As `REQUEST renewing 10.77.10.1` or `ACK 10.77.10.1`. */
  readonly words: string;
  /** Fields of the message as tshark names them; an option that is absent is the empty string. */
  readonly fields: Readonly<Record<Field, string>>;
}

const FIELDS = [
  "ip.dst",
  "dhcp.id",
  "dhcp.option.dhcp",
  "dhcp.ip.client",
  "dhcp.ip.your",
  "dhcp.ip.server",
  "dhcp.option.requested_ip_address",
  "dhcp.option.dhcp_server_id",
  "dhcp.option.type",
  "dhcp.option.vendor_class_id",
  "dhcp.flags.bc",
  "dhcp.file",
  "udp.checksum",
] as const;
type Field = (typeof FIELDS)[number];

const UNSPECIFIED = "0.0.0.0";
const BROADCAST = "255.255.255.255";

/** Reads a capture; what a client repeats before it is answered, and what the server then repeats, is left out. */
export function readConversation(pcap: string): Exchange[] {
  // A file that is being written may end inside a packet; what is before it counts.
  const args = [
    "-r",
    pcap,
    "-Y",
    "dhcp",
    "-T",
    "fields",
    "-E",
    "separator=\t",
    "-E",
    "aggregator=,",
  ];
  const text = readEvenIfCut(["tshark", ...args, ...FIELDS.flatMap((name) => ["-e", name])]);
  const exchanges: Exchange[] = [];
  const seen = new Set<string>();
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const values = line.split("\t");
    const fields = Object.fromEntries(
      FIELDS.map((name, index) => [name, values[index] ?? ""]),
    ) as Record<Field, string>;
    const words = inWords(fields);
    const key = `${words} ${fields["dhcp.id"]}`;
    // A new request of a lease's life may carry the transaction identifier of the first (udhcpc).
    if (seen.has(key)) continue;
    if (/^(ACK|RELEASE)/.test(words)) seen.clear();
    else seen.add(key);
    // A client may answer the first NAK of two before the second is out.
    const first = exchanges.findIndex(
      (said) => said.words.startsWith("NAK to") && said.fields["dhcp.id"] === fields["dhcp.id"],
    );
    const place = words === "NAK" && first >= 0 ? first + 1 : exchanges.length;
    exchanges.splice(place, 0, { words, fields });
  }
  return exchanges;
}

function readEvenIfCut([program = "", ...args]: string[]): string {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch (error) {
    return (error as { stdout?: string }).stdout ?? "";
  }
}

function inWords(fields: Readonly<Record<Field, string>>): string {
  const { "dhcp.ip.client": ciaddr, "dhcp.ip.your": yiaddr, "ip.dst": destination } = fields;
  switch (Number(fields["dhcp.option.dhcp"])) {
    case 1:
      return "DISCOVER";
    case 2:
      return `OFFER ${yiaddr}`;
    case 3:
      return `REQUEST ${requestState(fields)}`;
    case 4:
      return `DECLINE ${fields["dhcp.option.requested_ip_address"]}`;
    case 5:
      return `ACK ${yiaddr}`;
    case 6:
      return destination === BROADCAST ? "NAK" : `NAK to ${destination}`;
    case 7:
      return `RELEASE ${ciaddr}`;
    case 8:
      return `INFORM ${ciaddr}`;
    default:
      return yiaddr === UNSPECIFIED ? "BOOTREQUEST" : `BOOTREPLY ${yiaddr}`;
  }
}

/** RFC 2131 table 4; NetworkManager names its old address in ciaddr while it selects a new one. */
function requestState(fields: Readonly<Record<Field, string>>): string {
  const ciaddr = fields["dhcp.ip.client"];
  const requested = fields["dhcp.option.requested_ip_address"];
  if (fields["dhcp.option.dhcp_server_id"] !== "" && requested !== "") {
    return `selecting ${requested}`;
  }
  if (ciaddr === UNSPECIFIED) return `init-reboot ${requested}`;
  return `${fields["ip.dst"] === BROADCAST ? "rebinding" : "renewing"} ${ciaddr}`;
}
