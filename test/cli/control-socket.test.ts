/** The control socket alone: who may open it, what is left of a killed process, paths that are too long. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { askControl, askControlFor } from "../../src/cli/control/control-client.ts";
import { type ControlRoutes, openControlServer } from "../../src/cli/control/control-server.ts";
import {
  chooseFabricFolder,
  fabricRoutes,
  listRunningFabrics,
} from "../../src/cli/control/running-fabrics.ts";
import { FabricError } from "../../src/model/errors.ts";
import { SOCKET_PATH_BYTES_MAX } from "../../src/net/socket-path.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const log = pino({ level: "silent" });
const INFO = { command: "serve", networks: ["eth0"], pid: 1, version: "0.0.0" };
const isRoot = process.getuid?.() === 0;

const greet: ControlRoutes = (app) => {
  app.get("/v1/greeting", () => ({ text: "hello" }));
  app.get("/v1/usage", () => {
    throw new FabricError("ERR_USAGE_CONTROL", "that is no MAC");
  });
  app.get("/v1/failure", () => {
    throw new Error("broken");
  });
};

function open(folder: string, routes: readonly ControlRoutes[] = [greet]) {
  return openControlServer({ folder, routes, log });
}

/** A folder whose path is `length` octets long, socket name included. */
function longFolder(length: number): string {
  let folder = temporaryFolder("control");
  while (Buffer.byteLength(`${folder}/control.sock`) < length) {
    const missing = length - Buffer.byteLength(`${folder}/control.sock`);
    folder += missing === 1 ? "x" : `/${"x".repeat(Math.min(missing - 1, 100))}`;
  }
  mkdirSync(folder, { recursive: true });
  return folder;
}

describe("the control socket", () => {
  test("answers a client on the same folder, and is open to its owner only", async () => {
    const folder = temporaryFolder("control");
    chmodSync(folder, 0o755);
    await using _server = await open(folder);
    expect(JSON.parse(await askControl(folder, "/v1/greeting"))).toEqual({ text: "hello" });
    expect(statSync(join(folder, "control.sock")).mode & 0o777).toBe(0o600);
  });

  test.skipIf(!isRoot && !process.env["CI"])("refuses another user (needs root)", async () => {
    const folder = temporaryFolder("control");
    chmodSync(folder, 0o755);
    await using _server = await open(folder);
    const script = `require("node:net").connect(${JSON.stringify(join(folder, "control.sock"))})
      .on("connect", () => process.exit(0)).on("error", (e) => { console.log(e.code); process.exit(1); })`;
    const child = spawn(process.execPath, ["-e", script], { uid: 65534, gid: 65534, cwd: "/" });
    let text = "";
    child.stdout.on("data", (part: Buffer) => {
      text += part;
    });
    const [code] = await once(child, "close");
    expect([code, text.trim()]).toEqual([1, "EACCES"]);
  });

  test("takes the place of a socket that a killed process left", async () => {
    const folder = temporaryFolder("control");
    const script = `require("node:net").createServer().listen(${JSON.stringify(join(folder, "control.sock"))},
      () => process.kill(process.pid, "SIGKILL"))`;
    await once(spawn(process.execPath, ["-e", script]), "close");
    expect(existsSync(join(folder, "control.sock"))).toBe(true);
    await expect(askControl(folder, "/v1/greeting")).rejects.toMatchObject({
      code: "ERR_CONTROL_NOT_RUNNING",
    });
    await using _server = await open(folder);
    expect(await askControl(folder, "/v1/greeting")).toContain("hello");
  });

  test("does not delete a file that is no socket", async () => {
    const folder = temporaryFolder("control");
    writeFileSync(join(folder, "control.sock"), "mine");
    await expect(open(folder)).rejects.toMatchObject({ code: "ERR_CONTROL_SOCKET" });
    expect(existsSync(join(folder, "control.sock"))).toBe(true);
  });

  test("is gone after it was closed, also twice", async () => {
    const folder = temporaryFolder("control");
    const server = await open(folder);
    await server[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    expect(existsSync(join(folder, "control.sock"))).toBe(false);
  });

  for (const length of [SOCKET_PATH_BYTES_MAX, SOCKET_PATH_BYTES_MAX + 1, 300]) {
    test(`works where its path is ${length} octets long`, async () => {
      const folder = longFolder(length);
      {
        await using _server = await open(folder);
        expect(await askControl(folder, "/v1/greeting")).toContain("hello");
        expect(statSync(join(folder, "control.sock")).mode & 0o777).toBe(0o600);
      }
      expect(existsSync(join(folder, "control.sock"))).toBe(false);
    });
  }
});

describe("askControl()", () => {
  test("says what to do where no fabric runs, in one line", async () => {
    for (const folder of [temporaryFolder("control"), "/nonexistent/folder", longFolder(200)]) {
      await expect(askControl(folder, "/v1/greeting")).rejects.toMatchObject({
        code: "ERR_CONTROL_NOT_RUNNING",
        isUsage: false,
        message: `No fabric runs on ${folder}; start one with 'goalstate up' or 'goalstate serve', or name its data folder with --data`,
      });
    }
  });

  test("passes on what the fabric refuses", async () => {
    const folder = temporaryFolder("control");
    await using _server = await open(folder);
    const cases = [
      ["/v1/usage", "ERR_USAGE_CONTROL", "that is no MAC"],
      ["/v1/failure", "ERR_CONTROL_REFUSED", "The fabric refused: broken"],
      [
        "/v1/none",
        "ERR_CONTROL_REFUSED",
        "The fabric refused: this fabric serves nothing for GET /v1/none",
      ],
    ] as const;
    for (const [path, code, message] of cases) {
      await expect(askControl(folder, path)).rejects.toMatchObject({ code, message });
    }
  });

  test("says so if a document has another form", async () => {
    const folder = temporaryFolder("control");
    await using _server = await open(folder);
    const schema = z.object({ text: z.string() });
    expect(await askControlFor(folder, "/v1/greeting", schema)).toEqual({ text: "hello" });
    const other = askControlFor(folder, "/v1/greeting", z.object({ other: z.string() }));
    await expect(other).rejects.toMatchObject({
      code: "ERR_CONTROL_REFUSED",
      message: expect.stringContaining("answers in another form"),
    });
  });

  test("fails if what listens there hangs up", async () => {
    const folder = temporaryFolder("control");
    const server = createServer((socket) => socket.destroy());
    onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => server.listen(join(folder, "control.sock"), resolve));
    await expect(askControl(folder, "/v1/greeting")).rejects.toMatchObject({
      code: "ERR_CONTROL_REFUSED",
    });
  });
});

describe("chooseFabricFolder()", () => {
  function stateFolder() {
    const state = temporaryFolder("state");
    const folders = ["serve-eth0", "serve-eth1"].map((name) => join(state, "goalstate", name));
    for (const folder of folders) mkdirSync(folder, { recursive: true });
    return { environment: { XDG_STATE_HOME: state }, folders, parent: join(state, "goalstate") };
  }

  test("takes the folder that is named, whatever runs", async () => {
    expect(await chooseFabricFolder("/some/folder", {})).toBe("/some/folder");
  });

  test("takes the only fabric that runs", async () => {
    const { environment, folders } = stateFolder();
    await using _server = await open(folders[1]!, [fabricRoutes(() => INFO)]);
    expect(await chooseFabricFolder(undefined, environment)).toBe(folders[1]);
    expect(await listRunningFabrics(environment)).toEqual([{ folder: folders[1], info: INFO }]);
  });

  test("lists them where several run", async () => {
    const { environment, folders } = stateFolder();
    await using _one = await open(folders[0]!, [fabricRoutes(() => INFO)]);
    await using _other = await open(folders[1]!, [
      fabricRoutes(() => ({ ...INFO, networks: ["eth1"] })),
    ]);
    await expect(chooseFabricFolder(undefined, environment)).rejects.toMatchObject({
      code: "ERR_USAGE_FABRIC",
      isUsage: true,
      message: `Several fabrics run; choose one with --data: ${folders[0]} (serve eth0), ${folders[1]} (serve eth1)`,
    });
  });

  test("says so where none runs, also where none ever did", async () => {
    const { environment, parent } = stateFolder();
    for (const variables of [environment, { XDG_STATE_HOME: "/nonexistent" }]) {
      await expect(chooseFabricFolder(undefined, variables)).rejects.toMatchObject({
        code: "ERR_CONTROL_NOT_RUNNING",
      });
    }
    await expect(chooseFabricFolder(undefined, environment)).rejects.toThrow(parent);
  });
});
