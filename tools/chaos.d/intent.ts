/** What the operations of a run asked for and were told is accepted: what the fabric must come to. */
import type { Random } from "../fuzz.d/random.ts";

const TENANTS = ["t0", "t1", "t2"];
/** All tenants have the same: each VNET is a world of its own. */
const ADDRESS_SPACE = "10.50.0.0/24";
const WEB_MAX = 3;

/** A tenant that must be there. */
export interface Wanted {
  readonly tenant: string;
  /** Of the roles `web` and `back`. */
  readonly instances: { readonly web: number; readonly back: number };
  /** Grows with each change of a role's settings. */
  readonly settings: { readonly web: number; readonly back: number };
  /** Containers that were stopped. */
  readonly stopped: ReadonlySet<string>;
}

/** What is asked of the fabric, and what is wanted once it was accepted. */
export interface Step {
  readonly text: string;
  readonly request: Request | undefined;
  readonly next: readonly Wanted[];
  /** Containers that it may restart. */
  readonly disturbs: readonly string[];
}

export type Request =
  | { readonly kind: "deploy"; readonly wanted: Wanted }
  | { readonly kind: "delete"; readonly tenant: string }
  | { readonly kind: "stop" | "start" | "restart"; readonly container: string };

/** The containers that a tenant must have. */
export function containersOf({ tenant, instances }: Wanted): string[] {
  const names = (role: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${tenant}.${role}_${index}`);
  return [...names("web", instances.web), ...names("back", instances.back)];
}

/** The document that is submitted. */
export function describe({ tenant, instances, settings }: Wanted, app: string): unknown {
  return {
    tenant,
    vnet: { name: "net", addressSpace: ADDRESS_SPACE },
    recovery: {
      ...{ retries: 100, moves: 100, backoffSeconds: 0.1, backoffMaxSeconds: 0.3 },
      ...{ stableSeconds: 1, readySeconds: 40, silenceSeconds: 40 },
    },
    stop: { agentSeconds: 0, acpiSeconds: 2 },
    update: { domains: 2, readySeconds: 60 },
    roles: [
      {
        ...{ name: "web", instances: instances.web, app },
        size: { cpus: 1, memoryMib: 128 },
        endpoints: [{ name: "echo", protocol: "udp", port: 7000, public: 7000 }],
        settings: { NUMBER: String(settings.web) },
      },
      {
        ...{ name: "back", instances: instances.back, app },
        size: { cpus: 1, memoryMib: 128 },
        settings: { NUMBER: String(settings.back) },
        recovery: { retries: 0 }, // a failure moves it
      },
    ],
  };
}

const FIRST: Omit<Wanted, "tenant"> = {
  instances: { web: 2, back: 1 },
  settings: { web: 1, back: 1 },
  stopped: new Set(),
};

/** The next step of a run. */
export function chooseStep(random: Random, now: readonly Wanted[]): Step {
  const absent = TENANTS.filter((name) => now.every(({ tenant }) => tenant !== name));
  const roll = random.below(100);
  if (now.length === 0 || (roll < 14 && absent.length > 0)) return deploy(random.pick(absent), now);
  const wanted = random.pick(now);
  if (roll < 26) return drop(wanted, now);
  if (roll < 34) return changeSettings(wanted, random.once(2) ? "web" : "back", now);
  if (roll < 52) return scale(wanted, 1 + random.below(WEB_MAX), now);
  if (roll < 85) return changeContainer(random, wanted, now);
  return { text: "nothing", request: undefined, next: now, disturbs: [] };
}

function deploy(tenant: string, now: readonly Wanted[]): Step {
  const wanted = { tenant, ...FIRST };
  return {
    text: `deploy ${tenant}`,
    request: { kind: "deploy", wanted },
    next: [...now, wanted],
    disturbs: containersOf(wanted),
  };
}

function drop(wanted: Wanted, now: readonly Wanted[]): Step {
  const { tenant } = wanted;
  return {
    text: `delete ${tenant}`,
    request: { kind: "delete", tenant },
    next: now.filter((other) => other !== wanted),
    disturbs: containersOf(wanted),
  };
}

function changeSettings(wanted: Wanted, role: "web" | "back", now: readonly Wanted[]): Step {
  const settings = { ...wanted.settings, [role]: wanted.settings[role] + 1 };
  const names = containersOf(wanted).filter((name) => name.includes(`.${role}_`));
  return update(
    `settings of ${wanted.tenant}.${role}`,
    wanted,
    { ...wanted, settings },
    names,
    now,
  );
}

function scale(wanted: Wanted, web: number, now: readonly Wanted[]): Step {
  const next = { ...wanted, instances: { ...wanted.instances, web } };
  const names = new Set(containersOf(next));
  const stopped = new Set([...wanted.stopped].filter((name) => names.has(name)));
  const gone = containersOf(wanted).filter((name) => !names.has(name));
  const text = `${wanted.tenant}.web: ${wanted.instances.web} -> ${web}`;
  return update(text, wanted, { ...next, stopped }, gone, now);
}

function update(
  text: string,
  wanted: Wanted,
  next: Wanted,
  disturbs: readonly string[],
  now: readonly Wanted[],
): Step {
  const request = { kind: "deploy", wanted: next } as const;
  return { text, request, next: replace(now, wanted, next), disturbs };
}

function changeContainer(random: Random, wanted: Wanted, now: readonly Wanted[]): Step {
  const container = random.pick(containersOf(wanted));
  const isStopped = wanted.stopped.has(container);
  const kind = isStopped ? "start" : random.once(2) ? "stop" : "restart";
  const stopped = new Set(wanted.stopped);
  if (kind === "stop") stopped.add(container);
  else stopped.delete(container);
  return {
    text: `${kind} ${container}`,
    request: { kind, container },
    next: replace(now, wanted, { ...wanted, stopped }),
    disturbs: [container],
  };
}

function replace(now: readonly Wanted[], old: Wanted, next: Wanted): Wanted[] {
  return now.map((other) => (other === old ? next : other));
}
