/** Who is in a VNET, wherever it runs: names for its guests, and the instances that their configuration lists. */
import { asDocument, keys, type NicGoal, type TenantRecord } from "../../model/documents.ts";
import type { EndpointDescription } from "../../model/tenant.ts";
import { NameZone } from "../../nm/index.ts";
import { type FabricStore, follow } from "../../store/index.ts";

/** An instance of the tenant, on this node or another. */
export interface TenantInstance {
  /** `web_0` */
  readonly instance: string;
  readonly address: string;
  readonly endpoints: readonly EndpointDescription[];
}

/** See {@link startVnetDirectory}. Disposing it ends what it follows. */
export interface VnetDirectory extends AsyncDisposable {
  readonly zone: NameZone;
  /** All instances of the tenant, in the order of their names; the same array until something changes. */
  listInstances(): readonly TenantInstance[];
  /** Calls `onChange` when {@link listInstances} may give something else, until it is disposed. */
  watch(onChange: () => void): Disposable;
}

/** Follows the NICs of a VNET, and the tenant that it belongs to. */
export function startVnetDirectory(options: {
  readonly store: FabricStore;
  readonly vnet: string;
  readonly tenant: string;
  readonly onError: (error: unknown) => void;
}): VnetDirectory {
  const { store, vnet, tenant, onError } = options;
  const stop = new AbortController();
  const zone = new NameZone(tenant);
  const nics = new Map<string, NicGoal>();
  const endpoints = new Map<string, readonly EndpointDescription[]>();
  let instances: readonly TenantInstance[] | undefined;
  const watchers = new Set<() => void>();
  const changed = (): void => {
    instances = undefined;
    for (const tell of watchers) tell();
  };
  const onNic = (key: string, value: unknown): void => {
    const mac = key.split("/").at(-1) ?? "";
    const goal = value === undefined ? undefined : asDocument<NicGoal>(value);
    zone.set(mac, goal);
    if (goal === undefined) nics.delete(mac);
    else nics.set(mac, goal);
    changed();
  };
  const onTenant = (key: string, value: unknown): void => {
    if (key !== keys.tenant(tenant)) return; // one whose name begins with this one's
    endpoints.clear();
    const roles = value === undefined ? [] : asDocument<TenantRecord>(value).description.roles;
    for (const role of roles) endpoints.set(role.name, role.endpoints);
    changed();
  };
  const list = (): readonly TenantInstance[] =>
    [...nics.values()]
      .map(({ container, address, role }) => ({
        instance: container.slice(tenant.length + 1),
        address,
        endpoints: endpoints.get(role) ?? [],
      }))
      .sort((a, b) => (a.instance < b.instance ? -1 : 1));
  const following = Promise.all([
    follow(store, keys.nics(vnet), onNic, stop.signal).ended,
    follow(store, keys.tenant(tenant), onTenant, stop.signal).ended,
  ]).catch(onError);
  return {
    zone,
    listInstances: () => {
      instances ??= list();
      return instances;
    },
    watch: (onChange) => {
      watchers.add(onChange);
      return { [Symbol.dispose]: () => void watchers.delete(onChange) };
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await following;
    },
  };
}
