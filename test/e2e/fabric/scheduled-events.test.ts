/** Scheduled events, attested documents and certificates, from the command to the guest and back. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canMakeNamespaces } from "../../net/namespaces.ts";
import { decryptAsAgents, makeTransport, openssl } from "../../wireserver/crypto/openssl.ts";
import { finish } from "../processes.ts";
import { openScene, prefixOf, type Scene, tenantFile } from "./fabric.ts";

const TEST_TIMEOUT_MS = 90_000;

describe.skipIf(!canMakeNamespaces && !process.env["CI"])(
  "what a guest is told of its host (needs root)",
  () => {
    let scene: Scene;
    /** Namespaces of the guests. */
    const guests = new Map<string, string>();

    beforeAll(async () => {
      scene = openScene("evt");
      const up = scene.start("up", "--nodes", "2", "--hypervisor", "netns");
      await up.says("\nready\n");
      const file = scene.write("a.yaml", tenantFile({ tenant: "a", roles: { web: 2 } }));
      await scene.tell("deploy", file, "--wait", "--timeout", "40");
      for (const { container, node } of await scene.ps()) {
        guests.set(container, `${prefixOf(scene.data)}${node}-${container}`);
      }
    }, TEST_TIMEOUT_MS);
    afterAll(async () => scene[Symbol.asyncDispose](), TEST_TIMEOUT_MS);

    /** Asks as a program in the guest. */
    async function askIn(container: string, path: string, body?: string): Promise<string> {
      const headers = { Metadata: "true" };
      const post = body === undefined ? {} : { method: "POST", body };
      return await fetchIn(container, `http://169.254.169.254${path}`, { headers, ...post });
    }

    async function fetchIn(container: string, url: string, request: RequestInit): Promise<string> {
      const script = `const answer = await fetch(${JSON.stringify(url)}, ${JSON.stringify(request)});
        process.stdout.write(answer.status + " " + (await answer.text()));`;
      const command = [process.execPath, "--input-type=module", "-e", script];
      const { stdout, stderr } = await finish(command, guests.get(container));
      if (stderr !== "") throw new Error(stderr);
      return stdout;
    }

    const EVENTS = "/metadata/scheduledevents?api-version=2020-07-01";

    test(
      "a guest on one node lets a reboot of its neighbour on another start",
      async () => {
        expect([...guests.values()].join()).toMatch(/node-1-a.*node-2-a|node-2-a.*node-1-a/);
        expect(await askIn("a.web_1", EVENTS)).toBe('200 {"DocumentIncarnation":1,"Events":[]}');
        const command = ["event", "add", "a.web_0", "--type", "Reboot", "--act", "--json"];
        const { id } = JSON.parse(await scene.tell(...command));
        const approval = JSON.stringify({ StartRequests: [{ EventId: id }] });
        await scene.until("the neighbour sees the event", 10, async () =>
          (await askIn("a.web_1", EVENTS)).includes(`"EventId":"${id}"`),
        );
        const before = await scene.row("a.web_0");
        expect(await askIn("a.web_1", EVENTS, approval)).toBe("200 ");
        await scene.until("it is restarted", 40, (all) =>
          all.some(
            ({ container, state, since }) =>
              container === "a.web_0" && state === "Ready" && since > before.since,
          ),
        );
        expect(await scene.tell("event", "list")).toMatch(/a\.web_0 +Reboot +Started /);
        expect(await scene.tell("event", "clear", "a.web_0")).toBe("1 cleared\n");
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "an attested document leads to the fabric's authority, as openssl sees it",
      async () => {
        const path = "/metadata/attested/document?api-version=2020-09-01&nonce=1234567890";
        const answer = await askIn("a.web_1", path);
        const { signature } = JSON.parse(answer.slice("200 ".length));
        writeFileSync(join(scene.data, "ca.pem"), await scene.tell("ca"));
        writeFileSync(join(scene.data, "document.der"), Buffer.from(signature, "base64"));
        const verify = ["cms", "-verify", "-inform", "DER", "-in", "document.der"];
        const trust = ["-CAfile", "ca.pem", "-purpose", "any"];
        const text = execFileSync("openssl", [...verify, ...trust], {
          cwd: scene.data,
          stdio: ["ignore", "pipe", "pipe"],
        });
        const vmId = await askIn(
          "a.web_1",
          "/metadata/instance/compute/vmId?api-version=2021-02-01",
        );
        const { nonce, vmId: attested } = JSON.parse(text.toString());
        expect([nonce, `200 ${attested}`]).toEqual(["1234567890", vmId]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "a guest opens its own certificate as agents do, and nothing but the store has its key",
      async () => {
        const transport = await makeTransport(scene.data, "transport");
        const headers = {
          "x-ms-version": "2012-11-30",
          "x-ms-guest-agent-public-x509-cert": transport.header,
        };
        const urlOf = async (container: string) => {
          const goalState = "http://168.63.129.16/machine/?comp=goalstate";
          const answer = await fetchIn(container, goalState, { headers });
          return /<Certificates>([^<]+)</.exec(answer)![1]!.replaceAll("&amp;", "&");
        };
        const bundleOf = async (container: string) => {
          const answer = await fetchIn(container, await urlOf(container), { headers });
          const data = /<Data>([^<]+)</.exec(answer)?.[1] ?? answer;
          const pfx = join(scene.data, "Certificates.pfx");
          writeFileSync(pfx, await decryptAsAgents(scene.data, data, transport));
          return String(await openssl("pkcs12", "-nodes", "-in", pfx, "-password", "pass:"));
        };
        const [one, two] = [await bundleOf("a.web_0"), await bundleOf("a.web_1")];
        expect(one).toContain("BEGIN PRIVATE KEY");
        expect(two).not.toBe(one);
        const foreign = await fetchIn("a.web_1", await urlOf("a.web_0"), { headers });
        expect(foreign).toMatch(/^410 /);
        expect(await bundleOf("a.web_0")).toBe(one);
        const key = /BEGIN PRIVATE KEY-+\n([^\n]+\n[^\n]+)/.exec(one)![1]!.split("\n")[1]!;
        const find = ["-rlaF", "--exclude=fabric.sqlite*", "--exclude=Certificates.*", "-e", key];
        const found = await finish(["grep", ...find, scene.data]);
        expect([found.code, found.stdout]).toEqual([1, ""]);
        expect(await scene.tell("ps", "--json")).not.toContain(key);
      },
      TEST_TIMEOUT_MS,
    );
  },
);
