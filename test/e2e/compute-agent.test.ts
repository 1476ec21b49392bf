/** The compute agent of a node under `goalstate up`, with real guests in network namespaces. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { canMakeNamespaces } from "../net/namespaces.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { namespacesOf, writeTenant } from "./demo.ts";
import { finish, GOALSTATE, run } from "./processes.ts";

const TEST_TIMEOUT_MS = 150_000;
const CONTAINER = "life.web_0";

/** Numbers of the processes whose command line has all of `words` among its arguments. */
function findProcesses(...words: string[]): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        return words.every((word) => args.includes(word));
      } catch {
        return false; // it has ended
      }
    });
}

describe.skipIf(!canMakeNamespaces && !process.env["CI"])("a container (needs root)", () => {
  test(
    "outlives its node's agent, is stopped by its own agent, started again, and deleted without a trace",
    async () => {
      const data = temporaryFolder("agent");
      const fabric = (command: string, ...args: string[]) =>
        finish([GOALSTATE, command, "--data", data, ...args]);
      const states = async () => {
        const { stdout } = await fabric("ps", "--json");
        return JSON.parse(stdout) as { state: string; detail: string; since: string }[];
      };
      const untilSays = (what: object) =>
        vi.waitFor(async () => expect(await states()).toMatchObject([what]), {
          timeout: 40_000,
          interval: 300,
        });
      await using up = run([GOALSTATE, "up", "--data", data, "--hypervisor", "netns"]);
      await up.says("ready\n");
      const id = readFileSync(join(data, "fabric-id"), "utf8").trim();
      const guest = () => findProcesses(`guest=gs-${id}-node-1-${CONTAINER}`);
      expect(await fabric("deploy", writeTenant(data, "life"))).toMatchObject({ code: 0 });
      await untilSays({ state: "Ready", detail: "its agent reports Ready" });

      const [first] = guest();
      const [node = 0] = findProcesses("node", "node-1", data);
      process.kill(node, "SIGKILL");
      await vi.waitFor(() => expect(findProcesses("node", "node-1", data)).not.toContain(node));
      await vi.waitFor(() => expect(findProcesses("node", "node-1", data)).toHaveLength(1), 10_000);
      expect(guest()).toEqual([first]);
      expect(await fabric("stop", CONTAINER)).toMatchObject({ code: 0 });
      await untilSays({
        state: "Stopped",
        detail: "stopped as asked: powered off by its agent",
      });
      expect(guest()).toEqual([]);

      expect(await fabric("start", CONTAINER)).toMatchObject({ code: 0 });
      await untilSays({ state: "Ready" });
      const folder = join(data, "nodes", "node-1", "run", CONTAINER);
      expect(existsSync(folder)).toBe(true);
      expect(await fabric("delete", "life")).toMatchObject({ code: 0 });
      await vi.waitFor(() => expect(existsSync(folder)).toBe(false), 30_000);
      expect(guest()).toEqual([]);
      expect(namespacesOf(data).filter((name) => name.endsWith(CONTAINER))).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );
});
