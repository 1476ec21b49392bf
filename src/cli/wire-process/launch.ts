/** Starts the wire process with as little as it needs: its own code, and the channel to its node. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { build } from "esbuild";
import { findProgram } from "../../net/find-program.ts";

const MAIN = join(import.meta.dirname, "main.ts");
/** No package uses this number, and it is not that of QEMU; it needs no entry anywhere. */
export const WIRE_USER_ID = 65_433;
/** Far more than the containers of a node need. */
const HEAP_MIB = 512;
/** Where `unshare` and `setpriv` are, whatever the environment says. */
const SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
/** What is left of `require` in packages finds Node's own modules by this. */
const BANNER = `import { createRequire } from "node:module";
const require = createRequire(import.meta.url);`;

/** How the process of a node is recognised among all processes. */
export function isWireProcess(args: readonly string[], label: string): boolean {
  return args.at(-2) === String(WIRE_USER_ID) && args.at(-1) === label;
}

/** Writes all of its code into one file: that is read in a third of the time, and nothing else has to be readable. */
export async function bundleWireProcess(outfile: string): Promise<void> {
  await build({
    ...{ entryPoints: [MAIN], bundle: true, outfile, logLevel: "silent" },
    ...{ platform: "node", format: "esm", target: "node26", legalComments: "none" },
    banner: { js: BANNER },
  });
}

/**
 * Starts it. It changes to {@link WIRE_USER_ID} by itself, once its code is loaded: that may be where only root can read.
 *
 * @param code - as {@link bundleWireProcess} wrote it
 * @param label - tells it from the wire processes of other nodes
 */
export function launchWireProcess(code: string, label: string): ChildProcess {
  const [program = "", ...args] = commandLine(code, label);
  return spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    serialization: "advanced",
    env: {},
    cwd: "/",
  });
}

function commandLine(code: string, label: string): string[] {
  return [
    ...confinement(),
    process.execPath,
    "--permission",
    // To accept connections of sockets that it is handed. In its namespace there is nothing to connect to.
    "--allow-net",
    `--allow-fs-read=${code}`,
    "--no-warnings",
    `--max-old-space-size=${HEAP_MIB}`,
    ...[code, String(WIRE_USER_ID), label],
  ];
}

/** In an empty network namespace, with no capability but those to change its user, and none to be had again. */
function confinement(): string[] {
  if (process.getuid?.() !== 0) return [];
  const unshare = findProgram("unshare", SYSTEM_PATH);
  const setpriv = findProgram("setpriv", SYSTEM_PATH);
  return [
    ...(unshare === undefined ? [] : [unshare, "--net", "--"]),
    ...(setpriv === undefined
      ? []
      : [
          ...[setpriv, "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all"],
          ...["--bounding-set=-all,+setuid,+setgid", "--"],
        ]),
  ];
}
