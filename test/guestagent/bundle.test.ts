/** The agent as it is in the VM: one bundled file, started as its own process, with the hello example as its role. */

import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { bundleAgent } from "../../src/compute/index.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { createWireServer } from "../../src/wireserver/index.ts";
import { CONTAINER, createDirectory, createRecorder } from "../wireserver/fixtures.ts";

const HELLO = join(import.meta.dirname, "../../examples/hello/app");
const AGENT = join(import.meta.dirname, "../../src/guestagent/main.ts");
const folder = await mkdtemp(join(tmpdir(), "goalstate-bundle-"));
const bundle = join(folder, "guest-agent.mjs");
const running: ChildProcessByStdio<null, Readable, Readable>[] = [];

beforeAll(async () => {
  await writeFile(bundle, await bundleAgent(AGENT));
});

afterAll(async () => {
  for (const child of running) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

function start(...args: readonly string[]) {
  const child = spawn(process.execPath, [bundle, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  running.push(child);
  const output: string[] = [];
  child.stdout.on("data", (bytes) => output.push(String(bytes)));
  child.stderr.on("data", (bytes) => output.push(String(bytes)));
  return { child, text: () => output.join("") };
}

describe("the bundled guest agent", () => {
  test("brings the hello example up, and stops on SIGTERM with exit code 0", async () => {
    const address = parseIpv4("127.0.0.1");
    const recorder = createRecorder();
    const endpoints = [{ name: "http", protocol: "http", port: 0 }];
    const container = {
      ...CONTAINER,
      address,
      instances: [{ id: "web_0", address, endpoints }],
    };
    const directory = createDirectory(container);
    // The URLs need the port before the server has it, so it is taken from a server that is closed again.
    const probe = createWireServer({ directory, observer: recorder, endpoint: address });
    const port = Number(new URL(await probe.listen({ host: "127.0.0.1", port: 0 })).port);
    await probe.close();
    const app = createWireServer({ directory, observer: recorder, endpoint: address, port });
    await app.listen({ host: "127.0.0.1", port });
    const endpoint = `127.0.0.1:${port}`;
    const agent = start("--app", HELLO, "--state", join(folder, "state"), "--endpoint", endpoint);
    const role = await vi.waitFor(
      () => {
        const match = /role: listening on port (\d+)/.exec(agent.text());
        expect(match).not.toBeNull();
        expect(recorder.reports.at(-1)?.state).toBe("Ready");
        return Number(match?.[1]);
      },
      { timeout: 15_000, interval: 20 },
    );
    const answer = await (await fetch(`http://127.0.0.1:${role}/`)).text();
    expect(answer).toBe(
      `${CONTAINER.settings["GREETING"]}\nrole instance web_0, started at incarnation 3\n`,
    );
    agent.child.kill("SIGTERM");
    expect(await once(agent.child, "exit")).toEqual([143, null]);
    expect(agent.text()).toContain("goalstate-agent: stopped\n");
    await app.close();
  });

  test("finds the wire server in the lease, and says so", async () => {
    const lease = join(folder, "lease");
    await writeFile(lease, "ip=10.20.0.4\nopt245=7f000001\n");
    const agent = start("--app", HELLO, "--state", join(folder, "state"), "--lease", lease);
    await vi.waitFor(
      () =>
        expect(agent.text()).toContain(
          "goalstate-agent: wire server 127.0.0.1 from lease option 245\n",
        ),
      { timeout: 15_000, interval: 20 },
    );
    agent.child.kill("SIGTERM");
    expect(await once(agent.child, "exit")).toEqual([143, null]);
  });

  test("without arguments shows how it is used, exit code 2", async () => {
    const agent = start();
    expect(await once(agent.child, "exit")).toEqual([2, null]);
    expect(agent.text()).toContain("usage: guest-agent");
  });
});
