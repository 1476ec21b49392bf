/** `HandlerManifest.json` of a VM extension: what its agent is to run. Unknown keys are the agent's to read. */
import { z } from "zod";
import { errorText, FabricError } from "../../model/errors.ts";
import { type Source, validate } from "../../model/schema.ts";
import { parseYaml } from "../read-yaml.ts";

export const MANIFEST_FILE = "HandlerManifest.json";

const COMMAND_CHARACTERS_MAX = 1024;
const COMMANDS = ["install", "uninstall", "update", "enable", "disable"] as const;

const CommandSchema = z
  .string()
  .min(1, "is empty; name a program of the package, and its arguments")
  .max(COMMAND_CHARACTERS_MAX);

const ManifestSchema = z
  .array(
    z.looseObject({
      handlerManifest: z.looseObject({
        installCommand: CommandSchema,
        uninstallCommand: CommandSchema,
        updateCommand: CommandSchema,
        enableCommand: CommandSchema,
        disableCommand: CommandSchema,
        rebootAfterInstall: z.boolean().optional(),
        reportHeartbeat: z.boolean().optional(),
      }),
    }),
  )
  .length(1, "is a list of one object, { handlerManifest: { ... } }");

/**
 * Checks a manifest.
 *
 * @param name - the file, for messages
 * @param has - true if the package has this file
 * @throws FabricError ERR_USAGE_EXTENSION naming file, line and column of all that is wrong
 */
export function checkHandlerManifest(
  text: string,
  name: string,
  has: (file: string) => boolean,
): void {
  const data = parseJson(text, name);
  const [manifest] = validate(ManifestSchema, data, sourceOf(text, name), "ERR_USAGE_EXTENSION");
  for (const command of COMMANDS) {
    const line = manifest!.handlerManifest[`${command}Command`];
    // Agents put the package's folder in front of it.
    const program = /^[./]*([\w./-]+)/.exec(line)?.[1];
    if (program === undefined || has(program)) continue;
    const message = `${name}: ${command}Command runs ${program}, which is not in the package; commands are relative to its top`;
    throw new FabricError("ERR_USAGE_EXTENSION", message);
  }
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const message = `${name}: is no JSON: ${errorText(error)}`;
    throw new FabricError("ERR_USAGE_EXTENSION", message);
  }
}

/** JSON is YAML, as a rule. */
function sourceOf(text: string, name: string): string | Source {
  try {
    return parseYaml(text, name).source;
  } catch {
    return name;
  }
}
