/** `goalstate dhcp replay`: reads the files, replays, prints. */
import { statSync } from "node:fs";
import { FabricError } from "../../model/errors.ts";
import { readCapture } from "../../net/capture-file.ts";
import { createInventoryResolver, inventoryWarnings, parseInventory } from "../../nm/index.ts";
import { createInventoryServer, loadInventoryChain } from "../inventory-server.ts";
import { loadBindings } from "../load-bindings.ts";
import { readYamlFile } from "../read-yaml.ts";
import { replayCapture } from "./replay.ts";
import { describeReplay, type ReplayDocument, renderReplay } from "./replay-document.ts";

export interface ReplayFileOptions {
  /** The capture. */
  readonly file: string;
  readonly inventory: string;
  readonly output: string;
  readonly isGateway: boolean;
  readonly compare: boolean;
  readonly json: boolean;
  readonly print: (line: string) => void;
  readonly warn: (line: string) => void;
}

/**
 * @throws FabricError ERR_USAGE_* for bad input, ERR_CAPTURE_* for files, ERR_REPLAY_DIFFERS if a compared reply has another
 * type or address
 */
export async function replayFile(options: ReplayFileOptions): Promise<void> {
  const { file, output, isGateway, compare, json, print, warn } = options;
  const { data, source } = readYamlFile(options.inventory);
  const inventory = parseInventory(data, source);
  for (const warning of inventoryWarnings(inventory)) warn(`${options.inventory}: ${warning}`);
  if (isSameFile(file, output)) {
    const message = `-o ${output} would overwrite the capture that is read; name another file`;
    throw new FabricError("ERR_USAGE_FILE", message);
  }
  const capture = await readCapture(file);
  const bindings = loadBindings(inventory, options.inventory);
  const resolver = createInventoryResolver(inventory, {
    isGateway,
    ...(bindings !== undefined && { bindings }),
  });
  // The capture's clock, once it runs.
  let now = () => 0;
  const { plugins, warnings } = await loadInventoryChain(inventory, options.inventory, resolver, {
    now: () => now(),
    log: () => undefined,
    seed: 0,
  });
  for (const warning of warnings) warn(`${options.inventory}: ${warning}`);
  const replay = await replayCapture({
    ...{ capture, output, standIn: compare },
    makeServer: (chainOptions) => {
      now = chainOptions.now;
      return createInventoryServer(inventory, plugins, chainOptions);
    },
  });
  if (compare && replay.capturedReplies === 0) {
    const message = `${file} holds no server's replies to compare with; capture both directions`;
    throw new FabricError("ERR_USAGE_FILE", message);
  }
  const document = describeReplay(replay, capture, compare);
  if (json) print(JSON.stringify(document, undefined, 2));
  else for (const line of renderReplay(document)) print(line);
  requireSame(document);
}

function isSameFile(one: string, other: string): boolean {
  const [a, b] = [one, other].map((path) => statSync(path, { throwIfNoEntry: false }));
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

function requireSame({ summary: { compared } }: ReplayDocument): void {
  if (compared === undefined || compared.other === 0) return;
  const all = compared.same + compared.otherOptions + compared.other;
  const message = `${compared.other} of ${all} captured replies have another type or address than ours`;
  throw new FabricError("ERR_REPLAY_DIFFERS", message);
}
