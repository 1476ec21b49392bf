import { describe, expect, test } from "vitest";
import { boundReport } from "../../../src/compute/agent/agent-report.ts";
import { CONTAINER, startContainer } from "./agent-fixture.ts";
import { settle } from "./simulated-machine.ts";

const ECHO = {
  ...{ name: "A.Echo", version: "1.0.0", handler: "Ready" },
  ...{ status: "success", code: 0, message: "hi", seqNo: 0 },
};
const REPORT = { version: "2.7.3", status: "Ready", message: "runs", extensions: [ECHO] };

describe("what an agent uploads", () => {
  test("is in the status, is written only when it changes, and survives the node's agent", async () => {
    const { agent, status, store, pass, end, startAgent } = await startContainer();
    await agent.reportHealth(CONTAINER, { state: "Ready" });
    await agent.reportAgent(CONTAINER, REPORT);
    const { extensions, ...said } = REPORT;
    expect(await status()).toMatchObject({ state: "Ready", agent: said, extensions });
    const { rev } = await store.status();
    for (let upload = 0; upload < 5; upload++) {
      await pass(6_000);
      agent.heard(CONTAINER);
      await agent.reportAgent(CONTAINER, structuredClone(REPORT));
    }
    expect((await store.status()).rev).toBe(rev);
    await agent.reportAgent(CONTAINER, { ...REPORT, extensions: [{ ...ECHO, seqNo: 1 }] });
    expect(await status()).toMatchObject({ extensions: [{ seqNo: 1 }] });
    await end();
    startAgent();
    await settle();
    expect(await status()).toMatchObject({
      state: "Ready",
      agent: said,
      extensions: [{ seqNo: 1 }],
    });
  });

  test("is not carried over to another VM of the container", async () => {
    const { agent, status, fabric } = await startContainer();
    await agent.reportAgent(CONTAINER, REPORT);
    await fabric.put(CONTAINER, { attempt: 2 });
    await settle();
    expect(await status()).toMatchObject({ attempt: 2 });
    expect(await status()).not.toHaveProperty("agent");
    expect(await status()).not.toHaveProperty("extensions");
  });

  test("takes Ready back, and gives it again; before Ready it changes no state", async () => {
    const { agent, status } = await startContainer();
    const notReady = { ...REPORT, status: "NotReady", message: "no disk" };
    await agent.leased(CONTAINER);
    await agent.reportAgent(CONTAINER, notReady);
    expect((await status())?.state).toBe("AwaitingAgent");
    await agent.reportAgent(CONTAINER, REPORT);
    await agent.reportHealth(CONTAINER, { state: "Ready" });
    await agent.reportAgent(CONTAINER, notReady);
    expect(await status()).toMatchObject({
      ...{ state: "Busy", detail: "its agent uploads NotReady: no disk" },
    });
    await agent.reportAgent(CONTAINER, REPORT);
    expect((await status())?.state).toBe("Ready");
  });

  test("of a container that is not here is nobody's", async () => {
    const { agent } = await startContainer();
    await expect(agent.reportAgent("lab.none_0", REPORT)).resolves.toBeUndefined();
  });
});

describe("boundReport()", () => {
  test("keeps 64 extensions, 1,024 characters of a message and 128 of a word", () => {
    const long = { ...ECHO, name: "n".repeat(500), message: "m".repeat(5_000) };
    const { agent, extensions } = boundReport({
      ...{ version: "v".repeat(500), status: "s".repeat(500), message: "x".repeat(5_000) },
      extensions: Array.from({ length: 100 }, () => long),
    });
    expect(extensions).toHaveLength(64);
    expect(extensions[0]).toMatchObject({ name: "n".repeat(128), message: "m".repeat(1024) });
    expect([agent.version, agent.status, agent.message].map((text) => text?.length)).toEqual([
      ...[128, 128, 1024],
    ]);
  });

  test("makes one line of a message that a terminal shows as it is", () => {
    const message = "a\r\n\tb\u001b[2Jc\u202ed\ud800";
    const { extensions } = boundReport({ ...REPORT, extensions: [{ ...ECHO, message }] });
    expect(extensions[0]?.message).toBe("a b [2Jc d\ufffd");
  });

  test("leaves out what was not said, and what it does not know", () => {
    const bare = { name: "A.B", version: "1", handler: "Installing", more: "x" };
    const report = { version: "2", status: "Ready", extensions: [bare] };
    expect(boundReport(report)).toEqual({
      agent: { version: "2", status: "Ready" },
      extensions: [{ name: "A.B", version: "1", handler: "Installing" }],
    });
  });
});
