/** Starts the wire process with as little as it needs: its own code, and the channel to its node. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { findProgram } from "../../net/find-program.ts";

const ROOT = join(import.meta.dirname, "../../..");
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

/**
 * Writes all of its code into one file: that is read in a third of the time, and nothing else has to be readable. One that
 * was made of the same files stays.
 */
export async function bundleWireProcess(outfile: string): Promise<void> {
  const record = `${outfile}.json`;
  if (await isCurrent(record)) return;
  const { metafile } = await build({
    ...{ entryPoints: [MAIN], bundle: true, outfile, logLevel: "silent", metafile: true },
    ...{ platform: "node", format: "esm", target: "node26", legalComments: "none" },
    ...{ absWorkingDir: ROOT, banner: { js: BANNER } },
  });
  const files = [outfile, ...Object.keys(metafile.inputs).map((path) => resolve(ROOT, path))];
  const looks = await Promise.all(files.map(look)).catch(() => undefined);
  if (looks !== undefined) await writeFile(record, JSON.stringify(looks)); // else it is made anew each time
}

/** A file and how it was seen to be unchanged. */
type Look = readonly [path: string, changedMs: number, bytes: number];

async function look(path: string): Promise<Look> {
  const { mtimeMs, size } = await stat(path);
  return [path, mtimeMs, size];
}

/** Anything that is missing or cannot be read is not current. */
async function isCurrent(record: string): Promise<boolean> {
  try {
    const text = await readFile(record, "utf8");
    const before = JSON.parse(text) as readonly Look[];
    return JSON.stringify(await Promise.all(before.map(([path]) => look(path)))) === text;
  } catch {
    return false;
  }
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
