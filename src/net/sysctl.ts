/** Kernel settings of a network namespace. */
import { writeFileSync } from "node:fs";
import { inNamespace } from "./namespace.ts";

/**
 * Writes settings below /proc/sys/net in a namespace. One that this kernel does not have is left out: what it would
 * turn off is not there either.
 *
 * @param settings - path below /proc/sys/net -> value
 */
export function setSysctls(namespace: string, settings: Readonly<Record<string, string>>): void {
  inNamespace(namespace, () => {
    for (const [path, value] of Object.entries(settings)) {
      try {
        writeFileSync(`/proc/sys/net/${path}`, value);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      }
    }
  });
}

/** No IPv6: nothing here programs it, and its neighbour discovery would only be noise in captures. */
export const WITHOUT_IPV6 = {
  "ipv6/conf/all/disable_ipv6": "1",
  "ipv6/conf/default/disable_ipv6": "1",
} as const;

/**
 * A namespace begins with the host's IPv4 settings, which differ between distributions. Paths here are asymmetric on
 * purpose, so no source is refused by the way it came; nothing is redirected; nothing is forwarded until it is filtered.
 */
export const ROUTER_DEFAULTS = {
  "ipv4/ip_forward": "0",
  "ipv4/conf/all/rp_filter": "0",
  "ipv4/conf/default/rp_filter": "0",
  "ipv4/conf/all/send_redirects": "0",
  "ipv4/conf/default/send_redirects": "0",
  "ipv4/conf/all/accept_redirects": "0",
  "ipv4/conf/default/accept_redirects": "0",
} as const;

/** Frames between ports of a bridge do not enter the IP filters and connection tracking: only `bridge` tables see them. */
export const BRIDGE_ONLY = {
  "bridge/bridge-nf-call-iptables": "0",
  "bridge/bridge-nf-call-ip6tables": "0",
  "bridge/bridge-nf-call-arptables": "0",
} as const;
