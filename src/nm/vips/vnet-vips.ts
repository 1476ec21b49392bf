/**
 * The public endpoints of a VNET on one node: follows the public address of its tenant and the NICs behind it, and leads
 * flows to instances that are in service and, on the node that serves the address, answer probes.
 */
import { asDocument, keys, type NicGoal, type VipGoal } from "../../model/documents.ts";
import { type Ipv4Address, type Ipv4Subnet, parseIpv4 } from "../../model/ipv4-address.ts";
import type { VipEndpoint } from "../../net/vip-table.ts";
import { attachVipLink, setVips } from "../../net/vips.ts";
import { type FabricStore, follow } from "../../store/index.ts";
import { Rounds } from "../agent/rounds.ts";
import { probeEndpoint } from "../endpoint-probe.ts";
import { HEALTH_POLICY_DEFAULT, HealthChecks } from "../health-checks.ts";
import type { NodeVips } from "./node-vips.ts";

const RETRY_MS = 1_000;
/** From one comparison with the kernel to the next, where nothing changes. */
const CHECK_MS = 30_000;

type Endpoint = VipGoal["endpoints"][number];

/** What {@link VnetVips} needs. */
export interface VnetVipsOptions {
  readonly store: FabricStore;
  readonly node: string;
  readonly vnet: string;
  /** The VNET's namespace on this node. */
  readonly namespace: string;
  readonly subnet: Ipv4Subnet;
  readonly gateway: Ipv4Address;
  readonly vni: number;
  readonly nodeVips: NodeVips;
  /** From one comparison with the kernel to the next, in milliseconds; default 30 s. */
  readonly checkMs?: number;
  readonly onError: (what: string, error: unknown) => void;
}

/** Probes of one endpoint's targets. */
interface Checked {
  readonly checks: HealthChecks<Ipv4Address>;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
  healthy: ReadonlySet<Ipv4Address>;
}

/** See the file's comment. Disposing it stops probes and following; what the kernel was told stays. */
export class VnetVips implements AsyncDisposable {
  readonly #options: VnetVipsOptions;
  readonly #stop = new AbortController();
  readonly #nics = new Map<string, NicGoal>();
  readonly #goals = new Map<string, VipGoal>();
  readonly #followed = new Map<string, AbortController>();
  /** By address and endpoint. */
  readonly #checked = new Map<string, Checked>();
  readonly #rounds = new Rounds(() => this.#apply());
  readonly #ended: Promise<unknown>[] = [];
  readonly #timer: NodeJS.Timeout;
  #applied = "";
  #isCheckDue = false;

  constructor(options: VnetVipsOptions) {
    this.#options = options;
    const check = () => {
      this.#isCheckDue = true;
      void this.#rounds.request();
    };
    this.#timer = setInterval(check, options.checkMs ?? CHECK_MS).unref();
    const { vnet } = options;
    this.#follow(keys.vipsOfVnet(vnet), (key, value) => this.#onPointer(key, value));
    this.#follow(keys.nics(vnet), (key, value) => {
      if (value === undefined) this.#nics.delete(key);
      else this.#nics.set(key, asDocument<NicGoal>(value));
      void this.#rounds.request();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    clearInterval(this.#timer);
    for (const { stop } of this.#checked.values()) stop.abort();
    await Promise.all(this.#ended);
    await Promise.all([...this.#checked.values()].map(({ ended }) => ended));
    await this.#rounds.idle();
    const { nodeVips } = this.#options;
    for (const vip of this.#goals.keys()) await nodeVips.leave(parseIpv4(vip));
  }

  #follow(
    prefix: string,
    handler: (key: string, value: unknown) => void,
    signal: AbortSignal = this.#stop.signal,
  ): void {
    const { store, vnet, onError } = this.#options;
    const { ended } = follow(store, prefix, handler, signal);
    this.#ended.push(
      ended.catch((error: unknown) => onError(`public endpoints of ${vnet}`, error)),
    );
  }

  #onPointer(key: string, pointer: unknown): void {
    const vip = key.split("/").at(-1) ?? "";
    this.#followed.get(vip)?.abort();
    this.#followed.delete(vip);
    if (pointer === undefined) {
      this.#goals.delete(vip);
      void this.#options.nodeVips.leave(parseIpv4(vip));
      void this.#rounds.request();
      return;
    }
    const stop = new AbortController();
    this.#followed.set(vip, stop);
    const exact = keys.vip(vip);
    const onGoal = (found: string, value: unknown): void => {
      if (found !== exact) return; // 198.18.0.1 is how 198.18.0.10 begins
      if (value === undefined) this.#goals.delete(vip);
      else this.#goals.set(vip, asDocument<VipGoal>(value));
      void this.#rounds.request();
    };
    this.#follow(exact, onGoal, AbortSignal.any([stop.signal, this.#stop.signal]));
  }

  async #apply(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { vnet, onError } = this.#options;
    try {
      await this.#converge();
    } catch (error) {
      this.#applied = "";
      onError(`public endpoints of ${vnet}`, error);
      setTimeout(() => void this.#rounds.request(), RETRY_MS).unref();
    }
  }

  async #converge(): Promise<void> {
    const { namespace, subnet, gateway, vni, nodeVips, node } = this.#options;
    const goals = [...this.#goals.values()];
    this.#setChecks(goals.filter((goal) => goal.node === node));
    const endpoints = goals.flatMap((goal) =>
      goal.endpoints.map((endpoint) => this.#endpointOf(goal, endpoint)),
    );
    const wanted = JSON.stringify(endpoints);
    const isDue = this.#isCheckDue || wanted !== this.#applied;
    this.#isCheckDue = false;
    if (isDue && (endpoints.length > 0 || this.#applied !== "")) {
      await setVips(namespace, { subnet, gateway, endpoints });
      this.#applied = wanted;
    }
    for (const goal of goals) {
      const vip = parseIpv4(goal.vip);
      if (goal.node !== node) await nodeVips.leave(vip);
      else {
        const { nodeNamespace } = nodeVips;
        await attachVipLink({ nodeNamespace, vnetNamespace: namespace, vni });
        await nodeVips.serve(vip, vni);
      }
    }
  }

  #endpointOf(goal: VipGoal, endpoint: Endpoint): VipEndpoint {
    const { protocol, publicPort, port } = endpoint;
    const healthy = this.#checked.get(checkKey(goal, endpoint))?.healthy;
    const targets = this.#membersOf(endpoint).map(({ address, inService }) => {
      const target = parseIpv4(address);
      return { address: target, isReady: inService && healthy?.has(target) !== false };
    });
    return { vip: parseIpv4(goal.vip), protocol, publicPort, port, targets };
  }

  #membersOf({ role }: Endpoint): NicGoal[] {
    return [...this.#nics.values()]
      .filter((nic) => nic.role === role && nic.node !== "")
      .sort((a, b) => (a.mac < b.mac ? -1 : 1));
  }

  /** Probes what this node leads flows to, and nothing else. */
  #setChecks(goals: readonly VipGoal[]): void {
    const wanted = new Set<string>();
    for (const goal of goals) {
      for (const endpoint of goal.endpoints.filter(({ health }) => health !== undefined)) {
        const key = checkKey(goal, endpoint);
        wanted.add(key);
        const checked = this.#checked.get(key) ?? this.#startChecks(endpoint);
        this.#checked.set(key, checked);
        const members = this.#membersOf(endpoint).filter(({ inService }) => inService);
        checked.checks.setTargets(members.map(({ address }) => parseIpv4(address)));
      }
    }
    for (const [key, { stop }] of this.#checked) {
      if (wanted.has(key)) continue;
      stop.abort();
      this.#checked.delete(key);
    }
  }

  #startChecks({ port, protocol, health }: Endpoint): Checked {
    const { namespace } = this.#options;
    const stop = new AbortController();
    const path = health?.path;
    const isHttp = path !== undefined && protocol === "tcp";
    const checks = new HealthChecks<Ipv4Address>({
      policy: {
        ...HEALTH_POLICY_DEFAULT,
        intervalMs: (health?.intervalSeconds ?? 1) * 1000,
        unhealthyThreshold: health?.unhealthyAfter ?? 1,
      },
      keyOf: String,
      probe: (address) =>
        probeEndpoint({
          ...{ namespace, address, port },
          protocol: isHttp ? "http" : protocol,
          ...(isHttp && { path }),
        }),
      onChange: (healthy) => {
        checked.healthy = new Set(healthy);
        void this.#rounds.request();
      },
    });
    const ended = checks.run(stop.signal);
    const checked: Checked = { checks, stop, ended, healthy: new Set() };
    return checked;
  }
}

/** An endpoint that changes is probed anew. */
function checkKey({ vip }: VipGoal, endpoint: Endpoint): string {
  return `${vip} ${JSON.stringify(endpoint)}`;
}
