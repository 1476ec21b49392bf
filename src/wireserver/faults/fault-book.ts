/** Which containers are answered wrong on purpose, and how far each of their playbooks has come. */
import type { DhcpFault, DiscFault, Playbook, WireService } from "../../model/playbook.ts";
import type { FaultableRequest, InjectedAnswer, WireFaults } from "../wire-host.ts";
import { endpointOf } from "./fault-endpoint.ts";
import {
  type Asked,
  type FaultState,
  nextAnswer,
  nextStep,
  type SequenceState,
  START,
  startOf,
} from "./fault-state.ts";

interface Entry {
  readonly playbook: Playbook;
  state: FaultState;
  /** Of the DHCP replies. */
  replies: SequenceState;
}

/** The playbooks of a node's containers. */
export class FaultBook implements WireFaults {
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;

  /** @param now - milliseconds of a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Begins a playbook, also one that is on already; undefined ends what there is. */
  set(container: string, playbook: Playbook | undefined): void {
    if (playbook === undefined) this.#entries.delete(container);
    else {
      const { rules } = playbook;
      this.#entries.set(container, { playbook, state: startOf(rules), replies: START });
    }
  }

  isOn(container: string): boolean {
    return this.#entries.has(container);
  }

  next(container: string, request: FaultableRequest): InjectedAnswer | undefined {
    const entry = this.#entries.get(container);
    if (entry === undefined) return undefined;
    const { service, url } = request;
    return this.#step(entry, { service, url, endpoint: endpointOf(request) });
  }

  refuses(container: string, service: WireService): boolean {
    const entry = this.#entries.get(container);
    return entry !== undefined && this.#step(entry, { service }) !== undefined;
  }

  /** What is wrong with this reply to the container. Counts it. */
  nextReply(container: string, reply: "offer" | "ack"): DhcpFault | undefined {
    const entry = this.#entries.get(container);
    const fault = entry?.playbook.dhcp;
    if (entry === undefined || fault === undefined) return undefined;
    if (fault.replies?.includes(reply) === false) return undefined;
    const { step, next } = nextStep({ answers: [fault] }, entry.replies, this.#now());
    entry.replies = next;
    return step;
  }

  /** What is wrong with the disc that the container is given next. */
  discFault(container: string): DiscFault | undefined {
    return this.#entries.get(container)?.playbook.disc;
  }

  #step(entry: Entry, asked: Asked): InjectedAnswer | undefined {
    const { rules, name } = entry.playbook;
    const { state, step } = nextAnswer(rules, entry.state, asked, this.#now());
    entry.state = state;
    return step === undefined || step.pass === true ? undefined : { fault: name, step };
  }
}
