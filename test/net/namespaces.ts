/** Throw-away network namespaces for tests: made by the test, removed when it ends, also when it fails. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";

let count = 0;

/** True where namespaces can be made: root with iproute2. */
export const canMakeNamespaces = process.getuid?.() === 0 && existsSync("/usr/sbin/ip");

export function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8" });
}

/** A namespace with a unique name; `using` removes it. */
export function makeNamespace(label: string): { name: string } & Disposable {
  count += 1;
  const name = `gst-${label}-${process.pid}-${count}`;
  ip("netns", "add", name);
  ip("-n", name, "link", "set", "lo", "up");
  return { name, [Symbol.dispose]: () => void ip("netns", "del", name) };
}

/** For tests that count frames: without it, neighbour and router discovery come at any time. */
export function disableIpv6(namespace: string): void {
  const write = 'for f in all default; do echo 1 >"/proc/sys/net/ipv6/conf/$f/disable_ipv6"; done';
  // A kernel without IPv6 has no such files, and nothing to disable.
  ip("netns", "exec", namespace, "sh", "-c", `[ ! -d /proc/sys/net/ipv6 ] || { ${write}; }`);
}

/** A veth pair `near` in `a` and `far` in `b`, both up. */
export function connect(a: string, near: string, b: string, far: string): void {
  ip("-n", a, "link", "add", "name", near, "type", "veth", "peer", "name", far, "netns", b);
  ip("-n", a, "link", "set", "dev", near, "up");
  ip("-n", b, "link", "set", "dev", far, "up");
}

/** Applies many lines of `ip` commands in one process, and waits for it. */
export function ipBatch(namespace: string, lines: readonly string[]): void {
  execFileSync("ip", ["-n", namespace, "-batch", "-"], { input: `${lines.join("\n")}\n` });
}
