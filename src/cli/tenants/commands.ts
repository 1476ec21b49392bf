/** Commands about tenants, containers and nodes of a running fabric. */
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { z } from "zod";
import { FabricError } from "../../model/errors.ts";
import { ask, DATA, JSON_OUTPUT, type Look, show } from "../look.ts";
import { readMacArgument } from "../mac-argument.ts";
import { parseSeconds } from "../parse-seconds.ts";
import { renderTable } from "../table.ts";
import { addExtensionCommand, extensionNote } from "./extension-command.ts";
import {
  AcceptedSchema,
  CONTAINER_ACTIONS,
  type ContainerAction,
  type ContainerView,
  ContainerViewsSchema,
  NodeViewsSchema,
  OwnerSchema,
  type OwnerView,
  TenantViewsSchema,
} from "./fabric-control.ts";

const WAIT_SECONDS = 300;
const POLL_MS = 200;

/** What the commands take from their surroundings. */
export interface TenantCommandOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
  readonly warn: (line: string) => void;
  readonly signal: AbortSignal;
}

interface Wait extends Look {
  readonly wait?: boolean;
  readonly timeout: number;
}

const TIMEOUT = ["--timeout <seconds>", "how long to wait", parseSeconds, WAIT_SECONDS] as const;

const ACTION_TEXT: Readonly<Record<ContainerAction, string>> = {
  stop: "stop a container: its agent is asked, then ACPI, then power-off",
  start: "start a container that is stopped, or that was given up",
  restart: "stop a container and start it again",
};
const ACTION_STATE: Readonly<Record<ContainerAction, string>> = {
  stop: "Stopped",
  start: "Ready",
  restart: "Ready",
};

/** Adds the commands. */
export function addTenantCommands(program: Command, options: TenantCommandOptions): void {
  program
    .command("deploy")
    .description("create a tenant, or update the one of this name")
    .argument("<file>", "tenant file: YAML, or .cscfg beside its .csdef")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .option("--wait", "wait until all of its containers are Ready")
    .option(...TIMEOUT)
    .action((file: string, wait: Wait) => deploy(file, wait, options));
  program
    .command("delete")
    .description("delete a tenant: its VMs, its addresses, its networks")
    .argument("<tenant>", "the tenant's name")
    .option(...DATA)
    .option("--wait", "wait until nothing of it is left")
    .option(...TIMEOUT)
    .action((tenant: string, wait: Wait) => deleteTenant(tenant, wait, options));
  for (const action of CONTAINER_ACTIONS) {
    program
      .command(action)
      .description(ACTION_TEXT[action])
      .argument("<container>", "as ps shows it, for example hello.web_0")
      .option(...DATA)
      .option("--wait", `wait until it is ${ACTION_STATE[action]}`)
      .option(...TIMEOUT)
      .action((name: string, wait: Wait) => change(name, action, wait, options));
  }
  const listing = (name: string, description: string, list: typeof ps) =>
    program
      .command(name)
      .description(description)
      .option(...DATA)
      .option(...JSON_OUTPUT)
      .action((look: Look) => list(look, options));
  addExtensionCommand(program, options);
  listing("ps", "the containers of a fabric, and what state each is in", ps);
  listing("nodes", "the nodes of a fabric, with what is used of each", nodes);
  listing("tenants", "the tenants of a fabric, with their public endpoints", tenants);
  program
    .command("mac")
    .description("whose a hardware address is: a tenant's container, a physical host, or nobody's")
    .argument("<mac>", "hardware address", readMacArgument)
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((mac: string, look: Look) => showOwner(mac, look, options));
  program
    .command("why")
    .description("what a container waits for, since when, and who must act")
    .argument("<container>", "as ps shows it, for example hello.web_0")
    .option(...DATA)
    .option(...JSON_OUTPUT)
    .action((name: string, look: Look) => why(name, look, options));
}

async function deploy(file: string, wait: Wait, options: TenantCommandOptions): Promise<void> {
  const { readTenantFile } = await import("../tenant-files/read-tenant-file.ts");
  const { tenant, folder, warnings } = readTenantFile(file);
  const request = { method: "POST", path: "/v1/tenants", body: { tenant, folder } } as const;
  const accepted = await ask(request, AcceptedSchema, wait, options);
  const { kind, containers } = accepted;
  const isQuiet = wait.json === true;
  if (!isQuiet) {
    for (const warning of warnings) options.print(warning);
    const plural = containers.length === 1 ? "" : "s";
    options.print(`${accepted.tenant}: ${kind}, ${containers.length} container${plural}`);
  }
  if (wait.wait === true) {
    await awaitUpdate(accepted.tenant, wait, options);
    await awaitStates(containers, "Ready", wait, options);
    if (!isQuiet) options.print(`${accepted.tenant}: all Ready`);
  }
  if (isQuiet) options.print(JSON.stringify(accepted, undefined, 2));
}

async function deleteTenant(
  tenant: string,
  wait: Wait,
  options: TenantCommandOptions,
): Promise<void> {
  const path = `/v1/tenants/${encodeURIComponent(tenant)}`;
  await ask({ method: "DELETE", path }, z.object({}), wait, options);
  options.print(`${tenant}: is being deleted`);
  if (wait.wait !== true) return;
  const isGone = async () => {
    const views = await ask("/v1/tenants", TenantViewsSchema, wait, options);
    return views.every((view) => view.tenant !== tenant);
  };
  await until(isGone, wait, options, async () => `${tenant} is still being deleted`);
  options.print(`${tenant}: is gone`);
}

async function change(
  container: string,
  action: ContainerAction,
  wait: Wait,
  options: TenantCommandOptions,
): Promise<void> {
  const path = `/v1/containers/${encodeURIComponent(container)}/${action}`;
  await ask({ method: "POST", path }, z.object({}), wait, options);
  if (wait.wait === true) await awaitStates([container], ACTION_STATE[action], wait, options);
}

/** Containers may still be Ready as they were before: an update comes to them domain after domain. */
async function awaitUpdate(
  tenant: string,
  wait: Wait,
  options: TenantCommandOptions,
): Promise<void> {
  let phase = "";
  const isDone = async () => {
    const views = await ask("/v1/tenants", TenantViewsSchema, wait, options);
    phase = views.find((view) => view.tenant === tenant)?.phase ?? "gone";
    return phase === "accepted";
  };
  await until(isDone, wait, options, async () => `${tenant} is ${phase}`);
}

/** @throws FabricError ERR_CONTROL_WAIT naming each container that is not there in time */
async function awaitStates(
  containers: readonly string[],
  state: string,
  wait: Wait,
  options: TenantCommandOptions,
): Promise<void> {
  let missing: readonly ContainerView[] = [];
  let unseen = containers.length;
  const isThere = async () => {
    const views = await ask("/v1/containers", ContainerViewsSchema, wait, options);
    const ours = views.filter(({ container }) => containers.includes(container));
    missing = ours.filter((view) => view.state !== state);
    unseen = containers.length - ours.length;
    return missing.length === 0 && unseen === 0;
  };
  await until(isThere, wait, options, async () => {
    const reasons = missing.map((view) => `${view.container} is ${view.state}: ${view.detail}`);
    if (unseen > 0) reasons.push(`${unseen} containers are not placed yet`);
    return reasons.join("; ");
  });
}

async function until(
  condition: () => Promise<boolean>,
  { timeout }: Wait,
  { signal }: TenantCommandOptions,
  reason: () => Promise<string>,
): Promise<void> {
  const deadlineMs = performance.now() + timeout * 1000;
  while (!(await condition())) {
    if (signal.aborted) throw new FabricError("ERR_CONTROL_WAIT", "Interrupted while waiting");
    if (performance.now() > deadlineMs) {
      throw new FabricError("ERR_CONTROL_WAIT", `Not within ${timeout} s: ${await reason()}`);
    }
    await delay(POLL_MS);
  }
}

async function ps(look: Look, options: TenantCommandOptions): Promise<void> {
  const views = await ask("/v1/containers", ContainerViewsSchema, look, options);
  const rows = views.map((view) => [
    ...[view.container, view.state, view.milestone, view.node || "-", view.address],
    [view.detail, extensionNote(view.extensions)].filter(Boolean).join("; "),
  ]);
  show(
    look,
    options,
    views,
    renderTable([["CONTAINER", "STATE", "MILESTONE", "NODE", "ADDRESS", "DETAIL"], ...rows]),
  );
}

async function nodes(look: Look, options: TenantCommandOptions): Promise<void> {
  const views = await ask("/v1/nodes", NodeViewsSchema, look, options);
  const rows = views.map((view) => [
    view.node,
    view.isLive ? "live" : "gone",
    view.faultDomain,
    `${view.cpus.used}/${view.cpus.total}`,
    `${view.memoryMib.used}/${view.memoryMib.total}`,
    String(view.containers),
    view.hypervisor,
  ]);
  show(
    look,
    options,
    views,
    renderTable([
      ["NODE", "STATE", "FAULT DOMAIN", "CPUS", "MEMORY MIB", "CONTAINERS", "HYPERVISOR"],
      ...rows,
    ]),
  );
  if (look.json === true) return;
  for (const { node, blockedPorts, foreignFirewalls } of views) {
    for (const text of [...blockedPorts, ...foreignFirewalls]) options.print(`${node}: ${text}`);
  }
}

async function tenants(look: Look, options: TenantCommandOptions): Promise<void> {
  const views = await ask("/v1/tenants", TenantViewsSchema, look, options);
  const rows = views.map(({ tenant, phase, ready, instances, endpoints }) => [
    ...[tenant, phase, `${ready}/${instances}`, endpoints.join(", ") || "-"],
  ]);
  show(look, options, views, renderTable([["TENANT", "PHASE", "READY", "ENDPOINTS"], ...rows]));
}

async function showOwner(mac: string, look: Look, options: TenantCommandOptions): Promise<void> {
  const owner = await ask(`/v1/macs/${mac}`, OwnerSchema, look, options);
  options.print(
    look.json === true ? JSON.stringify({ mac, ...owner }) : `${mac} ${ownerText(owner)}`,
  );
}

function ownerText(owner: OwnerView): string {
  switch (owner.owner) {
    case "nobody":
      return "is nobody's: its DHCP requests are not answered";
    case "host":
      return "is a physical host";
    case "tenant": {
      const { container, vnet, address, node } = owner;
      return `is ${container} with ${address} in VNET ${vnet}, ${node === "" ? "on no node" : `on ${node}`}`;
    }
  }
}

async function why(container: string, look: Look, options: TenantCommandOptions): Promise<void> {
  const path = `/v1/containers/${encodeURIComponent(container)}/why`;
  const answer = await ask(path, z.object({ why: z.string() }), look, options);
  options.print(look.json === true ? JSON.stringify(answer) : answer.why);
}
