/** Every reason for which the DHCP server says nothing or refuses, in words, with what to do about it. */

import type {
  IgnoredOptionReason,
  NakReason,
  RequestNote,
  ServerDropReason,
} from "../../dhcp/index.ts";
import { IGNORED_OPTIONS } from "./ignored-options.ts";

/** A reason for people. */
export interface ReasonText {
  /** What happened: a whole sentence. */
  readonly meaning: string;
  /** What to do: a whole sentence. */
  readonly advice: string;
}

const NOTHING = "Nothing: this is as it should be.";
const DAMAGED =
  "Look at the frame with tcpdump on both ends of the link; something between damages it.";
const MALFORMED = "Update or replace the client; a capture of the message shows what is wrong.";
const UNUSUAL_PATH =
  "Find out by its source address who sends it; a DHCP client does not send such frames.";

/** Why a request was not answered; the chain adds `plugin.NAME`, see {@link explainReason}. */
export const DROP_REASONS: Readonly<Record<ServerDropReason, ReasonText>> = {
  "l2.short": {
    meaning: "The frame ends inside its Ethernet, IPv4 or UDP header.",
    advice: DAMAGED,
  },
  "l2.long": {
    meaning: "The frame is longer than any that this server reads.",
    advice: "Lower the client's MTU to 1500, or find out why it sends DHCP in such long frames.",
  },
  "l2.type": { meaning: "The frame carries no IPv4.", advice: NOTHING },
  "l2.vlan": {
    meaning: "The frame has a VLAN tag, and this network is untagged.",
    advice: "Take the tag off on the client's port, or serve the VLAN's own interface.",
  },
  "l2.src": {
    meaning: "The frame's source address is zero or a group address, which no NIC has.",
    advice: UNUSUAL_PATH,
  },
  "l2.dst": {
    meaning: "The frame is addressed to another station.",
    advice:
      "Nothing, if another DHCP server or a relay agent has that address: the interface only sees its traffic.",
  },
  "ip.version": { meaning: "The packet is not IPv4 although its frame says so.", advice: DAMAGED },
  "ip.ihl": { meaning: "The IPv4 header's length is impossible.", advice: DAMAGED },
  "ip.options": {
    meaning: "The packet has IP options, which no DHCP client sends.",
    advice: UNUSUAL_PATH,
  },
  "ip.len": {
    meaning: "The IPv4 length does not agree with the frame.",
    advice: DAMAGED,
  },
  "ip.csum": { meaning: "The IPv4 header's checksum is wrong.", advice: DAMAGED },
  "ip.frag": {
    meaning: "The packet is a fragment; a DHCP request fits into one packet.",
    advice: "Raise the MTU between client and server, or make the client's request shorter.",
  },
  "ip.proto": { meaning: "The packet carries no UDP.", advice: NOTHING },
  "ip.src": {
    meaning:
      "The packet's source is a loopback, multicast or broadcast address, which never sends.",
    advice: UNUSUAL_PATH,
  },
  "ip.dst": {
    meaning: "The packet is addressed to an IPv4 address that is not this server's.",
    advice: "Nothing, if the client renews with another server.",
  },
  "ip.spoof": {
    meaning: "The packet claims to come from this server's own address.",
    advice: "Look for a second fabric or a guest that uses 168.63.129.16.",
  },
  "udp.port": { meaning: "The datagram is not for the DHCP server's port, 67.", advice: NOTHING },
  "udp.len": { meaning: "The UDP length does not agree with the packet.", advice: DAMAGED },
  "udp.csum": { meaning: "The UDP checksum is wrong.", advice: DAMAGED },
  "bootp.short": {
    meaning: "The message is shorter than the fixed part of a DHCP message.",
    advice: MALFORMED,
  },
  "bootp.long": {
    meaning: "The message is longer than any that this server reads.",
    advice: MALFORMED,
  },
  "rogue.server": {
    meaning: "The message is a reply (op 2): another DHCP server answers on this link.",
    advice:
      "Find out by its source address who answers DHCP there; a guest must not. Beside another server of yours, it is expected.",
  },
  "bootp.op": { meaning: "The message is neither request nor reply (op).", advice: MALFORMED },
  "bootp.htype": {
    meaning: "The client's hardware type is not Ethernet (htype).",
    advice: "Use an Ethernet NIC; other hardware is not served.",
  },
  "bootp.hlen": {
    meaning: "The client's hardware address is not six octets long (hlen).",
    advice: MALFORMED,
  },
  "bootp.hops": {
    meaning: "The request passed more than 16 relay agents (RFC 1542 section 4.1.1).",
    advice: "Look for relay agents that forward to each other in a circle.",
  },
  "bootp.chaddr": {
    meaning: "The client's hardware address is zero or a group address (chaddr).",
    advice: "Give the NIC an address of its own.",
  },
  "bootp.ciaddr": {
    meaning: "The client says that it uses a loopback, multicast or broadcast address (ciaddr).",
    advice: "Correct the address that is configured in the client.",
  },
  "relay.giaddr": {
    meaning: "The relay agent's address is none that a relay can have (giaddr).",
    advice: "Correct the relay agent's address on the client's side.",
  },
  "bootp.cookie": {
    meaning: "The options do not begin with the DHCP magic cookie.",
    advice: "The client speaks plain BOOTP or something else; use one that speaks DHCP.",
  },
  "bootp.disabled": {
    meaning: "The client speaks BOOTP (no option 53), and this network does not answer that.",
    advice: "Use a DHCP client, or turn BOOTP on for this network.",
  },
  "opt.trunc": {
    meaning: "An option that decides about the answer runs past the end of its area.",
    advice: MALFORMED,
  },
  "opt.flood": {
    meaning: "The message has more options than any client sends.",
    advice: MALFORMED,
  },
  "opt.50": { meaning: "Option 50 (requested address) is not four octets.", advice: MALFORMED },
  "opt.53": { meaning: "Option 53 (message type) is not one octet.", advice: MALFORMED },
  "opt.54": { meaning: "Option 54 (server identifier) is not four octets.", advice: MALFORMED },
  "type.unknown": { meaning: "The message type (option 53) is unknown.", advice: MALFORMED },
  "type.server": {
    meaning: "The message type is one that only servers send, in a client's request.",
    advice: "Find out by its source address who sends it; a guest must not answer DHCP.",
  },
  "type.unsupported": {
    meaning: "The message type is one that this server does not serve, for instance a lease query.",
    advice: "Ask for it elsewhere: 'goalstate dhcp explain' and the inventory tell who has what.",
  },
  "req.otherserver": {
    meaning: "The client took another server's offer: option 54 names it (RFC 2131 section 4.3.2).",
    advice:
      "If that server is unwanted, find it: option 54 of the client's request has its address. Else nothing.",
  },
  "req.no50": {
    meaning: "The client selects an offer and does not say which address (option 50 is missing).",
    advice: MALFORMED,
  },
  "req.empty": {
    meaning: "The DHCPREQUEST names neither a server, nor an address: nothing can be confirmed.",
    advice: MALFORMED,
  },
  "decline.malformed": {
    meaning: "The DHCPDECLINE does not say which address is declined (option 50, ciaddr 0).",
    advice: MALFORMED,
  },
  "release.malformed": {
    meaning: "The DHCPRELEASE does not say which address is released (ciaddr).",
    advice: MALFORMED,
  },
  "inform.noaddress": {
    meaning: "The DHCPINFORM has no address to answer to: ciaddr and the IP source are zero.",
    advice: "Configure the client's address before it asks, or let it use DHCPDISCOVER.",
  },
  "nic.unknown": {
    meaning: "No plugin knows this MAC, so another server may (RFC 2131 section 4.3.2).",
    advice:
      "Add the MAC to the inventory, or correct it there; with a tenant, see that its NIC exists.",
  },
  "nic.wrongnetwork": {
    meaning: "The MAC is known, and has no address on this network.",
    advice: "Attach the NIC to its own network, or give it an address on this one.",
  },
  "net.notauthoritative": {
    meaning:
      "The client asks for an address of this subnet that is not its own, and another server may have given it.",
    advice: "Nothing: the client starts over by itself and is then offered its address.",
  },
  "client.decline": {
    meaning: "The client declined its address: it saw another machine use it.",
    advice: "Find the other machine that uses the address (arping), and take it away.",
  },
  "client.decline.foreign": {
    meaning: "The client declined an address that is not assigned to it.",
    advice: "Nothing here; the client had that address from another server or from its own record.",
  },
  "client.release": {
    meaning: "The client gave its address back; a DHCPRELEASE is never answered.",
    advice: NOTHING,
  },
  "client.release.foreign": {
    meaning: "The client gave back an address that is not assigned to it.",
    advice: "Nothing here; the client had that address from another server or from its own record.",
  },
  "port.spoof": {
    meaning: "The client's hardware address (chaddr) is not the source address of the frame.",
    advice:
      "If a relay agent stands between, let it set giaddr; if the guest bridges others, give each its own port.",
  },
  "subnet.unknown": {
    meaning:
      "The client (option 118) or its relay (option 82, link selection, or giaddr) is on another network than this one.",
    advice:
      "Serve that network, send its requests to the server that does, or let the relay agent name the client's network.",
  },
  "relay.untrusted": {
    meaning:
      "A relay agent sent this, and neither giaddr nor the address that it sends from is one of a relay agent's.",
    advice: "List the relay agent under relays in the inventory; a guest must not relay.",
  },
  "relay.self": {
    meaning: "The relay agent's address (giaddr) is this server's own.",
    advice: "Correct the relay agent's address, or look for a relay agent on this very machine.",
  },
  "plugin.error": {
    meaning: "The provider chain failed, so nobody could tell what the client has.",
    advice: "The log and the plugin's counters say which plugin; the client asks again by itself.",
  },
  "core.noaddress": {
    meaning: "The chain assigned 0.0.0.0.",
    advice: "Mend the plugin that decided: an assignment needs an address.",
  },
  "core.serverid": {
    meaning:
      "The chain assigned options of another server identifier: the client could never renew.",
    advice: "Mend the plugin that decided: its profile must carry this server's identifier.",
  },
  "nak.damped": {
    meaning: "A DHCPNAK would have repeated the one before too soon.",
    advice: "The client does not listen to DHCPNAK: restart it, or delete its lease file.",
  },
  "decline.held": {
    meaning: "The client declined its address a moment ago, and this network lets it wait.",
    advice: "Find the other machine that uses the address; the client is answered again by itself.",
  },
  "dup.inflight": {
    meaning: "The same message is being decided already; its answer is on the way.",
    advice: NOTHING,
  },
  "pending.overflow": {
    meaning: "Too many requests waited for slow plugins; this one had waited longest.",
    advice: "Look at the plugins' counters for timeouts, and make the slow one faster.",
  },
  "server.stopped": {
    meaning: "The server stopped while a plugin was still deciding.",
    advice: "Nothing: the client asks again.",
  },
  "fault.silent": {
    meaning: "A playbook keeps the server silent towards this container, on purpose.",
    advice:
      "Look with goalstate fault list which one it is; goalstate fault clear CONTAINER ends it.",
  },
  "tx.nobuffer": {
    meaning: "The kernel had no buffer for the reply.",
    advice: "Nothing if it is rare; else the interface cannot send as fast as clients ask.",
  },
  other: {
    meaning: "One of more reasons than are counted by name.",
    advice: "Let plugins give their reasons from a small closed set.",
  },
};

/** Why an address was refused with a DHCPNAK. */
export const NAK_REASONS: Readonly<Record<NakReason, ReasonText>> = {
  "wrong-address": {
    meaning: "The client asked for an address that is not the one assigned to it.",
    advice:
      "Nothing: after a DHCPNAK it starts over and is offered its own. If it repeats, delete its lease file.",
  },
  "wrong-network": {
    meaning: "The client asked for an address of another network than this one.",
    advice: "Nothing: after a DHCPNAK it starts over here. If it repeats, delete its lease file.",
  },
};

/** What was odd about a request that was answered all the same. */
export const REQUEST_NOTES: Readonly<Record<RequestNote, string>> = {
  "udp.srcport": "The request did not come from port 68.",
  "udp.csum.partial":
    "The UDP checksum was that of a guest's transmit offload, never finished; the data was taken as it is.",
  "clientid.mismatch": "Option 61 is a MAC address, and not the client's own; chaddr counted.",
  "req.50ne": "Option 50 and ciaddr differ; ciaddr counted.",
  "req.54zero": "Option 54 was 0.0.0.0: the client lost the server's identifier.",
  "inform.foreign": "The DHCPINFORM came from another address than the assigned one.",
  "decline.atonce":
    "The DHCPDECLINE came at once after the DHCPACK: more likely the client's own doubt.",
};

/** Why a plugin of ours dropped a request. */
export const PLUGIN_REASONS: Readonly<Record<string, ReasonText>> = {
  "port.mismatch": {
    meaning:
      "The inventory knows this NIC on another port (nics[].port) than the one it was seen on.",
    advice: "Correct nics[].port if the NIC was moved; else another guest uses its MAC address.",
  },
  "rate.mac": {
    meaning: "The sender asks more often than rate-limit admits for one MAC.",
    advice: "Find out why the client asks so often; or raise the plugin's limit for one MAC.",
  },
  "rate.port": {
    meaning: "More came from this interface than rate-limit admits for one.",
    advice: "See who floods behind it; or raise the plugin's limit for one interface.",
  },
  "rate.unknown": {
    meaning: "More came from senders that nobody knows than rate-limit admits for them together.",
    advice: "See who sends with made-up MACs; a new client is answered as soon as that ends.",
  },
  "rate.global": {
    meaning: "More came in all than rate-limit admits.",
    advice: "See who floods; or raise the plugin's limit, if the machine can take more.",
  },
};

const PLUGIN_PREFIX = "plugin.";

/** The words for a reason that the server or its chain gave. */
export function explainReason(reason: string): ReasonText {
  if (Object.hasOwn(DROP_REASONS, reason)) return DROP_REASONS[reason as ServerDropReason];
  const plugin = Object.hasOwn(PLUGIN_REASONS, reason) ? PLUGIN_REASONS[reason] : undefined;
  if (plugin !== undefined) return plugin;
  if (reason.startsWith(PLUGIN_PREFIX)) {
    const name = reason.slice(PLUGIN_PREFIX.length);
    return {
      meaning: `The plugin ${name} failed, was too slow, or answered what is no verdict.`,
      advice: "Its counters and the log say more; the client asks again by itself.",
    };
  }
  return {
    meaning: `A plugin dropped the request (${reason}).`,
    advice: "The plugin's own page, src/wds/plugins/NAME/README.md, says what the reason means.",
  };
}

/** The words for a reason of a DHCPNAK. */
export function explainRefusal(reason: string): ReasonText | undefined {
  return Object.hasOwn(NAK_REASONS, reason) ? NAK_REASONS[reason as NakReason] : undefined;
}

/** The words for a note. */
export function explainNote(note: string): string {
  return Object.hasOwn(REQUEST_NOTES, note) ? REQUEST_NOTES[note as RequestNote] : note;
}

/** The words for what was ignored. */
export function explainIgnored(reason: string): string {
  const isOurs = Object.hasOwn(IGNORED_OPTIONS, reason);
  return isOurs ? IGNORED_OPTIONS[reason as IgnoredOptionReason] : reason;
}
