import { describe, expect, test } from "vitest";
import {
  describedGuest,
  nextExtensions,
  type WantedExtension,
  withoutGoneExtensions,
} from "../../../src/compute/manager/guest-goals.ts";
import type { ContainerGoal, ContainerStatus } from "../../../src/model/documents.ts";
import type { RoleDescription } from "../../../src/model/tenant.ts";

const ECHO: WantedExtension = {
  ...{ name: "A.Echo", version: "1.0.0", state: "enabled", settings: { text: "a" } },
  ...{ dependsOn: [], package: { sha256: "0".repeat(64), bytes: 10 } },
};
const OTHER = { ...ECHO, name: "A.Other" };

describe("nextExtensions()", () => {
  test("numbers settings from 0", () => {
    expect(nextExtensions(undefined, [ECHO])).toEqual([{ ...ECHO, seqNo: 0 }]);
  });

  test.each([
    ["settings", { settings: { text: "b" } }],
    ["protected settings", { protectedSettings: { secret: "b" } }],
    ["state", { state: "disabled" as const }],
    ["version", { version: "1.0.1" }],
    ["package", { package: { sha256: "1".repeat(64), bytes: 10 } }],
  ])("counts a change of the %s, of this extension alone", (_name, change) => {
    const before = nextExtensions([], [ECHO, OTHER]);
    const after = nextExtensions(before, [{ ...ECHO, ...change }, OTHER]);
    expect(after.map(({ seqNo }) => seqNo)).toEqual([1, 0]);
    expect(nextExtensions(after, [ECHO, OTHER]).map(({ seqNo }) => seqNo)).toEqual([2, 0]);
  });

  test("counts nothing where nothing changes", () => {
    const before = nextExtensions([], [ECHO, OTHER]);
    expect(nextExtensions(before, [ECHO, OTHER])).toEqual(before);
  });

  test("keeps one that is not wanted any more as uninstall, without its secrets", () => {
    const secret = { ...ECHO, protectedSettings: { key: "k" }, dependsOn: ["A.Other"] };
    const before = nextExtensions([], [secret, OTHER]);
    const [other, leaving] = nextExtensions(before, [OTHER]);
    expect(other).toEqual({ ...OTHER, seqNo: 0 });
    expect(leaving).toEqual({ ...ECHO, state: "uninstall", settings: {}, seqNo: 1 });
    expect(nextExtensions([other!, leaving!], [OTHER])).toEqual([other, leaving]);
  });

  test("goes on counting when one that is leaving is wanted again", () => {
    const leaving = nextExtensions(nextExtensions([], [ECHO]), []);
    expect(nextExtensions(leaving, [ECHO])).toEqual([{ ...ECHO, seqNo: 2 }]);
  });
});

describe("withoutGoneExtensions()", () => {
  const role = (...extensions: readonly WantedExtension[]) =>
    ({ extensions }) as unknown as RoleDescription;
  const goal = (extensions: ContainerGoal["extensions"]) =>
    ({ attempt: 1, incarnation: 3, extensions, extensionsChangedMs: 5 }) as ContainerGoal;
  const leaving = nextExtensions(nextExtensions([], [ECHO, OTHER]), [OTHER]);
  const reported = { name: "A.Echo", version: "1.0.0", handler: "Ready" };
  const status = {
    ...{ attempt: 1, fetchedIncarnation: 3, agent: { version: "2", status: "Ready" } },
    extensions: [{ ...reported, name: "A.Other" }],
  } as unknown as ContainerStatus;

  test("forgets one that is leaving once the agent does not list it", () => {
    const other = [{ ...OTHER, seqNo: 0 }];
    expect(withoutGoneExtensions(goal(leaving), role(OTHER), status)).toEqual(goal(other));
    const alone = nextExtensions(nextExtensions([], [ECHO]), []);
    const rest = withoutGoneExtensions(goal(alone), role(), status);
    expect(rest).toEqual({ attempt: 1, incarnation: 3, extensionsChangedMs: 5 });
  });

  test.each([
    ["the agent lists it", { extensions: [{ ...reported, name: "a.echo" }] }],
    ["the agent has not seen the goal", { fetchedIncarnation: 2 }],
    ["the status is of an earlier VM", { attempt: 0 }],
    ["the agent said nothing of itself", { agent: undefined }],
  ])("keeps it while %s", (_name, change) => {
    const other = { ...status, ...change } as ContainerStatus;
    expect(withoutGoneExtensions(goal(leaving), role(OTHER), other)).toBeUndefined();
  });

  test("keeps one that is described as uninstall, and whatever is wanted", () => {
    const uninstall = { ...ECHO, state: "uninstall" as const };
    const extensions = nextExtensions([], [uninstall, OTHER]);
    const none = { ...status, extensions: [] };
    expect(withoutGoneExtensions(goal(extensions), role(uninstall, OTHER), none)).toBeUndefined();
  });
});

test("a description that an earlier version stored asks for nothing", () => {
  expect(
    describedGuest({ name: "web", certificates: [] } as unknown as RoleDescription, {}),
  ).toEqual({});
});
