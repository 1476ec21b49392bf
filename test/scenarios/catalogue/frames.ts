/** Frames as a bridge, an offload or an attacker leaves them: S90 to S94. */
import { checksumOf, foldSum, sumPseudoHeader, sumWords } from "../../../src/net/checksum.ts";
import { ignored, noting, offer, type Scenario, scenario, send } from "../scenario.ts";
import { discover } from "../vocabulary.ts";

const IP = 14;
const UDP = 34;
const UDP_CHECKSUM = UDP + 6;
const VLAN_TAG = [0x81, 0x00, 0x00, 0x05];

const viewOf = (frame: Uint8Array) =>
  new DataView(frame.buffer, frame.byteOffset, frame.byteLength);

const withUdpChecksum = (choose: (view: DataView) => number) => (frame: Uint8Array) => {
  const view = viewOf(frame);
  view.setUint16(UDP_CHECKSUM, choose(view));
  return frame;
};
/** What a guest's kernel leaves for its NIC to complete. */
const pseudoSum = withUdpChecksum((view) => {
  const [source, destination] = [view.getUint32(IP + 12), view.getUint32(IP + 16)];
  return foldSum(sumPseudoHeader(source, destination, 17, view.getUint16(UDP + 4)));
});
const badSum = withUdpChecksum((view) => view.getUint16(UDP_CHECKSUM) ^ 0x0101);
const noSum = withUdpChecksum(() => 0);

const tagged = (frame: Uint8Array) =>
  Uint8Array.from([...frame.subarray(0, 12), ...VLAN_TAG, ...frame.subarray(12)]);
/** Octets behind the datagram, which a switch added and which are none of ours. */
const padded = (frame: Uint8Array) => Uint8Array.from([...frame, ...new Array(18).fill(0xff)]);
const cut = (frame: Uint8Array) => frame.subarray(0, frame.length - 1);
/** The first fragment of several; its header is right. */
const fragment = (frame: Uint8Array) => {
  const view = viewOf(frame);
  view.setUint16(IP + 6, 0x2000);
  view.setUint16(IP + 10, 0);
  view.setUint16(IP + 10, checksumOf(sumWords(view, IP, UDP, 0)));
  return frame;
};

export const FRAMES: readonly Scenario[] = [
  scenario("S90", "raw-vlan0", send(discover({ vlan: 0 }), offer())),
  scenario("S90", "raw-vlan5", ignored(discover({ vlan: 5 }), "l2.vlan")),
  scenario(
    "S90",
    "raw-qinq",
    ignored(discover({ vlan: 7, spoil: tagged }), "l2.vlan"),
    // A tag that the kernel did not take off makes it no IPv4 frame.
    ignored(discover({ spoil: tagged }), "l2.type"),
  ),
  scenario(
    "S91",
    "raw-csum-partial",
    send(discover({ spoil: pseudoSum, checksumNotReady: true }), offer()),
    // The note of it was lost on the way.
    noting(send(discover({ spoil: pseudoSum }), offer()), "udp.csum.partial"),
  ),
  scenario(
    "S92",
    "raw-csum-bad",
    ignored(discover({ spoil: badSum }), "udp.csum"),
    send(discover({ spoil: badSum, checksumNotReady: true }), offer()),
  ),
  scenario("S92", "raw-csum-zero", send(discover({ spoil: noSum }), offer())),
  scenario("S93", "raw-padding", send(discover({ length: 244, spoil: padded }), offer())),
  scenario(
    "S93",
    "raw-short",
    ignored(discover({ spoil: cut }), "ip.len"),
    ignored(discover({ spoil: (frame) => frame.subarray(0, 33) }), "l2.short"),
  ),
  scenario("S94", "raw-fragment-mf", ignored(discover({ spoil: fragment }), "ip.frag")),
];
