/** The command line of buildDebianImage(): options in, paths out. */

import { copyFile, mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { errorText } from "../../src/model/errors.ts";
import { buildDebianImage, PACKAGES } from "./build.ts";

const HELP = `Usage: tools/debian-image [--cache FOLDER] [OUT]

Builds a Debian 12 as Azure's guests are: cloud-init and WALinuxAgent, as Debian ships them, beside

  ${PACKAGES.join(" ")}

and prints its files as KEY=PATH lines: disk, kernel, initrd. Once built, it comes from the cache.
Must run as root, on a Debian with mmdebstrap (tools/host-setup).

  OUT              folder to copy the files to: debian-12.img, vmlinuz, initrd.img
  --cache FOLDER   where to build ($XDG_CACHE_HOME/goalstate or ~/.cache/goalstate)
  --help           this text

The disk is one ext4 file system without a boot loader. In a tenant file:

  image: { path: debian-12.img, kernel: vmlinuz, initrd: initrd.img, cmdline: "root=/dev/vda rw" }

One thing differs from Debian's packages: the agent's unit starts on any hypervisor, where Debian's
only starts on Hyper-V (/etc/systemd/system/walinuxagent.service.d). No account has a password.
Delete the cache's debian-* folders to build again with today's packages.
`;

/** Runs the tool and returns its exit code. */
async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { cache: { type: "string" }, help: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [out, ...more] = positionals;
  if (more.length > 0) throw new TypeError("name one folder at most; see --help");
  const cacheHome = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const image = await buildDebianImage({
    cacheDirectory: values.cache ?? join(cacheHome, "goalstate"),
    environment: process.env,
  });
  for (const [key, path] of Object.entries(image)) {
    const copy = out === undefined ? path : join(out, basename(path));
    if (out !== undefined) {
      await mkdir(out, { recursive: true });
      await copyFile(path, copy);
    }
    process.stdout.write(`${key}=${copy}\n`);
  }
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`tools/debian-image: ${errorText(error)}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
}
