/**
 * Closed-loop clients: a window of exchanges is under way; one that ends makes room for the next. All state is in
 * arrays that are made once. The loop owns the thread: it reads the ring, and blocks in poll() when there is nothing.
 */
import { formatIpv4, type Ipv4Address } from "../../src/model/ipv4-address.ts";
import type { MacAddress } from "../../src/model/mac-address.ts";
import type { ReceivedFrame } from "../../src/net/frame-socket.ts";
import type { PacketRing } from "../../src/net/packet-ring.ts";
import { Flood, type FloodKind } from "./flood.ts";
import { Latencies, type LatencySummary } from "./latencies.ts";
import { createReplyFields, findFault, readReply } from "./reply-reader.ts";
import { type FrameOptions, RequestTemplate } from "./request-frames.ts";

export interface LoadOptions {
  readonly frames: FrameOptions;
  /** Client n has the MAC `macBase` + n; all share the high 16 bits. */
  readonly macBase: MacAddress;
  readonly clients: number;
  /** Client n must get `addressBase` + n; absent: the server chooses, and must give no address to two clients. */
  readonly addressBase: Ipv4Address | undefined;
  /** Exchanges under way at a time. */
  readonly window: number;
  /** Exchanges begun per second at most; 0 for as many as the window allows. */
  readonly rate: number;
  readonly flood: { readonly kind: FloodKind; readonly rate: number } | undefined;
  /** Until a message is sent again; after {@link TRIES_MAX} the exchange is lost. */
  readonly timeoutMs: number;
  /** Every n-th client is measured apart; 0 for none. */
  readonly apartEvery: number;
  readonly warmUpSeconds: number;
  /** The run ends after this time or these exchanges, whichever is first. */
  readonly seconds: number;
  readonly exchanges: number;
}

/** What was seen between the end of the warm-up and the end of the run. */
export interface LoadCounts {
  seconds: number;
  exchanges: number;
  offers: number;
  /** Messages sent again because no answer came in time. */
  retransmits: number;
  /** Exchanges given up. */
  lost: number;
  naks: number;
  /** Replies with another address than the client's, and frames that break a rule. */
  wrong: number;
  /** Replies to no open exchange. */
  unexpected: number;
  flooded: number;
  /** Requests that the interface did not take. */
  notSent: number;
}

export interface LoadResult extends LoadCounts {
  readonly latencyUs: LatencySummary;
  /** Of the clients that are measured apart. */
  readonly apartLatencyUs: LatencySummary | undefined;
  /** The first wrong replies, in words. */
  readonly faults: readonly string[];
}

const TRIES_MAX = 4;
const SCAN_MS = 20;
const WAIT_MS = 1;
const FLOOD_BURST_MAX = 200;
const FAULTS_MAX = 5;
/** One in so many replies has its checksums verified; a prime, so that offers and acknowledgements take turns. */
const VERIFY_EVERY = 61;
const IDLE = -1;
const OFFER = 2;
const ACK = 5;
const NAK = 6;

/** Runs the load to its end. `onMeasure` is called when the warm-up is over. Blocks the thread. */
export function runLoad(ring: PacketRing, options: LoadOptions, onMeasure: () => void): LoadResult {
  return new Load(ring, options).run(onMeasure);
}

class Load {
  readonly #ring: PacketRing;
  readonly #options: LoadOptions;
  readonly #discover: RequestTemplate;
  readonly #request: RequestTemplate;
  readonly #isRenewal: boolean;
  readonly #flood: Flood | undefined;
  readonly #reply = createReplyFields();
  readonly #client;
  readonly #macLow: number;
  readonly #macHigh: number;

  /** By client: the slot of its exchange, or IDLE; the address that it was given; the owner of an address. */
  readonly #slotOf: Int32Array;
  readonly #addressOf: Uint32Array;
  readonly #ownerOf = new Map<number, number>();

  /** By slot. */
  readonly #clientIn: Int32Array;
  readonly #xidIn: Uint32Array;
  readonly #waitsForAck: Uint8Array;
  readonly #tries: Uint8Array;
  readonly #startedAt: Float64Array;
  readonly #sentAt: Float64Array;
  readonly #serverIn: Uint32Array;
  readonly #free: number[] = [];

  readonly #latencies = new Latencies();
  readonly #apart: Latencies | undefined;
  readonly #faults: string[] = [];
  #counts = createCounts();
  #next = 0;
  readonly #stride: number;
  #xid = 0;
  #started = 0;
  #beganAt = 0;
  #nowMs = 0;
  #replies = 0;
  readonly #onFrame = (frame: ReceivedFrame) => this.#receive(frame);

  constructor(ring: PacketRing, options: LoadOptions) {
    const { frames, clients, window, macBase, flood } = options;
    this.#ring = ring;
    this.#options = options;
    this.#isRenewal = frames.way.kind === "renewal";
    this.#discover = new RequestTemplate(this.#isRenewal ? "REQUEST" : "DISCOVER", frames);
    this.#request = new RequestTemplate("REQUEST", frames);
    this.#flood = flood === undefined ? undefined : new Flood(flood.kind, frames);
    this.#apart = options.apartEvery > 0 ? new Latencies() : undefined;
    this.#macHigh = Math.floor(macBase / 2 ** 32);
    this.#macLow = macBase >>> 0;
    this.#client = {
      mac: macBase,
      xid: 0,
      address: 0 as Ipv4Address,
      serverIdentifier: 0 as Ipv4Address,
    };
    this.#slotOf = new Int32Array(clients).fill(IDLE);
    this.#addressOf = new Uint32Array(clients);
    this.#clientIn = new Int32Array(window).fill(IDLE);
    this.#xidIn = new Uint32Array(window);
    this.#waitsForAck = new Uint8Array(window);
    this.#tries = new Uint8Array(window);
    this.#startedAt = new Float64Array(window);
    this.#sentAt = new Float64Array(window);
    this.#serverIn = new Uint32Array(window);
    for (let slot = window - 1; slot >= 0; slot--) this.#free.push(slot);
    this.#stride = findStride(clients);
  }

  run(onMeasure: () => void): LoadResult {
    const { warmUpSeconds, seconds, exchanges } = this.#options;
    this.#nowMs = performance.now();
    this.#beganAt = this.#nowMs;
    let measuredFrom = this.#nowMs + warmUpSeconds * 1000;
    let isMeasuring = false;
    let endAt = Number.POSITIVE_INFINITY;
    let nextScan = this.#nowMs + SCAN_MS;
    while (this.#nowMs < endAt && !(isMeasuring && this.#counts.exchanges >= exchanges)) {
      const handled = this.#ring.receiveNow(this.#onFrame);
      this.#ring.sendTogether(this.#sendDue);
      if (this.#nowMs >= nextScan) {
        this.#ring.sendTogether(this.#retransmitDue);
        nextScan = this.#nowMs + SCAN_MS;
      }
      if (handled === 0) this.#ring.waitReadable(WAIT_MS);
      this.#nowMs = performance.now();
      if (!isMeasuring && this.#nowMs >= measuredFrom) {
        isMeasuring = true;
        this.#clear();
        onMeasure();
        this.#nowMs = performance.now();
        measuredFrom = this.#nowMs;
        endAt = this.#nowMs + seconds * 1000;
      }
    }
    this.#counts.seconds = (this.#nowMs - measuredFrom) / 1000;
    return {
      ...this.#counts,
      latencyUs: this.#latencies.summarise(),
      apartLatencyUs: this.#apart?.summarise(),
      faults: this.#faults,
    };
  }

  #clear(): void {
    const { wrong } = this.#counts; // a wrong reply is wrong in the warm-up as well
    this.#counts = { ...createCounts(), wrong };
    this.#latencies.clear();
    this.#apart?.clear();
  }

  readonly #sendDue = (): void => {
    const { rate, flood } = this.#options;
    const elapsedSeconds = (this.#nowMs - this.#beganAt) / 1000;
    const due = rate === 0 ? this.#free.length : Math.floor(elapsedSeconds * rate) - this.#started;
    for (let count = Math.min(due, this.#free.length); count > 0; count--) this.#start();
    if (flood === undefined) return;
    const missing = Math.floor(elapsedSeconds * flood.rate) - this.#flooded;
    for (let count = Math.min(missing, FLOOD_BURST_MAX); count > 0; count--) this.#sendFlood();
    // What could not be sent in time is not made up for.
    this.#flooded += Math.max(missing, 0);
  };
  #flooded = 0;

  #sendFlood(): void {
    const buffer = this.#ring.reserve();
    if (buffer === undefined) return;
    this.#ring.commit(this.#flood!.write(buffer), this.#ring.ifindex);
    this.#counts.flooded++;
  }

  /** Begins the exchange of the next client that has none under way. */
  #start(): void {
    const slot = this.#free.pop()!;
    const { clients } = this.#options;
    do {
      this.#next += this.#stride;
      if (this.#next >= clients) this.#next -= clients;
    } while (this.#slotOf[this.#next] !== IDLE);
    this.#slotOf[this.#next] = slot;
    this.#clientIn[slot] = this.#next;
    this.#xid = (this.#xid + 1) >>> 0;
    this.#xidIn[slot] = this.#xid;
    this.#waitsForAck[slot] = this.#isRenewal ? 1 : 0;
    this.#tries[slot] = 1;
    this.#startedAt[slot] = this.#nowMs;
    this.#started++;
    this.#send(slot);
  }

  #send(slot: number): void {
    this.#sentAt[slot] = this.#nowMs;
    const client = this.#clientIn[slot]!;
    const buffer = this.#ring.reserve();
    if (buffer === undefined) {
      this.#counts.notSent++; // the timeout sends it again
      return;
    }
    const isRequest = this.#waitsForAck[slot] === 1;
    const template = isRequest ? this.#request : this.#discover;
    this.#client.mac = (this.#options.macBase + client) as MacAddress;
    this.#client.xid = this.#xidIn[slot]!;
    this.#client.address = this.#isRenewal
      ? ((this.#options.addressBase! + client) as Ipv4Address)
      : (this.#addressOf[client]! as Ipv4Address);
    this.#client.serverIdentifier = this.#serverIn[slot]! as Ipv4Address;
    template.write(buffer, this.#client);
    this.#ring.commit(template.length, this.#ring.ifindex);
  }

  #receive(frame: ReceivedFrame): void {
    const reply = this.#reply;
    this.#replies++;
    const fault = this.#replies % VERIFY_EVERY === 0 ? findFault(frame) : undefined;
    if (fault !== undefined) this.#reportWrong(`a reply breaks the rule ${fault}`);
    else if (!readReply(frame, reply)) this.#reportWrong("a reply cannot be read");
    else {
      const client = reply.macLow - this.#macLow;
      const isKnown = client >= 0 && client < this.#options.clients;
      const slot = isKnown && reply.macHigh === this.#macHigh ? this.#slotOf[client]! : IDLE;
      if (slot !== IDLE && this.#xidIn[slot] === reply.xid) this.#advance(slot, client);
      else this.#counts.unexpected++;
    }
  }

  #advance(slot: number, client: number): void {
    const { messageType } = this.#reply;
    const isWaitingForAck = this.#waitsForAck[slot] === 1;
    if (messageType === NAK && isWaitingForAck) {
      this.#counts.naks++;
      this.#end(slot);
    } else if (messageType === (isWaitingForAck ? ACK : OFFER)) {
      if (!this.#isRight(client, isWaitingForAck)) this.#end(slot);
      else if (isWaitingForAck) this.#acknowledged(slot, client);
      else this.#offered(slot, client);
    } else this.#counts.unexpected++;
  }

  #offered(slot: number, client: number): void {
    this.#counts.offers++;
    this.#addressOf[client] = this.#reply.yiaddr;
    this.#serverIn[slot] = this.#reply.serverIdentifier;
    this.#waitsForAck[slot] = 1;
    this.#tries[slot] = 1;
    this.#send(slot);
  }

  #acknowledged(slot: number, client: number): void {
    this.#counts.exchanges++;
    const { apartEvery } = this.#options;
    const isApart = apartEvery > 0 && client % apartEvery === 0;
    const latencies = isApart ? this.#apart! : this.#latencies;
    latencies.record(this.#nowMs - this.#startedAt[slot]!);
    this.#end(slot);
  }

  /** The address must be the client's own, and the one that was offered. */
  #isRight(client: number, isAcknowledgement: boolean): boolean {
    const { yiaddr } = this.#reply;
    const wasOffered = !isAcknowledgement || this.#isRenewal || yiaddr === this.#addressOf[client];
    if (wasOffered && this.#isOwn(client, yiaddr)) return true;
    const text = wasOffered ? "got another's address" : "acknowledged another address than offered";
    this.#reportWrong(`client ${client}: ${text}: ${formatIpv4(yiaddr)}`);
    return false;
  }

  #isOwn(client: number, yiaddr: Ipv4Address): boolean {
    const { addressBase } = this.#options;
    if (addressBase !== undefined) return yiaddr === addressBase + client;
    const owner = this.#ownerOf.get(yiaddr);
    if (owner === undefined && yiaddr !== 0) this.#ownerOf.set(yiaddr, client);
    return owner === client || (owner === undefined && yiaddr !== 0);
  }

  #reportWrong(text: string): void {
    this.#counts.wrong++;
    if (this.#faults.length < FAULTS_MAX) this.#faults.push(text);
  }

  #end(slot: number): void {
    this.#slotOf[this.#clientIn[slot]!] = IDLE;
    this.#clientIn[slot] = IDLE;
    this.#free.push(slot);
    if (this.#options.rate === 0) this.#start();
  }

  readonly #retransmitDue = (): void => {
    const { window, timeoutMs } = this.#options;
    for (let slot = 0; slot < window; slot++) {
      if (this.#clientIn[slot] === IDLE || this.#nowMs - this.#sentAt[slot]! < timeoutMs) continue;
      if (this.#tries[slot]! >= TRIES_MAX) {
        this.#counts.lost++;
        this.#end(slot);
      } else {
        this.#tries[slot]! += 1;
        this.#counts.retransmits++;
        this.#send(slot);
      }
    }
  };
}

function createCounts(): LoadCounts {
  return {
    seconds: 0,
    exchanges: 0,
    offers: 0,
    retransmits: 0,
    lost: 0,
    naks: 0,
    wrong: 0,
    unexpected: 0,
    flooded: 0,
    notSent: 0,
  };
}

/** A step through the clients that visits all and does not follow their order, so that no cache helps. */
function findStride(clients: number): number {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  let stride = Math.max(1, Math.floor(clients * 0.618));
  while (gcd(stride, clients) !== 1) stride++;
  return stride % clients;
}
