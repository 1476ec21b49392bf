/** What all commands that ask a running fabric have in common. */
import type { z } from "zod";
import { askControlFor, type ControlRequest } from "./control/control-client.ts";
import { chooseFabricFolder } from "./control/running-fabrics.ts";

/** The options {@link DATA} and {@link JSON_OUTPUT}, as commander gives them. */
export interface Look {
  readonly data?: string;
  readonly json?: boolean;
}

/** What the commands take from their surroundings. */
export interface LookSurroundings {
  readonly environment: NodeJS.ProcessEnv;
  readonly print: (line: string) => void;
}

export const DATA = [
  "--data <dir>",
  "data folder of the fabric (default: the only one that runs)",
] as const;
export const JSON_OUTPUT = ["--json", "print JSON"] as const;

/**
 * What the fabric that is meant answers.
 *
 * @throws FabricError as `chooseFabricFolder` and `askControlFor`
 */
export async function ask<T>(
  request: string | ControlRequest,
  schema: z.ZodType<T>,
  { data }: Look,
  { environment }: LookSurroundings,
): Promise<T> {
  return askControlFor(await chooseFabricFolder(data, environment), request, schema);
}

/** Prints a document as JSON, if that was asked for, else the lines. */
export function show(
  { json }: Look,
  { print }: LookSurroundings,
  document: unknown,
  lines: readonly string[],
): void {
  if (json === true) print(JSON.stringify(document, undefined, 2));
  else for (const line of lines) print(line);
}
