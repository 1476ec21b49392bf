import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { listProcesses } from "../../src/compute/processes.ts";
import { canMakeNamespaces } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { demo, fetchIn, namespacesOf, UP, writeTenant } from "./demo.ts";
import { finish, run } from "./processes.ts";

const TEST_TIMEOUT_MS = 120_000;

/** Processes that bear a data folder on their command line: the fabric, its guests' inits and agents. */
function processesOf(data: string): number[] {
  return listProcesses()
    .filter(({ args }) => args.some((arg) => arg.includes(data)))
    .map(({ pid }) => pid);
}

/** When the demo is told to stop: after it has said this. */
const MOMENTS: readonly (readonly [signal: NodeJS.Signals, after: string])[] = [
  ["SIGINT", "hypervisor: "],
  ["SIGINT", "  network-allocated "],
  ["SIGTERM", "  vm-created "],
  ["SIGINT", "  dhcp-discover "],
  ["SIGTERM", "  goalstate-fetched "],
  ["SIGHUP", "  ready "],
  ["SIGTERM", UP],
];

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("stopping the demo (needs root)", () => {
  for (const [signal, after] of MOMENTS) {
    test(
      `${signal} after "${after.trim()}" ends it with 0 and leaves nothing`,
      async () => {
        const data = temporaryFolder("stop");
        await using fabric = run(demo(data));
        await fabric.says(after);
        fabric.kill(signal);
        expect([await fabric.ended, fabric.stderr()]).toEqual([0, ""]);
        expect(namespacesOf(data)).toEqual([]);
        expect(processesOf(data)).toEqual([]);
      },
      TEST_TIMEOUT_MS,
    );
  }

  for (const after of ["  network-allocated ", "  vm-created ", "  dhcp-ack ", UP]) {
    test(
      `kill -9 after "${after.trim()}": the next start ends what is left`,
      async () => {
        const data = temporaryFolder("killed");
        await using fabric = run(demo(data));
        await fabric.says(after);
        fabric.kill("SIGKILL");
        await fabric.ended;
        const left = processesOf(data);
        if (after === UP) expect(left.length).toBeGreaterThan(0); // else the test would prove nothing
        const { code, stderr } = await finish(demo(data, "--exit-when-ready"));
        expect([code, stderr]).toEqual([0, ""]);
        expect(namespacesOf(data)).toEqual([]);
        expect(processesOf(data)).toEqual([]);
      },
      TEST_TIMEOUT_MS,
    );
  }

  test(
    "fabrics side by side: one is killed and started again, the other answers all the while",
    async () => {
      const [one, other] = [temporaryFolder("one"), temporaryFolder("other")];
      await using bystander = run(demo(other, writeTenant(other, "other")));
      await using killed = run(demo(one, writeTenant(one, "one")));
      await Promise.all([bystander.says(UP), killed.says(UP)]);
      const before = namespacesOf(other);
      const [vnet] = before;
      killed.kill("SIGKILL");
      await killed.ended;
      const stop = new AbortController();
      const answers: string[] = [];
      const asking = (async () => {
        while (!stop.signal.aborted) {
          answers.push(await fetchIn(vnet!));
          await delay(50);
        }
      })();
      const next = await finish(demo(one, writeTenant(one, "one"), "--exit-when-ready"));
      stop.abort();
      await asking;
      expect([next.code, next.stderr]).toEqual([0, ""]);
      expect(answers.filter((text) => !text.includes("greetings from other"))).toEqual([]);
      expect(answers.length).toBeGreaterThan(0);
      expect(namespacesOf(other)).toEqual(before);
      expect(namespacesOf(one)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );
});
