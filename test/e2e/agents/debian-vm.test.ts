/** A whole Debian 12 in QEMU with Azure's agents, from `goalstate deploy` to an extension and accounts for a while. */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { buildDebianImage } from "../../../tools/debian-image.d/build.ts";
import { EXAMPLES, openScene, type Scene } from "../fabric/fabric.ts";
import { canRunAgents } from "./agent-guest.ts";

/** On an idle machine it takes two minutes without KVM; a busy one must not fail it. */
const BOOT_SECONDS = 900;
const STEP_SECONDS = 300;
const TEST_TIMEOUT_MS = 1_800_000;
const CONTAINER = "azure.vm_0";
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDQfT9u8VGpEOiGX21J8NlwwVGHWv0MoAJO/5MCLV1J lab";

/** What is seen of the inside is what this writes to the console. Of the host keys, only two: the others take time. */
const CUSTOM_DATA = `#cloud-config
ssh_genkeytypes: [rsa, ed25519]
write_files:
  - path: /usr/local/sbin/tell
    permissions: "0755"
    content: |
      #!/bin/sh
      echo "test: host $(hostname), user $(id -un lab), sudo $(sudo -l -U lab | grep -c NOPASSWD)" >/dev/console
      echo "test: key $(cat /home/lab/.ssh/authorized_keys)" >/dev/console
      before=
      while sleep 1; do
        now=$(sed -n 's/^\\([^:]*\\):.*:JIT_Account:.*/\\1/p' /etc/passwd)
        [ "$now" = "$before" ] || echo "test: accounts [$now]" >/dev/console
        before=$now
      done
runcmd:
  - [systemd-run, --unit=tell, /usr/local/sbin/tell]
`;

/** One role with one VM; `text` is the extension's setting. */
function tenant(image: Awaited<ReturnType<typeof buildDebianImage>>, text: string): string {
  return JSON.stringify({
    tenant: "azure",
    vnet: { name: "net", addressSpace: "10.20.0.0/24" },
    roles: [
      {
        name: "vm",
        kind: "paas", // its agent is waited for
        image: {
          path: image.disk,
          kernel: image.kernel,
          initrd: image.initrd,
          cmdline: "root=/dev/vda rw quiet systemd.show_status=false",
        },
        size: { cpus: 1, memoryMib: 768 },
        recovery: { readySeconds: BOOT_SECONDS, silenceSeconds: BOOT_SECONDS },
        provisioning: { adminUsername: "lab", sshKeys: [KEY], customData: CUSTOM_DATA },
        extensions: [
          {
            name: "Goalstate.Echo",
            version: "1.0.0",
            source: join(EXAMPLES, "azure-guest/Goalstate.Echo"),
            settings: { text },
          },
        ],
      },
    ],
  });
}

interface ExtensionRow {
  readonly status: string;
  readonly message: string;
  readonly pending: boolean;
}

/** A line of `goalstate requests --json`, as far as it counts here. */
interface Asked {
  readonly request: {
    readonly url: string;
    readonly headers: readonly { readonly name: string; readonly value: string }[];
  };
  readonly response?: { readonly status: number };
}

async function extension(scene: Scene): Promise<ExtensionRow | undefined> {
  const text = await scene.tell("extensions", CONTAINER, "--json");
  return (JSON.parse(text) as ExtensionRow[])[0];
}

describe.skipIf(!canRunAgents)("a Debian with cloud-init and WALinuxAgent (needs root)", () => {
  test(
    "is provisioned, reports Ready, runs an extension twice, has an account for a while",
    async () => {
      const cacheHome = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
      const image = await buildDebianImage({
        cacheDirectory: join(cacheHome, "goalstate"),
        environment: process.env,
      });
      await using scene = openScene("debian");
      const file = scene.write("azure.yaml", tenant(image, "one"));
      const console = () => {
        const path = join(scene.data, "nodes/node-1/run", CONTAINER, "console.log");
        return existsSync(path) ? readFileSync(path, "utf8") : "";
      };
      const shows = (text: string | RegExp) => () =>
        typeof text === "string" ? console().includes(text) : text.test(console());
      const succeeds = (text: string) => async () => {
        const row = await extension(scene);
        return row?.pending === false && row.status === "success" && row.message.includes(text);
      };
      const fabric = scene.start("up", "--hypervisor", "qemu");
      await fabric.says("ready\n");
      await scene.tell("deploy", file);

      await scene.until("the extension's success", BOOT_SECONDS, succeeds("echo: one"));
      expect(await scene.row(CONTAINER)).toMatchObject({ state: "Ready", health: "Ready" });
      await scene.until("custom data", STEP_SECONDS, shows("test: key "));
      expect(console()).toContain("test: host vm-0, user lab, sudo 1");
      expect(console()).toContain(`test: key ${KEY}`);

      scene.write("azure.yaml", tenant(image, "two"));
      await scene.tell("deploy", file);
      await scene.until("the extension's second success", STEP_SECONDS, succeeds("echo: two"));

      await scene.tell("user", "add", "azure/vm", "jit", "--expires", "1h");
      await scene.until("the account", STEP_SECONDS, shows("test: accounts [jit]"));
      await scene.tell("user", "remove", "azure/vm", "jit");
      await scene.until("its end", STEP_SECONDS, shows("test: accounts []"));
      expect((await scene.row(CONTAINER)).state).toBe("Ready");

      // All that it asked is in the fabric's record, and only fast track, which it is not on, was refused.
      const record = (await scene.tell("requests", CONTAINER, "--json")).trim().split("\n");
      const asked = record.map((line) => JSON.parse(line) as Asked);
      const agents = asked.flatMap(({ request }) =>
        request.headers.filter(({ name }) => name === "User-Agent").map(({ value }) => value),
      );
      expect(agents).toEqual(expect.arrayContaining(["Cloud-Init/22.4.2", "WALinuxAgent/2.7.3.0"]));
      const refused = asked.filter(
        ({ response }) => response !== undefined && response.status >= 400,
      );
      expect([...new Set(refused.map(({ request }) => request.url))]).toEqual(["/vmSettings"]);
    },
    TEST_TIMEOUT_MS,
  );
});
