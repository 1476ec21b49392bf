/** `goalstate control`: the store, the managers and the control socket; nodes are other processes. */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import packageJson from "../../../package.json" with { type: "json" };
import { FabricError } from "../../model/errors.ts";
import { openSocketPath } from "../../net/socket-path.ts";
import { serveStore, startCompaction } from "../../store/index.ts";
import { aborted } from "../aborted.ts";
import { openAuthority } from "../attestation.ts";
import { authorityRoutes } from "../authority-command.ts";
import { openControlServer } from "../control/control-server.ts";
import { fabricRoutes } from "../control/running-fabrics.ts";
import type { DataFolder } from "../data-folder.ts";
import { EventKeeper } from "../events/event-keeper.ts";
import { eventRoutes } from "../events/routes.ts";
import { createFaultControl } from "../faults/fault-control.ts";
import { faultRoutes } from "../faults/routes.ts";
import { ArtifactFolder } from "../guest-material/artifact-folder.ts";
import { GuestMaterials } from "../guest-material/guest-materials.ts";
import { tenantRoutes } from "../tenants/routes.ts";
import { userRoutes } from "../users/routes.ts";
import { createUserControl } from "../users/user-control.ts";
import { openTrace, startManager } from "./control-plane.ts";
import { createFabricControl } from "./manager-control.ts";
import { STORE_SOCKET } from "./node-process.ts";
import type { UpConfig } from "./up-config.ts";

/** What {@link runControl} needs. */
export interface ControlProcessOptions {
  readonly data: DataFolder;
  readonly config: UpConfig;
  /** The command's name, for those who look for fabrics. */
  readonly command: "up" | "control";
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Runs the managers until `signal` aborts or the store fails.
 *
 * @param whenReady - called once, when commands and nodes are answered; what it returns is awaited beside the managers
 */
export async function runControl(
  options: ControlProcessOptions,
  whenReady: () => Promise<void>,
): Promise<void> {
  const { data, log, command, config } = options;
  const { store, fabricId, path } = data;
  const onFault = (err: Error) => log.warn({ err }, "a client of the store was cut off");
  const trace = openTrace(store, log);
  await using _shared = await serveStore({
    ...{ store, onFault },
    openPath: () => openSocketPath(path, STORE_SOCKET),
  });
  const nodeGraceMs = config.nodeTtlSeconds * 1000;
  using _compaction = startCompaction({
    store,
    onFault: (err) => log.warn({ err }, "old history could not be forgotten; it is tried again"),
  });
  await using managers = startManager({
    ...{ store, fabricId, trace, log, nodeGraceMs },
    vips: config.vips,
  });
  const { manager, network } = managers;
  const materials = new GuestMaterials(new ArtifactFolder(path), store, (err) =>
    log.warn({ err }, "old packages of extensions could not be removed"),
  );
  await materials.sweep();
  const events = new EventKeeper({
    ...{ store, now: Date.now, createId: randomUUID, startTimer },
    act: (container, action) => manager[action](container),
    onError: (what, err) => log.error({ err, what }, "scheduled events failed"),
  });
  await using _events = runUntilDisposed((signal) => events.run(signal), log);
  const control = createFabricControl({
    ...{ manager, network, store, trace, materials, now: Date.now, events },
    reserved: [
      { subnet: config.underlay, use: "the network between the nodes" },
      { subnet: config.vips, use: "the fabric's public addresses" },
    ],
  });
  const info = () => ({ command, networks: [], pid: process.pid, version: packageJson.version });
  await using _control = await openControlServer({
    folder: path,
    routes: [
      fabricRoutes(info),
      tenantRoutes(control),
      eventRoutes(events),
      userRoutes(createUserControl(manager, Date.now)),
      faultRoutes(createFaultControl(store, Date.now)),
      authorityRoutes(() => openAuthority(store, Date.now)),
    ],
    log,
  });
  const ended = managers.ended.then(() => {
    if (!options.signal.aborted) throw new FabricError("ERR_CONTROL_ENDED", "The managers ended");
  });
  try {
    await Promise.race([ended, whenReady().then(() => aborted(options.signal))]);
  } finally {
    await trace.settled();
  }
}

function startTimer(milliseconds: number, callback: () => void): () => void {
  const timer = setTimeout(callback, milliseconds);
  return () => clearTimeout(timer);
}

/** Runs until it is disposed of; a failure is logged, and the fabric goes on. */
function runUntilDisposed(
  run: (signal: AbortSignal) => Promise<void>,
  log: Logger,
): AsyncDisposable {
  const stop = new AbortController();
  const ended = run(stop.signal).catch((err: unknown) =>
    log.error({ err }, "scheduled events ended"),
  );
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
    },
  };
}
