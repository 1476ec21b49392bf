/** Finds QEMU on the host, and whether it can be tied to our own life. */

import { errorText } from "../../../model/errors.ts";
import { findProgram } from "../../../net/find-program.ts";
import { runTool } from "../../../net/run-tool.ts";

const PROGRAM = "qemu-system-x86_64";
const VERSION = /^QEMU emulator version (\d+(?:\.\d+)+)/m;

/** QEMU, or why it cannot be used. */
export type QemuSearch =
  | {
      readonly kind: "found";
      readonly path: string;
      /** For example `7.2.22`. */
      readonly version: string;
      /** setpriv of util-linux, which kills QEMU when we die; absent where it is not installed. */
      readonly setpriv?: string;
    }
  | { readonly kind: "missing"; readonly reason: string };

/** Searches the folders of `searchPath`, which has the form of PATH. */
export async function findQemu(searchPath: string): Promise<QemuSearch> {
  const path = findProgram(PROGRAM, searchPath);
  if (path === undefined) {
    return { kind: "missing", reason: `${PROGRAM} is not in PATH; run tools/host-setup as root` };
  }
  const text = await runTool(path, ["--version"]).catch((error: unknown) => errorText(error));
  const version = VERSION.exec(text)?.[1];
  if (version === undefined) {
    return { kind: "missing", reason: `${path} --version says "${text.slice(0, 200)}"` };
  }
  const setpriv = findProgram("setpriv", searchPath);
  return { kind: "found", path, version, ...(setpriv === undefined ? {} : { setpriv }) };
}
