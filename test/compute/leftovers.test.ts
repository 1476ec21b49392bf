import { existsSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { removeLeftovers } from "../../src/compute/index.ts";
import { run } from "../e2e/processes.ts";
import { canMakeNamespaces, ip } from "../net/namespaces.ts";

const SLEEP = [process.execPath, "-e", 'console.log("up"); setTimeout(() => {}, 60_000)'];

function addNamespace(name: string): string {
  ip("netns", "add", name);
  onTestFinished(() => {
    if (existsSync(`/run/netns/${name}`)) ip("netns", "del", name);
  });
  return name;
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("removeLeftovers() (needs root)", () => {
  test("removes VMs, guests and namespaces of one fabric, and nothing of another", async () => {
    const ours = `gst${process.pid}a-`;
    const theirs = `gst${process.pid}b-`;
    const ourSpace = addNamespace(`${ours}lab.net`);
    const theirSpace = addNamespace(`${theirs}lab.net`);
    await using guest = run(SLEEP, ourSpace);
    await using bystander = run(SLEEP, theirSpace);
    // What QEMU's command line looks like: -name guest=NAME,...
    await using vm = run([...SLEEP, "--", `guest=${ours}lab.web_0,process=x`]);
    await using otherVm = run([...SLEEP, "--", `guest=${theirs}lab.web_0,process=x`]);
    await Promise.all([guest, bystander, vm, otherVm].map((process) => process.says("up")));
    expect(await removeLeftovers(ours)).toEqual(["1 VM process", `namespace ${ourSpace}`]);
    expect([await guest.ended, await vm.ended]).toEqual(["SIGKILL", "SIGKILL"]);
    expect(existsSync(`/run/netns/${ourSpace}`)).toBe(false);
    expect(existsSync(`/run/netns/${theirSpace}`)).toBe(true);
    expect(existsSync(`/proc/${bystander.pid}/exe`)).toBe(true);
    expect(existsSync(`/proc/${otherVm.pid}/exe`)).toBe(true);
    expect(await removeLeftovers(ours)).toEqual([]);
  });
});
