/** The guest as one would boot it without a fabric: a namespace with a bridge, dnsmasq, constant documents, and QEMU. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chooseHypervisor } from "../../src/cli/hypervisor-choice.ts";
import type { Hypervisor } from "../../src/compute/index.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { deriveGuid } from "../../src/model/names.ts";
import type { Boot } from "./milestones.ts";

const WIRE_SERVER = "168.63.129.16";
const GATEWAY = "10.77.0.1";
const ADDRESS = "10.77.0.10";
const MAC = "02:67:73:00:00:01";
const PORT = "tap0";
const CONTAINER = "byhand.web_0";
const READY_TIMEOUT_MS = 60_000;

/** Which step of the trace a line of dnsmasq or of our endpoint proves. */
const STEPS: readonly (readonly [pattern: RegExp, step: string])[] = [
  [/DHCPDISCOVER/, "dhcp-discover"],
  [/DHCPACK/, "dhcp-ack"],
  [/ versions$/, "agent-contact"],
  [/ goalstate$/, "goalstate-fetched"],
  [/ ready$/, "ready"],
];

/** Boots one guest after another. */
export class ByHand implements AsyncDisposable {
  readonly #folder: string;
  readonly #namespace = `gsbench-${process.pid}`;
  readonly #children: ChildProcess[] = [];
  readonly #hypervisor: Hypervisor;
  #times = new Map<string, number>();
  #ready = Promise.withResolvers<void>();

  /** @param folder - for its files; made, and removed at the end */
  static async open(folder: string, cacheFolder: string): Promise<ByHand> {
    mkdirSync(folder, { recursive: true });
    const hypervisor = await chooseHypervisor({
      ...{ hypervisor: "qemu", dataFolder: folder, cacheFolder, environment: process.env },
      searchPath: process.env["PATH"] ?? "",
      signal: AbortSignal.timeout(READY_TIMEOUT_MS),
    });
    const made = new ByHand(folder, hypervisor);
    try {
      await made.#serve();
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(folder: string, hypervisor: Hypervisor) {
    this.#folder = folder;
    this.#hypervisor = hypervisor;
  }

  get description(): string {
    return this.#hypervisor.description;
  }

  /** From the first process that a user would start to the guest's report Ready. */
  async boot(): Promise<Boot> {
    this.#times = new Map();
    this.#ready = Promise.withResolvers();
    const signal = AbortSignal.timeout(READY_TIMEOUT_MS);
    const runDirectory = join(this.#folder, "run");
    mkdirSync(runDirectory, { recursive: true });
    const prepared = await this.#hypervisor.prepare({ container: CONTAINER }, signal);
    const beganMs = Date.now();
    const vm = await prepared.boot(
      {
        ...{ name: `gsbench-${CONTAINER}`, container: CONTAINER, attempt: 1, runDirectory },
        ...{ vmId: deriveGuid("vm"), cpus: 1, memoryMib: 768, hostname: "web-0" },
        ...{ mac: parseMac(MAC), port: { namespace: this.#namespace, name: PORT } },
      },
      signal,
    );
    this.#times.set("vm-created", Date.now());
    try {
      this.#ip("link", "set", PORT, "master", "br0", "up");
      const late = new Promise<never>((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
      );
      await Promise.race([this.#ready.promise, late]);
      return { beganMs, times: this.#times };
    } finally {
      await vm.stop({ quitMs: 5_000, terminateMs: 2_000 });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const closed = once(child, "close");
      child.kill();
      await closed;
    }
    try {
      execFileSync("ip", ["netns", "delete", this.#namespace], { stdio: "ignore" });
    } catch {
      // it was not made
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #serve(): Promise<void> {
    execFileSync("ip", ["netns", "add", this.#namespace]);
    this.#ip("link", "set", "lo", "up");
    this.#ip("link", "add", "br0", "type", "bridge");
    this.#ip("address", "add", `${GATEWAY}/24`, "dev", "br0");
    this.#ip("address", "add", `${WIRE_SERVER}/32`, "dev", "br0");
    this.#ip("link", "set", "br0", "up");
    const script = join(import.meta.dirname, "endpoint.ts");
    await Promise.all([
      this.#start(/listening/, process.execPath, script, WIRE_SERVER, ADDRESS, MAC),
      this.#start(
        /started/,
        ...["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root"],
        ...["--interface=br0", "--bind-interfaces", "--no-ping", "--dhcp-authoritative"],
        ...[`--dhcp-range=${ADDRESS},${ADDRESS},infinite`, `--dhcp-host=${MAC},${ADDRESS}`],
        ...["--dhcp-option=245,a8:3f:81:10", `--dhcp-option=3,${GATEWAY}`],
        ...[`--dhcp-leasefile=${join(this.#folder, "leases")}`, "--log-facility=-"],
      ),
    ]);
  }

  /** Resolves when the program says what `isUp` matches. */
  async #start(isUp: RegExp, ...command: string[]): Promise<void> {
    const child = spawn("ip", ["netns", "exec", this.#namespace, ...command], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#children.push(child);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.on("error", reject);
    child.on("close", (code) => reject(new Error(`${command[0]} ended with ${code}`)));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on("line", (line) => {
        if (isUp.test(line)) resolve();
        this.#note(line, Date.now());
      });
    }
    promise.catch(() => undefined); // awaited below; afterwards it is closed by us
    await promise;
  }

  #note(line: string, nowMs: number): void {
    const step = STEPS.find(([pattern]) => pattern.test(line))?.[1];
    if (step === undefined || this.#times.has(step)) return;
    const told = /^(\d{13}) /.exec(line)?.[1];
    this.#times.set(step, told === undefined ? nowMs : Number(told));
    if (step === "ready") this.#ready.resolve();
  }

  #ip(...args: string[]): void {
    execFileSync("ip", ["-n", this.#namespace, ...args]);
  }
}
