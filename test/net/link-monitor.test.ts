import { describe, expect, test } from "vitest";
import { type LinkMonitor, openLinkMonitor } from "../../src/net/link-monitor.ts";
import { inNamespace } from "../../src/net/namespace.ts";
import { Poller } from "../../src/net/poller.ts";
import { canMakeNamespaces, ip, ipBatch, makeNamespace } from "./namespaces.ts";

/** A monitor in a namespace, and a way to wait for what it shall come to know. */
function follow(namespace: string, receiveBufferBytes?: number) {
  const news = new EventTarget();
  let told = 0;
  const monitor = inNamespace(namespace, () =>
    openLinkMonitor({
      poller: new Poller(),
      onChange: () => {
        told += 1;
        news.dispatchEvent(new Event("change"));
      },
      ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
    }),
  );
  const until = (condition: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!condition()) return;
        news.removeEventListener("change", look);
        resolve();
      };
      news.addEventListener("change", look);
      look();
    });
  return { monitor, until, told: () => told };
}

const named = ({ links }: LinkMonitor, name: string) =>
  [...links.values()].find((link) => link.name === name);

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("link monitor (needs root)", () => {
  test("knows what is there when it opens, without being asked to wait", () => {
    using space = makeNamespace("links");
    ip("-n", space.name, "link", "add", "name", "br9", "mtu", "1400", "type", "bridge");
    const { monitor, told } = follow(space.name);
    using _monitor = monitor;
    expect(named(monitor, "br9")).toMatchObject({ mtu: 1400, kind: "bridge", isUp: false });
    expect(told()).toBe(0);
  });

  test("follows a link from its making over rename, MTU and up to its end", async () => {
    using space = makeNamespace("links");
    const { monitor, until } = follow(space.name);
    using _monitor = monitor;
    const link = (...args: string[]) => ip("-n", space.name, "link", ...args);
    link("add", "name", "a", "type", "veth", "peer", "name", "peer");
    await until(() => named(monitor, "a") !== undefined);
    const { ifindex } = named(monitor, "a")!;
    link("set", "dev", "a", "name", "b");
    await until(() => named(monitor, "b") !== undefined);
    expect([...monitor.links.keys()].filter((key) => key === ifindex)).toHaveLength(1);
    expect(named(monitor, "a")).toBeUndefined();
    link("set", "dev", "b", "mtu", "1300", "up");
    await until(() => monitor.links.get(ifindex)!.isUp);
    expect(monitor.links.get(ifindex)).toMatchObject({ mtu: 1300, hasCarrier: false });
    link("set", "dev", "peer", "up");
    await until(() => monitor.links.get(ifindex)!.hasCarrier);
    link("del", "dev", "b");
    await until(() => !monitor.links.has(ifindex));
  });

  test("a port that leaves its bridge stays; a link that moves to another namespace is gone", async () => {
    using space = makeNamespace("links");
    using other = makeNamespace("elsewhere");
    const link = (...args: string[]) => ip("-n", space.name, "link", ...args);
    link("add", "name", "br", "type", "bridge");
    link("add", "name", "port", "type", "veth", "peer", "name", "peer");
    const { monitor, until } = follow(space.name);
    using _monitor = monitor;
    const { ifindex } = named(monitor, "port")!;
    link("set", "dev", "port", "master", "br");
    await until(() => monitor.links.get(ifindex)?.master === named(monitor, "br")!.ifindex);
    link("set", "dev", "port", "nomaster");
    await until(() => monitor.links.get(ifindex)?.master === undefined);
    expect(monitor.links.has(ifindex)).toBe(true);
    link("set", "dev", "port", "netns", other.name);
    await until(() => !monitor.links.has(ifindex));
  });

  test("asks for everything again when the kernel had to throw news away", async () => {
    using space = makeNamespace("links");
    const { monitor, until } = follow(space.name, 4096);
    using _monitor = monitor;
    const names = Array.from({ length: 100 }, (_, index) => `br${index}`);
    // One synchronous process: nothing is read meanwhile.
    ipBatch(space.name, [
      ...names.map((name) => `link add name ${name} type bridge`),
      "link del dev br0",
    ]);
    await until(() => named(monitor, "br99") !== undefined);
    expect(monitor.overruns).toBeGreaterThan(0);
    expect([...monitor.links.values()].map(({ name }) => name).sort()).toEqual(
      ["lo", ...names.slice(1)].sort(),
    );
  });

  test("a quiet monitor does not wake the poll; disposing twice is harmless", async () => {
    using space = makeNamespace("links");
    const poller = new Poller();
    const open = () => openLinkMonitor({ poller, onChange: () => undefined });
    const monitor = inNamespace(space.name, open);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(poller.wakeups).toBeLessThanOrEqual(1);
    monitor[Symbol.dispose]();
    monitor[Symbol.dispose]();
  });
});
