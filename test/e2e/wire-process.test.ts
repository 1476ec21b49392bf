import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import {
  bundleWireProcess,
  isWireProcess,
  launchWireProcess,
  WIRE_USER_ID,
} from "../../src/cli/wire-process/launch.ts";
import { listProcesses } from "../../src/compute/index.ts";
import { run } from "./processes.ts";
import {
  A,
  B,
  containerIdOf,
  GOAL_STATE,
  get,
  healthPost,
  openWireScene,
  sharedOf,
  type WireScene,
} from "./wire-scene.ts";

/** Ends after the code of the wire process: it does what somebody would try who had taken it over. */
const PROBE = (data: string) => `
const outcome = async (what, action) => {
  try { return [what, String(await action())]; } catch (error) { return [what, error.code ?? error.message]; }
};
const builtin = process.getBuiltinModule;
const connect = (options) => new Promise((resolve, reject) => {
  builtin("node:net").connect(options).on("connect", () => resolve("connected")).on("error", reject);
});
process.send({ probe: Object.fromEntries(await Promise.all([
  outcome("shadow", () => builtin("node:fs").readFileSync("/etc/shadow")),
  outcome("data", () => builtin("node:fs").readFileSync(${JSON.stringify(data)})),
  outcome("own code", () => builtin("node:fs").readFileSync(process.argv[1])),
  outcome("write", () => builtin("node:fs").writeFileSync("/tmp/gst-wire-probe", "x")),
  outcome("spawn", () => builtin("node:child_process").execFileSync("/bin/true")),
  outcome("thread", () => new (builtin("node:worker_threads").Worker)("0", { eval: true })),
  outcome("root", () => process.setuid(0)),
  outcome("addon", () => process.dlopen({ exports: {} }, "/lib/x86_64-linux-gnu/libc.so.6")),
  outcome("out", () => connect({ host: "192.0.2.1", port: 80 })),
  outcome("host", () => connect({ host: "127.0.0.1", port: 22 })),
])) });
`;

function statusOf(pid: number): ReadonlyMap<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, "utf8").trim().split("\n");
  return new Map(lines.map((line) => line.split(":\t") as [string, string]));
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (isSo()) return;
    await delay(50);
  }
  throw new Error(`never: ${what}`);
}

async function killAndAwaitNext({ wire }: WireScene): Promise<void> {
  const before = wire.pid ?? 0;
  process.kill(before, "SIGKILL");
  await until("another wire process", () => wire.pid !== undefined && wire.pid !== before);
}

describe("the wire process", () => {
  test("is nobody: no capability, none to be had, in an empty network", async () => {
    await using scene = await openWireScene();
    const pid = scene.wire.pid ?? 0;
    const status = statusOf(pid);
    const ids = [WIRE_USER_ID, WIRE_USER_ID, WIRE_USER_ID, WIRE_USER_ID].join("\t");
    expect([status.get("Uid"), status.get("Gid")]).toEqual([ids, ids]);
    expect(status.get("Groups")?.trim()).toBe("");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) {
      expect(status.get(set)).toBe("0000000000000000");
    }
    expect(status.get("NoNewPrivs")).toBe("1");
    const own = readFileSync(`/proc/${process.pid}/net/dev`, "utf8");
    const links = readFileSync(`/proc/${pid}/net/dev`, "utf8").trim().split("\n").slice(2);
    expect(links.map((line) => line.trim().split(":")[0])).toEqual(["lo"]);
    expect(own).not.toBe(readFileSync(`/proc/${pid}/net/dev`, "utf8"));
    const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").filter(Boolean);
    expect(environment.filter((line) => !line.startsWith("NODE_CHANNEL_"))).toEqual([]);
  });

  test("can read nothing, write nothing, start nothing and reach nothing", async () => {
    const folder = mkdtempSync(join(tmpdir(), "gst-wire-probe-"));
    const code = join(folder, "wire-process.mjs");
    const data = join(folder, "store");
    writeFileSync(data, "secret");
    await bundleWireProcess(code);
    appendFileSync(code, PROBE(data));
    const child = launchWireProcess(code, "gst-probe");
    try {
      const probe = await new Promise((resolve, reject) => {
        child.on("message", (message) => {
          if (typeof message === "object" && "probe" in message) resolve(message.probe);
        });
        let text = "";
        child.stderr?.on("data", (part) => {
          text += part;
        });
        child.on("exit", (how) => reject(new Error(`ended with ${how}: ${text}`)));
      });
      expect(probe).toEqual({
        ...{ shadow: "ERR_ACCESS_DENIED", data: "ERR_ACCESS_DENIED" },
        ...{ "own code": "ERR_ACCESS_DENIED", write: "ERR_ACCESS_DENIED" },
        ...{ spawn: "ERR_ACCESS_DENIED", thread: "ERR_ACCESS_DENIED" },
        ...{ root: "EPERM", addon: "ERR_DLOPEN_DISABLED" },
        ...{ out: "ENETUNREACH", host: "ENETUNREACH" },
      });
    } finally {
      child.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("killed in the midst of reports is back, and no report that was answered 200 is lost", async () => {
    const kept = new Set<string>();
    await using scene = await openWireScene({
      health: async (_container, { description = "" }) => {
        await delay(5); // as long as a disk takes
        kept.add(description);
      },
    });
    const promised = new Set<string>();
    let unanswered = 0;
    let isOver = false;
    const post = async (from: string, name: string) => {
      for (let count = 0; !isOver; count += 1) {
        const detail = `${name}-${count}`;
        const answer = await scene.send(from, healthPost(name, "NotReady", detail));
        if (answer.startsWith("HTTP/1.1 200")) promised.add(detail);
        else unanswered += 1;
        await delay(5); // within what it may ask
      }
    };
    const posting = [post(A, "a"), post(A, "a"), post(B, "b"), post(B, "b")];
    await until("reports", () => promised.size > 20);
    for (const round of [1, 2]) {
      await killAndAwaitNext(scene);
      const before = promised.size;
      await until("reports again", () => promised.size > before + 20);
      expect(scene.wire.restarts).toBe(round);
    }
    isOver = true;
    await Promise.all(posting);
    expect([...promised].filter((detail) => !kept.has(detail))).toEqual([]);
    expect(unanswered).toBeLessThanOrEqual(8); // those that were under way
  });

  test("is told everything again: containers, what changed meanwhile, faults", async () => {
    await using scene = await openWireScene();
    const answers = [{ status: 410 }];
    scene.wire.setFault("b", {
      name: "stale",
      rules: [{ endpoint: "goalstate", answers }],
    } as unknown as Parameters<WireScene["wire"]["setFault"]>[1]);
    scene.vnet.setContainer(sharedOf("a", A, 2));
    await killAndAwaitNext(scene);
    scene.vnet.setContainer(sharedOf("a", A, 3));
    expect(await scene.send(A, GOAL_STATE)).toContain("<Incarnation>3</Incarnation>");
    expect(await scene.send(B, GOAL_STATE)).toMatch(/^HTTP\/1.1 410 /);
    scene.vnet.forget("a");
    expect(await scene.send(A, GOAL_STATE)).toMatch(/^HTTP\/1.1 403 /);
  });

  test("is waited for: who connects while none runs is answered by the next", async () => {
    await using scene = await openWireScene();
    process.kill(scene.wire.pid ?? 0, "SIGKILL");
    await until("no wire process", () => scene.wire.pid === undefined || scene.wire.restarts > 0);
    const answers = await Promise.all([A, B, A, B].map((from) => scene.send(from, GOAL_STATE)));
    for (const answer of answers) expect(answer).toContain("<Incarnation>1</Incarnation>");
  });

  test("that crashes in a loop is started ever more rarely, counted, and served again when it is mended", async () => {
    await using scene = await openWireScene();
    const code = readCommand(scene.wire.pid ?? 0).find((word) => /^\/.*\.mjs$/.test(word)) ?? "";
    const right = readFileSync(code);
    writeFileSync(code, "process.exit(3)");
    process.kill(scene.wire.pid ?? 0, "SIGKILL");
    await until("some restarts", () => scene.wire.restarts >= 4);
    writeFileSync(code, right);
    expect(await scene.send(A, GOAL_STATE)).toContain("<Incarnation>1</Incarnation>");
    const ends = scene.log.filter(({ msg }) => String(msg).startsWith("the wire process ended"));
    expect(ends.slice(0, 4).map(({ how, backoffMs }) => [how, backoffMs])).toEqual([
      ["SIGKILL", 0],
      ["3", 100],
      ["3", 200],
      ["3", 400],
    ]);
  });

  test("ends when its node is killed", async () => {
    const folder = mkdtempSync(join(tmpdir(), "gst-wire-parent-"));
    const script = join(import.meta.dirname, "wire-parent.ts");
    const label = `gst-parent-${process.pid}`;
    try {
      await using parent = run([process.execPath, script, label, folder]);
      await parent.says("runs");
      const pid = Number(/wire process (\d+)/.exec(parent.stdout())?.[1]);
      expect(isAlive(pid)).toBe(true);
      parent.kill("SIGKILL");
      await until("its end", () => !listProcesses().some(({ args }) => isWireProcess(args, label)));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("holds few reports that are not kept yet, of each container; others are not held up", async () => {
    const never = Promise.withResolvers<void>();
    await using scene = await openWireScene({
      health: ({ name }) => (name === "a" ? never.promise : Promise.resolve()),
    });
    const posts = Array.from({ length: 20 }, () => scene.send(A, healthPost("a")));
    const early = posts.map((post) => post.then((answer) => answer.slice(0, 12)));
    expect(await scene.send(B, healthPost("b"))).toMatch(/^HTTP\/1.1 200 /);
    await delay(200);
    never.resolve();
    const answers = await Promise.all(early);
    expect(answers.filter((answer) => answer === "HTTP/1.1 200")).toHaveLength(8);
    expect(answers.filter((answer) => answer === "HTTP/1.1 503")).toHaveLength(12);
  });

  test("tells each kind of request with the incarnation that was sent, and answers only what is a guest's own", async () => {
    await using scene = await openWireScene();
    await scene.send(A, GOAL_STATE);
    await until("the contact", () => scene.contacts.length > 0);
    scene.vnet.setContainer(sharedOf("a", A, 2));
    await until("the new one", () => true);
    expect(await scene.send(A, GOAL_STATE)).toContain("<Incarnation>2</Incarnation>");
    await until("the second contact", () => scene.contacts.length > 1);
    expect(scene.contacts).toEqual(["a goalstate 1", "a goalstate 2"]);
    const ofB = get(
      `/machine/${containerIdOf("b")}/x.b?comp=config&type=sharedConfig&incarnation=1`,
      ["x-ms-version: 2012-11-30"],
    );
    expect(await scene.send(A, ofB)).toMatch(/^HTTP\/1.1 410 /);
  });
});

function readCommand(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
}
