import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writePackage } from "../../../src/cli/guest-material/extension-package.ts";
import type { WireContainer, WireExtension } from "../../../src/wireserver/index.ts";
import { EXAMPLES } from "../fabric/fabric.ts";
import { BUILD_TIMEOUT_MS, canRunAgents, debianTree, startGuest } from "./agent-guest.ts";
import { type AgentHost, answer, containerOf, openAgentHost } from "./agent-host.ts";

const TEST_TIMEOUT_MS = 180_000;
const NAME = "Goalstate.Echo";

describe.skipIf(!canRunAgents).concurrent("WALinuxAgent 2.7.3 with extensions and users", () => {
  let host: AgentHost;
  let packaged: WireExtension["package"];

  beforeAll(async () => {
    await debianTree();
    host = await openAgentHost();
    const folder = mkdtempSync(join(tmpdir(), "gst-package-"));
    const file = join(folder, "echo.zip");
    await writePackage(join(EXAMPLES, "azure-guest", NAME), file);
    packaged = host.keep(readFileSync(file));
    rmSync(folder, { recursive: true });
  }, BUILD_TIMEOUT_MS);

  afterAll(async () => await host[Symbol.asyncDispose]());

  /** The example's extension, which says in its status what its settings tell it. */
  function echo(
    text: string,
    seqNo: number,
  ): Pick<WireContainer, "extensions" | "extensionsChangedMs"> {
    const extension: WireExtension = {
      ...{ name: NAME, version: "1.0.0", state: "enabled", seqNo, dependsOn: [] },
      settings: { text },
      protectedSettings: { secret: "for its eyes only" },
      package: packaged,
    };
    return { extensions: [extension], extensionsChangedMs: Date.UTC(2026, 10, 22) + seqNo * 1000 };
  }

  async function startAgent(container: WireContainer) {
    host.put(container);
    const guest = await startGuest(host, container);
    guest.startAgent();
    return guest;
  }

  /** Waits until the agent's status has the extension's success. */
  async function succeeds({ name }: WireContainer, text: string, seqNo: number) {
    const find = () => host.statuses.get(name)?.extensions.find((each) => each.name === NAME);
    await host.until(`success of ${text}`, () => find()?.seqNo === seqNo);
    await host.until(`success of ${text}`, () => find()?.status === "success");
    expect(find()).toMatchObject({ version: "1.0.0", handler: "Ready", code: 0 });
    expect(find()?.message).toContain(`echo: ${text}`);
  }

  test(
    "an extension that is downloaded from its URL runs to success, and again when a setting has changed",
    async () => {
      const container = containerOf(1, echo("one", 0));
      await using guest = await startAgent(container);
      await succeeds(container, "one", 0);
      host.put({ ...container, incarnation: 2, ...echo("two", 1) });
      const polls = host.said(container).length;
      await succeeds(container, "two", 1);
      const statuses = host.said(container).slice(polls);
      expect(statuses.filter((each) => each === "PUT plugin/status 200").length).toBeLessThan(4);
      expect(guest.read("/var/lib/goalstate-echo/text")).toBe("two\n");
      expect(host.said(container)).not.toContain("GET plugin/extensionArtifact 200");
      // The agent can read what only it may read.
      const settings = guest.read(`/var/lib/waagent/${NAME}-1.0.0/config/1.settings`);
      const { protectedSettings, protectedSettingsCertThumbprint: thumbprint } = JSON.parse(
        settings,
      ).runtimeSettings[0].handlerSettings as Record<string, string>;
      const decrypt = `printf %s '${protectedSettings}' | base64 -d | openssl cms -decrypt -inform DER -inkey /var/lib/waagent/${thumbprint}.prv -recip /var/lib/waagent/${thumbprint}.crt`;
      expect((await guest.finish("sh", "-c", decrypt)).stdout).toBe(
        '{"secret":"for its eyes only"}',
      );
      const [gone] = echo("two", 1).extensions!;
      host.put({ ...container, incarnation: 3, extensions: [{ ...gone!, state: "uninstall" }] });
      await host.until("its end", () => guest.list("/var/lib/goalstate-echo").length === 0);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "an extension that only the host plugin hands out runs to success; status goes to a page blob",
    async () => {
      const container = containerOf(2, { ...echo("proxied", 0), statusBlobType: "PageBlob" });
      using _store = host.interfere(answer(container, "wire", NAME, 404));
      await using _guest = await startAgent(container);
      await succeeds(container, "proxied", 0);
      expect(host.said(container)).toContain("GET plugin/extensionArtifact 200");
      using _plugin = host.interfere(answer(container, "plugin", "/status", 503));
      await host.until("pages", () =>
        host.exchanges.some(
          ({ from, method, url, headers, status }) =>
            from === "10.20.0.5" &&
            method === "PUT" &&
            url.includes("comp=page") &&
            headers["x-ms-page-write"] === "update" &&
            status === 201,
        ),
      );
    },
    TEST_TIMEOUT_MS,
  );

  // This version fetches vmSettings that have changed alone, and does nothing about them: the incarnation must change too.
  test(
    "an extension that travels by vmSettings runs to success, and again when setting and incarnation have changed",
    async () => {
      const container = containerOf(3, { ...echo("fast", 0), fastTrack: true });
      await using _guest = await startAgent(container);
      await succeeds(container, "fast", 0);
      expect(host.said(container)).toContain("GET plugin/vmSettings 200");
      host.put({ ...container, incarnation: 2, ...echo("faster", 1) });
      await succeeds(container, "faster", 1);
      expect(host.said(container)).toContain("GET plugin/vmSettings 304");
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "users appear, are sudoers, and go when they are named no longer or have expired",
    async () => {
      const user = (name: string, ms: number) => ({
        ...{ name, password: "Goalstate-9!" },
        expires: new Date(Date.now() + ms).toISOString(),
      });
      const container = containerOf(4, { users: [user("jit", 3_600_000)] });
      await using guest = await startAgent(container);
      const accounts = () => guest.read("/etc/passwd");
      await host.until("jit", () => accounts().includes("\njit:"));
      expect(accounts()).toMatch(/^jit:.*:JIT_Account:/m);
      await host.until("sudo", () => guest.read("/etc/sudoers.d/waagent").includes("jit ALL"));
      const brief = user("brief", 30_000);
      host.put({ ...container, incarnation: 2, users: [brief] });
      await host.until("brief", () => accounts().includes("\nbrief:"));
      await host.until("jit to go", () => !accounts().includes("\njit:"));
      await host.until("its time to be over", () => Date.now() > Date.parse(brief.expires) + 1000);
      // The agent looks at the accounts only when the incarnation has changed.
      host.put({ ...container, incarnation: 3, users: [brief] });
      await host.until("brief to expire", () => !accounts().includes("\nbrief:"));
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "two VMs behind one server: each has its own ids, key, user and status",
    async () => {
      const expires = new Date(Date.now() + 3_600_000).toISOString();
      const vms = [5, 6].map((number) => {
        const users = [{ name: `user${number}`, password: "Goalstate-9!", expires }];
        return containerOf(number, { ...echo(`vm ${number}`, number), users });
      });
      await using stack = new AsyncDisposableStack();
      const guests = await Promise.all(vms.map(startAgent));
      for (const guest of guests) stack.use(guest);
      const keys = new Set<string>();
      for (const [index, container] of vms.entries()) {
        const number = 5 + index;
        await succeeds(container, `vm ${number}`, number);
        const guest = guests[index]!;
        await host.until("its user", () => guest.read("/etc/passwd").includes(`\nuser${number}:`));
        expect(guest.read("/etc/passwd").match(/^user\d/gm)).toEqual([`user${number}`]);
        const ids = host.exchanges
          .filter(({ from }) => from === `10.20.0.${3 + number}`)
          .flatMap(({ headers }) => headers["x-ms-containerid"] ?? []);
        expect([...new Set(ids)]).toEqual([container.containerId]);
        const names = guest.list("/var/lib/waagent").filter((name) => name.endsWith(".prv"));
        for (const name of names) keys.add(name);
        expect(names).toHaveLength(1);
        expect(host.reported(container)).toEqual(["Ready"]);
      }
      expect(keys.size).toBe(2);
    },
    TEST_TIMEOUT_MS,
  );
});
