import { describe, expect, test } from "vitest";
import { parseStringPromise } from "xml2js";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import {
  goalStateOf,
  hostingEnvironmentOf,
  sharedConfigOf,
} from "../../src/wireserver/documents.ts";
import {
  renderFullConfig,
  renderGoalState,
  renderHostingEnvironment,
  renderSharedConfig,
  renderVersions,
} from "../../src/wireserver/render-documents.ts";
import { CONTAINER } from "./fixtures.ts";

const AUTHORITY = { address: parseIpv4("168.63.129.16"), port: 80 };
const STOPPED = { ...CONTAINER, expectedState: "Stopped", incarnation: 4 } as const;

/** Goldens are written anew by `npx vitest run test/wireserver -u`; review them as code. */
const DOCUMENTS = {
  versions: renderVersions(),
  "goal-state": renderGoalState(goalStateOf(CONTAINER, AUTHORITY)),
  "goal-state-stopped": renderGoalState(goalStateOf(STOPPED, AUTHORITY)),
  "hosting-environment": renderHostingEnvironment(hostingEnvironmentOf(CONTAINER)),
  "shared-config": renderSharedConfig(sharedConfigOf(CONTAINER)),
  "full-config": renderFullConfig(hostingEnvironmentOf(CONTAINER), sharedConfigOf(CONTAINER)),
};

describe("wire documents", () => {
  for (const [name, document] of Object.entries(DOCUMENTS)) {
    test(`${name} is as in its golden file, and well-formed`, async () => {
      await expect(document).toMatchFileSnapshot(`golden/${name}.xml`);
      expect(await parseStringPromise(document)).toBeTypeOf("object");
      expect(document).not.toContain("CDATA");
    });
  }

  test("versions: both are under Supported, the newer one is preferred", async () => {
    const { Versions } = await parseStringPromise(DOCUMENTS.versions);
    expect(Versions.Preferred[0].Version).toEqual(["2015-04-05"]);
    expect(Versions.Supported[0].Version).toEqual(["2015-04-05", "2012-11-30"]);
  });

  test("goal state: every element is where its strictest reader looks for it", async () => {
    const { GoalState } = await parseStringPromise(DOCUMENTS["goal-state"]);
    expect(GoalState.Version).toEqual(["2012-11-30"]);
    expect(GoalState.Incarnation).toEqual(["3"]);
    expect(GoalState.Machine[0].ExpectedState).toEqual(["Started"]);
    expect(GoalState.Machine[0].StopRolesDeadlineHint).toEqual(["300000"]);
    expect(GoalState.Container[0].ContainerId).toEqual([CONTAINER.containerId]);
    const [instance] = GoalState.Container[0].RoleInstanceList[0].RoleInstance;
    expect(instance.InstanceId).toEqual([CONTAINER.instanceId]);
    expect(instance.State).toEqual(["Started"]);
    expect(instance.Configuration[0].HostingEnvironmentConfig).toEqual([
      `http://168.63.129.16:80/machine/${CONTAINER.containerId}/${CONTAINER.instanceId}` +
        "?comp=config&type=hostingEnvironmentConfig&incarnation=3",
    ]);
    expect(instance.Configuration[0].ConfigName[0].split(".")[0]).toBe(CONTAINER.deployment.guid);
  });

  test("shared config: the own instance is among the instances, each with InputEndpoints", async () => {
    const { SharedConfig } = await parseStringPromise(DOCUMENTS["shared-config"]);
    const own = SharedConfig.Incarnation[0].$.instance;
    const instances = SharedConfig.Instances[0].Instance;
    expect(instances.map((each: { $: { id: string } }) => each.$.id)).toContain(own);
    for (const each of instances) expect(each).toHaveProperty("InputEndpoints");
    expect(instances[0].InputEndpoints[0].Endpoint[0].$).toEqual({
      name: "http",
      address: "10.20.0.4:8080",
      protocol: "http",
      isPublic: "false",
    });
  });

  test("hosting environment: settings come back exactly", async () => {
    const parsed = await parseStringPromise(DOCUMENTS["hosting-environment"]);
    const list = parsed.HostingEnvironmentConfig.ApplicationSettings[0].Setting;
    expect(list.map((each: { $: unknown }) => each.$)).toEqual([
      { name: "EMPTY", value: "" },
      { name: "GREETING", value: CONTAINER.settings["GREETING"] },
    ]);
  });
});
