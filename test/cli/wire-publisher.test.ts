import { expect, test } from "vitest";
import { publishContainers } from "../../src/cli/fabric/wire-publisher.ts";
import type { ContainerGoal } from "../../src/model/documents.ts";
import { type Ipv4Address, parseIpv4 } from "../../src/model/ipv4-address.ts";
import type { BindingChange } from "../../src/nm/agent/node-vnet.ts";

const ADDRESS = parseIpv4("10.20.0.4");
const GOAL = {
  ...{ container: "t.web_0", tenant: "t", role: "web", instance: "web_0", hostname: "web-0" },
  ...{ containerId: "c", deploymentId: "d", incarnation: 1, expectedState: "Started" },
  ...{ address: "10.20.0.4", mac: "06:00:00:00:00:01", endpoints: [], settings: {} },
} as unknown as ContainerGoal;

function open() {
  const goals = new Map<string, ContainerGoal>();
  const told: string[] = [];
  let bind: BindingChange = () => undefined;
  let onGoal: (container: string) => void = () => undefined;
  const nothing = { [Symbol.dispose]: () => undefined };
  const publisher = publishContainers({
    vnet: {
      goal: { addressSpace: "10.20.0.0/24" } as never,
      watchContainers: (onChange) => {
        bind = onChange;
        return nothing;
      },
    },
    goals: {
      findGoal: (container) => goals.get(container),
      watchGoals: (onChange) => {
        onGoal = onChange;
        return nothing;
      },
    },
    directory: { listInstances: () => [], watch: () => nothing },
    wire: {
      setInstances: (instances) => told.push(`${instances.length} instances`),
      setContainer: ({ container }) => told.push(`${container.name} ${container.incarnation}`),
      forget: (name) => told.push(`no ${name}`),
    },
  });
  const set = (name: string, goal: ContainerGoal | undefined) => {
    if (goal === undefined) goals.delete(name);
    else goals.set(name, goal);
    onGoal(name);
  };
  return {
    ...{ told, set, publisher },
    bind: (address: Ipv4Address, name: string | undefined) => bind(address, name),
    turn: () => new Promise((resolve) => setImmediate(resolve)),
  };
}

test("a container is told when its port is open, and again only when its goal is another", async () => {
  const { told, set, bind, turn } = open();
  set("t.web_0", GOAL);
  await turn();
  expect(told).toEqual(["0 instances"]);
  bind(ADDRESS, "t.web_0");
  await turn();
  set("t.web_0", { ...GOAL }); // read anew, and the same
  await turn();
  set("t.web_0", { ...GOAL, incarnation: 2 });
  set("t.web_0", { ...GOAL, incarnation: 3 });
  await turn();
  expect(told.slice(1)).toEqual(["t.web_0 1", "t.web_0 3"]);
});

test("one whose port is closed, or whose goal is gone, is told no more; its address may be another's", async () => {
  const { told, set, bind, turn } = open();
  set("t.web_0", GOAL);
  bind(ADDRESS, "t.web_0");
  await turn();
  set("t.web_1", { ...GOAL, container: "t.web_1", instance: "web_1" });
  bind(ADDRESS, undefined);
  bind(ADDRESS, "t.web_1");
  await turn();
  expect(told.slice(1)).toEqual(["t.web_0 1", "no t.web_0", "t.web_1 1"]);
  set("t.web_1", undefined);
  await turn();
  expect(told.at(-1)).toBe("no t.web_1");
});

test("a goal with another address than that of the port is not shown to whoever has the port's", async () => {
  const { told, set, bind, turn } = open();
  set("t.web_0", { ...GOAL, address: "10.20.0.9" });
  bind(ADDRESS, "t.web_0");
  await turn();
  expect(told).toEqual(["0 instances"]);
});
