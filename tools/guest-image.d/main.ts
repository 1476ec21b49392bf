/** The command line of buildGuestImage(): options in, paths out. */

import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildGuestImage } from "../../src/compute/guest-image.ts";
import { errorText } from "../../src/model/errors.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const HELP = `Usage: tools/guest-image [--agent FILE] [--cache FOLDER]

Builds the image that containers boot from, unless the cache holds it already, and
prints its files as KEY=PATH lines: kernel, initrd, systemDisk. Needs no root.

  --agent FILE     entry module of the guest agent (src/guestagent/main.ts)
  --cache FOLDER   where to build ($XDG_CACHE_HOME/goalstate or ~/.cache/goalstate)
  --help           this text

The kernel and busybox are the host's if it is a Debian that has linux-image-cloud-amd64 and
busybox-static; otherwise apt-get downloads them into the cache (tools/host-setup prepares that).
`;

/** Runs the tool and returns its exit code. */
async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      agent: { type: "string", default: join(ROOT, "src/guestagent/main.ts") },
      cache: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const cacheHome = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const image = await buildGuestImage({
    cacheDirectory: values.cache ?? join(cacheHome, "goalstate"),
    agentEntry: values.agent,
    nodeBinary: join(ROOT, "node_modules/node/bin/node"),
    scriptsDirectory: import.meta.dirname,
    environment: process.env,
  });
  for (const [key, path] of Object.entries(image)) process.stdout.write(`${key}=${path}\n`);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`tools/guest-image: ${errorText(error)}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
}
