import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { MILESTONES } from "../../src/model/milestone.ts";
import { canMakeNamespaces, ip } from "../net/namespaces.ts";

const GOALSTATE = join(import.meta.dirname, "../../bin/goalstate");
const BOOT_TIMEOUT_MS = 240_000;
const isAble = canMakeNamespaces && existsSync("/usr/bin/qemu-system-x86_64");

describe.skipIf(!isAble && !process.env["CI"])("demo on QEMU (needs root and QEMU)", () => {
  test(
    "boots a kernel to Ready, in the order of the contract, and leaves nothing behind",
    async () => {
      const data = mkdtempSync(join(tmpdir(), "goalstate-qemu-"));
      try {
        const { stdout } = await promisify(execFile)(
          GOALSTATE,
          ["demo", "--exit-when-ready", "--hypervisor", "qemu", "--data", data, "--timeout", "200"],
          { timeout: BOOT_TIMEOUT_MS },
        );
        const reached = MILESTONES.map((milestone) => stdout.indexOf(`  ${milestone} `));
        expect(reached).not.toContain(-1);
        expect(reached).toEqual(reached.toSorted((a, b) => a - b));
        expect(stdout).toMatch(/^hypervisor: QEMU \d/);
        expect(stdout).toContain('"200 hello from goalstate"');
        const console = readFileSync(join(data, "run/hello.web_0/console.log"), "utf8");
        expect(console).toContain("wire server 168.63.129.16 from lease option 245");
        const fabricId = readFileSync(join(data, "fabric-id"), "utf8").trim();
        expect(ip("netns", "list")).not.toContain(fabricId);
      } finally {
        rmSync(data, { recursive: true, force: true });
      }
    },
    BOOT_TIMEOUT_MS,
  );
});
