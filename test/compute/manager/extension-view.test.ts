import { describe, expect, test } from "vitest";
import {
  describeExtensions,
  extensionViews,
  isFailing,
} from "../../../src/compute/manager/extension-view.ts";
import type {
  ContainerGoal,
  ContainerStatus,
  ExtensionGoal,
  ExtensionStatus,
} from "../../../src/model/documents.ts";

const WANTED: ExtensionGoal = {
  ...{ name: "A.Echo", version: "1.0.0", state: "enabled", seqNo: 2, settings: {} },
  ...{ dependsOn: [], package: { sha256: "0".repeat(64), bytes: 1 } },
};
const SAID: ExtensionStatus = {
  ...{ name: "a.echo", version: "1.0.0", handler: "Ready" },
  ...{ status: "success", code: 0, message: "hi", seqNo: 2 },
};

function view(wanted: Partial<ExtensionGoal>, said: Partial<ExtensionStatus> | undefined) {
  const goal = { extensions: [{ ...WANTED, ...wanted }] } as unknown as ContainerGoal;
  const extensions = said === undefined ? [] : [{ ...SAID, ...said }];
  return extensionViews(goal, { extensions } as unknown as ContainerStatus)[0]!;
}

describe("extensionViews()", () => {
  test("shows what is wanted beside what is said, by the name without regard to case", () => {
    expect(view({}, {})).toEqual({
      ...{ name: "A.Echo", version: "1.0.0", state: "enabled", handler: "Ready" },
      ...{ status: "success", code: 0, message: "hi", pending: false },
    });
  });

  test("shows an extension of which nothing is known yet, and none where none is wanted", () => {
    expect(extensionViews({ extensions: [WANTED] } as unknown as ContainerGoal, undefined)).toEqual(
      [
        {
          ...{ name: "A.Echo", version: "1.0.0", state: "enabled", handler: "", status: "" },
          ...{ code: null, message: "", pending: true },
        },
      ],
    );
    expect(extensionViews({} as ContainerGoal, { extensions: [SAID] } as never)).toEqual([]);
  });

  test.each<[string, Partial<ExtensionGoal>, Partial<ExtensionStatus> | undefined, boolean]>([
    ["enabled, of these settings", {}, {}, false],
    ["enabled, of earlier settings", {}, { seqNo: 1 }, true],
    ["enabled, without a number", {}, { seqNo: undefined as never }, true],
    ["enabled, of another version", {}, { version: "0.9" }, true],
    ["enabled, unheard of", {}, undefined, true],
    ["disabled, still Ready", { state: "disabled" }, {}, true],
    ["disabled, not Ready", { state: "disabled" }, { handler: "NotReady", seqNo: 1 }, false],
    ["uninstall, still listed", { state: "uninstall" }, {}, true],
    ["uninstall, not listed", { state: "uninstall" }, undefined, false],
  ])("%s: pending is told", (_name, wanted, said, pending) => {
    expect(view(wanted, said).pending).toBe(pending);
  });
});

describe("what people are told", () => {
  test("is nothing if all is well", () => {
    expect(describeExtensions([])).toBeUndefined();
    expect(describeExtensions([view({}, {})])).toBeUndefined();
  });

  test("is the first failure, but not one of earlier settings", () => {
    const error = { status: "error", code: 7, message: "no route" };
    expect(describeExtensions([view({}, {}), view({}, error)])).toBe(
      "its extension A.Echo failed with 7: no route",
    );
    expect(isFailing(view({}, { ...error, seqNo: 1 }))).toBe(false);
  });

  test("is who is waited for, with what its handler says", () => {
    const views = [view({}, undefined), view({}, { seqNo: 1, handler: "Installing" })];
    expect(describeExtensions(views)).toBe(
      "its agent has still to report on A.Echo, A.Echo (Installing: hi)",
    );
  });
});
