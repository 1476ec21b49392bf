/** Which fabrics run on this machine, and which one a command means. */
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { FabricError } from "../../model/errors.ts";
import { defaultDataFolder } from "../data-folder.ts";
import { askControlFor, notRunning } from "./control-client.ts";
import type { ControlRoutes } from "./control-server.ts";

const FabricSchema = z.object({
  /** The command that runs it. */
  command: z.string(),
  /** Networks that it answers on. */
  networks: z.array(z.string()),
  pid: z.int(),
  version: z.string(),
});

/** What a fabric says of itself at `/v1/fabric`. */
export type FabricInfo = z.infer<typeof FabricSchema>;

/** A fabric that answers. */
export interface RunningFabric {
  readonly folder: string;
  readonly info: FabricInfo;
}

/** The route by which a fabric is found. */
export function fabricRoutes(info: () => FabricInfo): ControlRoutes {
  return (app: FastifyInstance) => {
    app.get("/v1/fabric", info);
  };
}

/** Fabrics that run on folders in the default place. */
export async function listRunningFabrics(environment: NodeJS.ProcessEnv): Promise<RunningFabric[]> {
  const parent = parentOf(environment);
  const found = await Promise.all(
    listFolders(parent).map(async (name) => findRunningFabric(join(parent, name))),
  );
  return found.filter((fabric) => fabric !== undefined);
}

function parentOf(environment: NodeJS.ProcessEnv): string {
  return resolve(defaultDataFolder(".", environment));
}

function listFolders(parent: string): string[] {
  try {
    return readdirSync(parent).sort();
  } catch {
    return []; // nothing was ever started here
  }
}

async function findRunningFabric(folder: string): Promise<RunningFabric | undefined> {
  try {
    return { folder, info: await askControlFor(folder, "/v1/fabric", FabricSchema) };
  } catch {
    return undefined; // nobody there, or not ours to ask
  }
}

/**
 * The data folder that a command means: the named one, else that of the only fabric that runs.
 *
 * @throws FabricError ERR_CONTROL_NOT_RUNNING if none runs, ERR_USAGE_FABRIC with a list if several do
 */
export async function chooseFabricFolder(
  named: string | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<string> {
  if (named !== undefined) return resolve(named);
  const [fabric, ...others] = await listRunningFabrics(environment);
  if (fabric === undefined) throw notRunning(`a folder in ${parentOf(environment)}`);
  if (others.length === 0) return fabric.folder;
  const list = [fabric, ...others]
    .map(({ folder, info }) => `${folder} (${[info.command, ...info.networks].join(" ")})`)
    .join(", ");
  const message = `Several fabrics run; choose one with --data: ${list}`;
  throw new FabricError("ERR_USAGE_FABRIC", message);
}
