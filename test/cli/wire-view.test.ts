import { expect, test } from "vitest";
import { wireContainerOf } from "../../src/cli/wire-view.ts";
import type { ContainerGoal } from "../../src/model/documents.ts";

const GOAL: ContainerGoal = {
  ...{ container: "hello.web_0", tenant: "hello", role: "web", instance: "web_0", kind: "iaas" },
  containerId: "5b0c3c52-7f10-4c0e-9d67-2f4c1d0b7a11",
  deploymentId: "9f6f2a8e-0d4b-4f0e-8a44-1be0c2f4d9aa",
  ...{ node: "node-0", revision: 1, attempt: 1, boot: 1, incarnation: 3 },
  expectedState: "Started",
  ...{ cpus: 1, memoryMib: 256, endpoints: [], settings: {} },
  ...{ vnet: "hello.net", mac: "00:15:5d:0a:0b:0c", address: "10.20.0.4", hostname: "web-0" },
  recovery: { retries: 0, moves: 0, failedNodes: [] },
};

test("a goal without a configuration for its guest shows none", () => {
  const view = wireContainerOf(GOAL, [GOAL]);
  for (const name of ["provisioning", "extensions", "users", "fastTrack", "statusBlobType"]) {
    expect(view).not.toHaveProperty(name);
  }
});

test("user, extensions and accounts of a goal are shown, with the guest's host name", () => {
  const provisioning = { adminUsername: "me", sshKeys: ["ssh-ed25519 AAAA me"], guestAgent: true };
  const users = [{ name: "jit", password: "secret-1", expires: "2030-01-01T00:00:00Z" }];
  const view = wireContainerOf(
    {
      ...{ ...GOAL, provisioning, users, extensions: [], extensionsChangedMs: 5 },
      agent: { fastTrack: true, statusBlob: "page" },
    },
    [GOAL],
  );
  expect(view).toMatchObject({
    provisioning: { ...provisioning, hostName: "web-0" },
    ...{ users, extensions: [], extensionsChangedMs: 5 },
    ...{ fastTrack: true, statusBlobType: "PageBlob" },
  });
});
