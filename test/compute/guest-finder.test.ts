import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { adoptGuests } from "../../src/compute/guest-finder.ts";
import type { Vm } from "../../src/compute/index.ts";
import { writeRecord } from "../../src/compute/vm-record.ts";
import { temporaryFolder } from "../temporary-folder.ts";

test("a guest whose init is just starting a program, and so shows twice, is adopted", async () => {
  const runDirectory = temporaryFolder("finder");
  const container = "lab.web_0";
  const namePrefix = `gst-finder-${process.pid}-`;
  const name = `${namePrefix}${container}`;
  const folder = join(runDirectory, container);
  mkdirSync(folder);
  const port = { namespace: name, name: "tap0a" };
  const record = { id: "1", name, container, attempt: 1, vmId: "v", port };
  writeRecord(folder, { ...record, hypervisor: "netns" });
  const show = (seconds: number) => {
    const words = ["-c", `sleep ${seconds}; :`, `guest=${name}`, "--attempt=1"];
    const child = spawn("sh", words, { cwd: folder, stdio: "ignore", detached: true });
    onTestFinished(() => {
      if (child.exitCode === null) process.kill(-child.pid!, "SIGKILL");
    });
    return child;
  };
  const guest = show(60);
  show(0.2);
  const attached: number[] = [];
  const adoption = await adoptGuests(
    { namePrefix, runDirectory },
    "netns",
    async (_place, held) => {
      attached.push(held.pid);
      return { container } as Vm;
    },
  );
  expect(adoption).toEqual({ running: [{ container }], ended: [] });
  expect(attached).toEqual([guest.pid]);
});
