/**
 * The names of a VNET: each role instance by its host name, each role by the instances that are in service. Names are
 * under `TENANT.internal`; a guest may leave that out, for it is its search domain.
 */
import type { NicGoal } from "../../model/documents.ts";

/** What names of a tenant end with. */
export function internalDomain(tenant: string): string {
  return `${tenant}.internal`.toLowerCase();
}

interface Named {
  readonly address: string;
  readonly hostname: string;
  readonly role: string;
  readonly inService: boolean;
}

/** Fed with the NICs of one VNET; asked for names. Names are compared without regard to case (RFC 1034 section 3.1). */
export class NameZone {
  readonly #domain: string;
  readonly #nics = new Map<string, Named>();
  readonly #hosts = new Map<string, string>();
  readonly #addresses = new Map<string, string>();
  /** Where the next answer for a role begins, so that clients that take the first address are spread. */
  readonly #turns = new Map<string, number>();
  readonly #roles = new Map<string, string[]>();

  constructor(tenant: string) {
    this.#domain = internalDomain(tenant);
  }

  /** @param goal - undefined: the NIC is gone */
  set(mac: string, goal: NicGoal | undefined): void {
    const before = this.#nics.get(mac);
    if (before !== undefined) this.#remove(mac, before);
    if (goal === undefined) return;
    const { address, inService } = goal;
    const hostname = goal.hostname.toLowerCase();
    const role = goal.role.toLowerCase();
    this.#nics.set(mac, { address, hostname, role, inService });
    this.#hosts.set(hostname, address);
    this.#addresses.set(address, hostname);
    const members = this.#roles.get(role) ?? [];
    this.#roles.set(role, inService ? [...members, address] : members);
  }

  /**
   * The addresses of a name; those of a role begin with another one each time.
   *
   * @returns empty for a role none of whose instances is in service; undefined for a name that is none of ours
   */
  findAddresses(name: string): readonly string[] | undefined {
    const label = this.#labelOf(name);
    if (label === undefined) return undefined;
    const host = this.#hosts.get(label);
    if (host !== undefined) return [host];
    const members = this.#roles.get(label);
    if (members === undefined || members.length === 0) return members;
    const turn = (this.#turns.get(label) ?? 0) % members.length;
    this.#turns.set(label, turn + 1);
    return [...members.slice(turn), ...members.slice(0, turn)];
  }

  /** The name of an address. */
  findName(address: string): string | undefined {
    const hostname = this.#addresses.get(address);
    return hostname === undefined ? undefined : `${hostname}.${this.#domain}`;
  }

  /** True for names that nobody but us may answer for. */
  owns(name: string): boolean {
    const lower = name.toLowerCase();
    return lower === this.#domain || lower.endsWith(`.${this.#domain}`) || !lower.includes(".");
  }

  #labelOf(name: string): string | undefined {
    const lower = name.toLowerCase();
    const label = lower.endsWith(`.${this.#domain}`)
      ? lower.slice(0, -this.#domain.length - 1)
      : lower;
    return label.includes(".") ? undefined : label;
  }

  #remove(mac: string, { address, hostname, role, inService }: Named): void {
    this.#nics.delete(mac);
    if (this.#hosts.get(hostname) === address) this.#hosts.delete(hostname);
    if (this.#addresses.get(address) === hostname) this.#addresses.delete(address);
    if (!inService) return;
    const members = (this.#roles.get(role) ?? []).filter((member) => member !== address);
    this.#roles.set(role, members);
  }
}
