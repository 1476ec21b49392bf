import { describe, expect, test } from "vitest";
import { parseStringPromise } from "xml2js";
import {
  parseGoalState,
  parseHostingEnvironment,
  parseOwnEndpoints,
} from "../../src/guestagent/documents.ts";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import {
  goalStateOf,
  hostingEnvironmentOf,
  sharedConfigOf,
} from "../../src/wireserver/documents.ts";
import { extensionsOf, ticksOf } from "../../src/wireserver/extensions/extensions-document.ts";
import {
  renderExtensionsConfig,
  renderManifest,
  renderVmSettings,
} from "../../src/wireserver/extensions/render-extensions.ts";
import {
  renderFullConfig,
  renderGoalState,
  renderHostingEnvironment,
  renderSharedConfig,
  renderVersions,
} from "../../src/wireserver/render-documents.ts";
import { storeUrl } from "../../src/wireserver/wire-urls.ts";
import { CONTAINER, FULL } from "./fixtures.ts";

const AUTHORITY = { address: parseIpv4("168.63.129.16"), port: 80 };
const STOPPED = { ...CONTAINER, expectedState: "Stopped", incarnation: 4 } as const;

const SEALED = new Map([
  ["Lab.Echo", { value: "MIIB", thumbprint: "0123456789ABCDEF0123456789ABCDEF01234567" }],
]);

/** Goldens are written anew by `npx vitest run test/wireserver -u`; review them as code. */
const DOCUMENTS = {
  versions: renderVersions(),
  "goal-state": renderGoalState(goalStateOf(CONTAINER, AUTHORITY, false)),
  "goal-state-stopped": renderGoalState(goalStateOf(STOPPED, AUTHORITY, false)),
  "goal-state-full": renderGoalState(goalStateOf(FULL, AUTHORITY, true)),
  "hosting-environment": renderHostingEnvironment(hostingEnvironmentOf(CONTAINER)),
  "hosting-environment-certificate": renderHostingEnvironment(
    hostingEnvironmentOf(CONTAINER, ["0123456789ABCDEF0123456789ABCDEF01234567", "0".repeat(40)]),
  ),
  "shared-config": renderSharedConfig(sharedConfigOf(CONTAINER)),
  "full-config": renderFullConfig(hostingEnvironmentOf(CONTAINER), sharedConfigOf(CONTAINER)),
  extensions: renderExtensionsConfig(extensionsOf(FULL, AUTHORITY, SEALED)),
  "extensions-none": renderExtensionsConfig(extensionsOf(CONTAINER, AUTHORITY, new Map())),
  manifest: renderManifest(
    FULL.extensions[0]!,
    storeUrl(FULL, AUTHORITY, { kind: "package", extension: FULL.extensions[0]! }),
  ),
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

  test("goalstate's own agent reads what has everything in it", async () => {
    expect(await parseGoalState(DOCUMENTS["goal-state-full"])).toMatchObject({
      incarnation: "3",
      containerId: CONTAINER.containerId,
      instanceId: CONTAINER.instanceId,
    });
    const hosting = await parseHostingEnvironment(DOCUMENTS["hosting-environment-certificate"]);
    expect(hosting.settings.get("GREETING")).toBe(CONTAINER.settings["GREETING"]);
    expect(await parseOwnEndpoints(DOCUMENTS["shared-config"], "web_0")).toHaveLength(1);
  });

  test("goal state: certificates and accounts are named where agents look for them", async () => {
    const { GoalState } = await parseStringPromise(DOCUMENTS["goal-state-full"]);
    const [container] = GoalState.Container;
    expect(container.RemoteAccessInfo[0]).toContain("comp=remoteAccessInfo&incarnation=3");
    const [configuration] = container.RoleInstanceList[0].RoleInstance[0].Configuration;
    expect(configuration.Certificates[0]).toContain("comp=certificates&incarnation=3");
    expect(configuration.ExtensionsConfig[0]).toContain("type=extensionsConfig&incarnation=3");
  });

  test("extensions: what the wire server and the host plugin say is the same", async () => {
    const { Extensions } = await parseStringPromise(DOCUMENTS.extensions);
    const text = renderVmSettings(extensionsOf(FULL, AUTHORITY, SEALED));
    const settings = JSON.parse(text);
    const [metadata] = Extensions.InVMGoalStateMetaData;
    expect(text).toContain(`"extensionsLastModifiedTickCount":${metadata.$.createdOnTicks},`);
    expect(settings.activityId).toBe(metadata.$.activityId);
    expect(settings.correlationId).toBe(metadata.$.correlationId);
    const [blob] = Extensions.StatusUploadBlob;
    expect(settings.statusUploadBlob).toEqual({
      statusBlobType: blob.$.statusBlobType,
      value: blob._,
    });
    expect(settings.gaFamilies).toEqual([]);
    expect(Extensions.GuestAgentExtension[0].GAFamilies).toEqual([""]);
    expect(settings.extensionGoalStates).toHaveLength(3);
    for (const [index, goal] of settings.extensionGoalStates.entries()) {
      const plugin = Extensions.Plugins[0].Plugin[index].$;
      const own = Extensions.PluginSettings[0].Plugin[index];
      expect(own.$).toEqual({ name: goal.name, version: goal.version });
      expect(plugin).toMatchObject({
        name: goal.name,
        version: goal.version,
        state: goal.state,
        location: goal.location,
        failoverlocation: "",
      });
      const [{ _: json, $: attributes }] = own.RuntimeSettings;
      expect(attributes.seqNo).toBe(String(goal.settingsSeqNo));
      const [{ handlerSettings }] = JSON.parse(json).runtimeSettings;
      const [sent] = goal.settings;
      expect(JSON.parse(sent.publicSettings)).toEqual(handlerSettings.publicSettings);
      expect(sent.protectedSettings).toBe(handlerSettings.protectedSettings ?? null);
      expect(sent.protectedSettingsCertThumbprint).toBe(
        handlerSettings.protectedSettingsCertThumbprint ?? null,
      );
      const [depends] = own.DependsOn ?? [];
      expect(goal.dependsOn?.[0].dependencyLevel.toString()).toBe(depends?.$.dependencyLevel);
      expect(
        goal.dependsOn?.[0].dependsOnExtension.map((each: { handler: string }) => each),
      ).toEqual(depends?.DependsOnExtension.map((each: { $: unknown }) => each.$));
    }
  });

  test("extensions: one that waits for another that waits for a third is of level 2", () => {
    const levels = extensionsOf(FULL, AUTHORITY, SEALED).extensions.map(
      ({ name, dependencyLevel }) => [name, dependencyLevel],
    );
    expect(levels).toEqual([
      ["Lab.Echo", 2],
      ["Lab.Other", 1],
      ["Lab.Base", 0],
    ]);
  });

  test("extensions: two that wait for each other have levels all the same", () => {
    const [one, two] = FULL.extensions;
    const extensions = [
      { ...one!, dependsOn: ["lab.other"] },
      { ...two!, dependsOn: ["LAB.ECHO"] },
    ];
    const document = extensionsOf({ ...FULL, extensions }, AUTHORITY, SEALED);
    expect(document.extensions.map((each) => each.dependencyLevel)).toEqual([2, 1]);
  });

  test("ticks are exact: 100 ns since the year 1", () => {
    expect(ticksOf(0)).toBe(621_355_968_000_000_000n);
    expect(ticksOf(Date.UTC(2026, 10, 25))).toBe(639_311_616_000_000_000n);
  });
});
