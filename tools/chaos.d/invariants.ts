/** What must hold: pure functions from what is wanted and what there is to what is wrong, in words. */
import {
  asDocument,
  type ContainerGoal,
  type ContainerStatus,
  keys,
  type NicGoal,
  type TenantRecord,
  type VipGoal,
} from "../../src/model/documents.ts";
import { containersOf, type Wanted } from "./intent.ts";
import type { World } from "./world.ts";

/** What may never be, not even for a moment. */
export function findDanger({ documents, guests }: World): string[] {
  const nics = nicsOf(documents);
  return [
    ...twins(nics.map(({ vnet, address }) => `${address} in ${vnet}`)).map(
      (twin) => `address given twice: ${twin}`,
    ),
    ...twins(nics.map(({ mac }) => mac)).map((twin) => `MAC given twice: ${twin}`),
    ...twins(guests.map(({ name }) => name)).map((twin) => `two VMs on one node: ${twin}`),
  ];
}

/** What must not be once the fabric has come to rest. */
export function findFaults(wanted: readonly Wanted[], world: World): string[] {
  return [
    ...findDanger(world),
    ...findTenantFaults(wanted, world),
    ...findContainerFaults(wanted, world),
    ...findNetworkFaults(world),
    ...findKeyFaults(world),
    ...findMachineFaults(world),
    ...findPortFaults(world),
  ];
}

function findTenantFaults(wanted: readonly Wanted[], { documents }: World): string[] {
  const records = valuesOf<TenantRecord>(documents, /^\/tenants\/[^/]+$/);
  const faults = compareSets(
    "tenant",
    wanted.map(({ tenant }) => tenant),
    records.map(({ tenant }) => tenant),
  );
  for (const { tenant, phase, pending, rollout } of records) {
    if (phase !== "accepted") faults.push(`tenant ${tenant} is ${phase}`);
    if (pending !== undefined) faults.push(`tenant ${tenant} has a pending update`);
    if (rollout !== undefined)
      faults.push(`tenant ${tenant} is updated: ${JSON.stringify(rollout)}`);
  }
  return faults;
}

function findContainerFaults(wanted: readonly Wanted[], world: World): string[] {
  const { documents, guests } = world;
  const goals = goalsOf(documents);
  const stopped = new Set(wanted.flatMap((tenant) => [...tenant.stopped]));
  const faults = compareSets(
    "container",
    wanted.flatMap(containersOf),
    goals.map(({ container }) => container),
  );
  const running: string[] = [];
  for (const goal of goals) {
    const { container, expectedState, node, attempt } = goal;
    const isStopped = stopped.has(container);
    if (expectedState !== (isStopped ? "Stopped" : "Started")) {
      faults.push(`${container} is wanted ${expectedState}`);
    }
    const number = wanted.find(({ tenant }) => tenant === goal.tenant)?.settings;
    const expected = String(number?.[goal.role as "web" | "back"]);
    if (goal.settings["NUMBER"] !== expected) {
      faults.push(`${container} has settings ${goal.settings["NUMBER"]}, not ${expected}`);
    }
    const status = documents.get(keys.containerStatus(container));
    const { state, ...own } = asDocument<Partial<ContainerStatus>>(status ?? {});
    if (
      state !== (isStopped ? "Stopped" : "Ready") ||
      own.node !== node ||
      own.attempt !== attempt
    ) {
      const told = `${state} (${own.node}, attempt ${own.attempt}: ${own.detail})`;
      const { recovery } = goal;
      faults.push(
        `${container} on ${node}, attempt ${attempt}, is ${told}, recovery ${JSON.stringify(recovery)}`,
      );
    }
    if (!isStopped) running.push(`${node}-${container} attempt ${attempt} at ${goal.address}/24`);
  }
  const found = guests.map(
    ({ name, attempt, addresses }) => `${name} attempt ${attempt} at ${addresses.join(", ")}`,
  );
  return [...faults, ...compareSets("VM", running, found)];
}

function findNetworkFaults({ documents }: World): string[] {
  const goals = goalsOf(documents);
  const nics = nicsOf(documents);
  const text = (parts: { vnet: string; mac: string; address: string; node: string }) =>
    `${parts.vnet} ${parts.mac} ${parts.address} on ${parts.node}`;
  const claims = [...documents.keys()].filter((key) => key.startsWith("/macs/"));
  return [
    ...compareSets("NIC", goals.map(text), nics.map(text)),
    ...compareSets(
      "MAC claim",
      nics.map(({ mac }) => keys.mac(mac)),
      claims,
    ),
    ...compareSets(
      "VNET goal",
      [...new Set(nics.map(({ vnet }) => keys.vnet(vnet)))],
      [...documents.keys()].filter((key) => /^\/vnets\/[^/]+\/goal$/.test(key)),
    ),
  ];
}

function findKeyFaults({ documents }: World): string[] {
  const goals = goalsOf(documents);
  const nics = nicsOf(documents);
  const all = [...documents.keys()];
  const known = new Set(goals.map(({ container }) => container));
  const traced = new Set(
    all.filter((key) => key.startsWith("/trace/")).map((key) => key.split("/")[2] ?? ""),
  );
  return [
    ...compareSets(
      "placement",
      goals.map(({ node, container }) => keys.placement(node, container)),
      all.filter((key) => /^\/on\/[^/]+\/containers\//.test(key)),
    ),
    ...compareSets(
      "NIC status",
      nics.map(({ node, mac }) => keys.nicStatus(node, mac)),
      all.filter((key) => /^\/on\/[^/]+\/nics\//.test(key)),
    ),
    ...compareSets(
      "VIP on a node",
      valuesOf<VipGoal>(documents, /^\/vips\//).map(({ vip, node }) => keys.vipOnNode(node, vip)),
      all.filter((key) => /^\/on\/[^/]+\/vips\//.test(key)),
    ),
    ...all
      .filter((key) => /^\/containers\/[^/]+\/status$/.test(key))
      .filter((key) => !known.has(key.split("/")[2] ?? ""))
      .map((key) => `left over: ${key}`),
    ...[...traced].filter((name) => !known.has(name)).map((name) => `left over: trace of ${name}`),
  ];
}

function findMachineFaults({ documents, guests, namespaces, ports, folders }: World): string[] {
  const goals = goalsOf(documents);
  const nics = nicsOf(documents);
  const vnets = new Set(nics.map(({ node, vnet }) => `${node}-${vnet}`));
  const nodes = new Set(
    [...documents.keys()].flatMap((key) => /^\/nodes\/(.+)$/.exec(key)?.[1] ?? []),
  );
  const own = new Set([...vnets, ...nodes, "underlay", ...guests.map(({ name }) => name)]);
  return [
    ...namespaces.filter((name) => !own.has(name)).map((name) => `left over: namespace ${name}`),
    ...[...vnets].filter((name) => !ports.has(name)).map((name) => `missing: namespace ${name}`),
    ...folders
      .filter((path) => goals.every(({ node, container }) => path !== `${node}/${container}`))
      .map((path) => `left over: folder ${path}`),
  ];
}

/** A port is open if, and only if, a NIC is meant to be there and runs. */
function findPortFaults({ documents, ports, guests }: World): string[] {
  const names = new Set(guests.map(({ name }) => name));
  const goals = new Map(goalsOf(documents).map((goal) => [goal.container, goal]));
  const open = nicsOf(documents).flatMap(({ node, vnet, container }) => {
    if (!names.has(`${node}-${container}`) || !goals.has(container)) return [];
    const status = asDocument<Partial<ContainerStatus>>(
      documents.get(keys.containerStatus(container)) ?? {},
    );
    return [`${node}-${vnet} ${status.port}`];
  });
  const all = [...ports].flatMap(([name, found]) => found.map((port) => ({ ...port, name, port })));
  return [
    ...compareSets(
      "open port",
      open,
      all.filter(({ isOpen }) => isOpen).map(({ name, port }) => `${name} ${port.name}`),
    ),
    ...compareSets(
      "port in the filter",
      open,
      all.filter(({ isListed }) => isListed).map(({ name, port }) => `${name} ${port.name}`),
    ),
  ];
}

function goalsOf(documents: World["documents"]): ContainerGoal[] {
  return valuesOf<ContainerGoal>(documents, /^\/containers\/[^/]+\/goal$/);
}

function nicsOf(documents: World["documents"]): NicGoal[] {
  return valuesOf<NicGoal>(documents, /^\/vnets\/[^/]+\/nics\//);
}

function valuesOf<T>(documents: World["documents"], pattern: RegExp): T[] {
  return [...documents]
    .filter(([key]) => pattern.test(key))
    .map(([, value]) => asDocument<T>(value));
}

function twins(items: readonly string[]): string[] {
  return items.filter((item, index) => items.indexOf(item) !== index);
}

function compareSets(what: string, wanted: readonly string[], found: readonly string[]): string[] {
  return [
    ...wanted.filter((item) => !found.includes(item)).map((item) => `missing: ${what} ${item}`),
    ...found.filter((item) => !wanted.includes(item)).map((item) => `left over: ${what} ${item}`),
    ...twins(found).map((item) => `twice: ${what} ${item}`),
  ];
}
