/** Kills agents at many moments: two processes never run for one container, and nothing half made stays. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { removeLeftovers, type VmSpec } from "../../src/compute/index.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { Random } from "../../tools/fuzz.d/random.ts";
import {
  adoptAndCheck,
  expectNothingLeft,
  killAgent,
  processesOf,
  startAgent,
} from "../compute/adoption.ts";
import { type BootOrder, openHypervisor } from "../compute/fixtures/boot-over-and-over.ts";
import { canMakeNamespaces, makeNamespace } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";

/** Longer by hand: `GOALSTATE_KILLS=200 npx vitest run test/e2e/adoption.test.ts`. */
const KILLS = Number(process.env["GOALSTATE_KILLS"] ?? 8);
/** Within these a start, and a stop with the next start, are over on a machine that has nothing else to do. */
const START_MS = 150;
const STOP_MS = 100;
const TEST_TIMEOUT_MS = 30_000 + KILLS * 3_000;

function openScene(): { spec: VmSpec; guest: BootOrder["guest"] } {
  const host = makeNamespace("adopt");
  onTestFinished(() => host[Symbol.dispose]());
  const folder = temporaryFolder("adopt");
  const agent = join(folder, "agent.mjs");
  writeFileSync(agent, "setInterval(() => {}, 1000);");
  const container = "lab.web_0";
  const runDirectory = join(folder, "run", container);
  mkdirSync(runDirectory, { recursive: true });
  const prefix = `gst-adopt-${process.pid}-`;
  onTestFinished(() => void removeLeftovers(prefix));
  const spec: VmSpec = {
    ...{ name: `${prefix}${container}`, container, attempt: 1, runDirectory },
    ...{ cpus: 1, memoryMib: 64, hostname: "web-0", mac: parseMac("02:67:73:00:00:0a") },
    vmId: "00000000-0000-0000-0000-000000000000",
    port: { namespace: host.name, name: "tap0a" },
  };
  return { spec, guest: { kind: "netns", agent } };
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])(
  "a netns guest's agent (needs root)",
  () => {
    test(
      "killed at any moment leaves a whole guest, which its successor adopts, or nothing",
      async () => {
        const { spec, guest } = openScene();
        const hypervisor = await openHypervisor(guest);
        const { signal } = new AbortController();
        const prepared = await hypervisor.prepare({ container: spec.container }, signal);
        const random = new Random(20_261_125);
        const counts = new Map<string, number>();
        for (let kill = 0; kill < KILLS; kill += 1) {
          const isStarting = random.once(2);
          const order = { guest, spec, once: false };
          const agent = await startAgent(order, isStarting ? "go" : "booted");
          await delay(random.below(isStarting ? START_MS : STOP_MS));
          await killAgent(agent);
          const { vm, reasons } = await adoptAndCheck(hypervisor, spec);
          const what = vm === undefined ? (reasons[0] ?? "nothing there") : "adopted";
          counts.set(what, (counts.get(what) ?? 0) + 1);
          const next = await prepared.boot({ ...spec, attempt: 99 }, signal);
          expect(processesOf(spec).map(({ pid }) => pid)).toEqual([next.pid]);
          expect(processesOf(spec)[0]?.args).toContain("--attempt=99");
          if (vm !== undefined) expect(await vm.exited).toMatchObject({ kind: "failed" });
          await next.stop();
          await expectNothingLeft(spec);
        }
        process.stdout.write(
          `${KILLS} kills: ${[...counts].map(([what, times]) => `${times} ${what}`).join(", ")}\n`,
        );
      },
      TEST_TIMEOUT_MS,
    );
  },
);
