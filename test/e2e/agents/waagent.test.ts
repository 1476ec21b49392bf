import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { WireContainer } from "../../../src/wireserver/index.ts";
import {
  BUILD_TIMEOUT_MS,
  canRunAgents,
  debianTree,
  type GuestOptions,
  startGuest,
} from "./agent-guest.ts";
import { type AgentHost, containerOf, openAgentHost } from "./agent-host.ts";

/** The longest that the agent waits between two tries here is 30 s. */
const TEST_TIMEOUT_MS = 180_000;

/** Names are those of the requests in {@link AgentHost.said}. */
const PARTS = [
  ...["GET hostingEnvironmentConfig 200", "GET sharedConfig 200", "GET certificates 200"],
  ...["GET extensionsConfig 200", "GET /store/profile 200"],
];
const GOAL_STATE = [
  ...["GET goalstate 200", "GET goalstate 200", "GET plugin/vmSettings 404"],
  ...PARTS,
];
const READY = "POST health 200";
const COMPUTE = "GET metadata/metadata/instance/compute 200";

/** By the number of the guest. */
const BAD_245 = { 5: "dhcp-no-245", 10: "dhcp-245-short", 11: "dhcp-pad-245" };

const LEASE = `lease {
  interface "eth0";
  fixed-address 10.20.0.9;
  option subnet-mask 255.255.255.0;
  option routers 10.20.0.1;
  option unknown-245 a8:3f:81:10;
  expire never;
}
`;

describe.skipIf(!canRunAgents).concurrent("WALinuxAgent 2.7.3 as Debian ships it", () => {
  let host: AgentHost;

  beforeAll(async () => {
    await debianTree();
    host = await openAgentHost();
  }, BUILD_TIMEOUT_MS);

  afterAll(async () => await host[Symbol.asyncDispose]());

  /** Starts the `number`th guest and its agent. */
  async function startAgent(number: number, options?: GuestOptions) {
    const container = containerOf(number);
    host.put(container);
    const guest = await startGuest(host, container, options);
    guest.startAgent();
    return { container, guest, [Symbol.asyncDispose]: () => guest[Symbol.asyncDispose]() };
  }

  const count = (container: WireContainer, words: string) =>
    host.said(container).filter((each) => each === words).length;
  const isReady = (container: WireContainer) => host.reported(container).includes("Ready");

  test(
    "asks in its order, posts Ready once, and asks for all parts again when the incarnation has changed",
    async () => {
      await using agent = await startAgent(1);
      const { container } = agent;
      await host.until("telemetry", () => count(container, "POST telemetrydata 200") > 0);
      const said = host.said(container);
      const start = ["GET versions 200", ...GOAL_STATE, READY, COMPUTE, ...GOAL_STATE, COMPUTE];
      expect(said.slice(0, start.length)).toEqual(start);
      expect(said).toEqual(
        expect.arrayContaining([
          ...["GET plugin/versions 200", "GET plugin/health 200", "PUT plugin/status 200"],
          ...["POST /HealthService 200", "GET metadata/metadata/instance 200"],
        ]),
      );
      host.put({ ...container, incarnation: 2 });
      const asked = host.said(container).length;
      await host.until("a status", () =>
        host.said(container).slice(asked).includes("PUT plugin/status 200"),
      );
      expect(host.said(container).slice(asked)).toEqual(expect.arrayContaining(PARTS));
      expect(host.reported(container)).toEqual(["Ready"]);
      expect(host.statuses.get(container.name)).toMatchObject({
        ...{ version: "2.7.3.0", status: "Ready", extensions: [] },
      });
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "goes on after the host plugin said 500, a Ready that was answered 503, telemetry that was answered 429",
    async () => {
      const container = containerOf(2);
      const throttle = host.fault(container, "hgap-vmsettings-500", "health-503", "telemetry-429");
      await using _agent = await startAgent(2);
      await host.until("Ready", () => isReady(container));
      expect(host.reported(container)).toEqual(["Ready"]);
      expect(count(container, "POST health 503")).toBe(5);
      expect(host.said(container)).toContain("GET plugin/vmSettings 500");
      await host.until("telemetry", () => count(container, "POST telemetrydata 429") >= 2);
      throttle[Symbol.dispose]();
      await host.until("telemetry", () => count(container, "POST telemetrydata 200") > 0);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a Ready that was answered 500 is posted again; with 204 it is given up, and logged",
    async () => {
      const container = containerOf(3);
      const broken = host.fault(container, "health-500");
      await using _agent = await startAgent(3);
      await host.until("Ready", () => count(container, "POST health 500") === 1);
      broken[Symbol.dispose]();
      await host.until("Ready again", () => isReady(container));
      const other = containerOf(4);
      using _empty = host.fault(other, "health-204");
      await using agent = await startAgent(4);
      await host.until("the next part", () => host.said(other).includes(COMPUTE));
      expect(count(other, "POST health 204")).toBe(1);
      expect(agent.guest.log()).toContain("204");
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "finds the wire server in an OFFER that it never takes up; without option 245, and with a bad one, it finds none",
    async () => {
      await using stack = new AsyncDisposableStack();
      const lost = await Promise.all(
        Object.entries(BAD_245).map(([number, playbook]) => {
          stack.use(host.fault(containerOf(Number(number)), playbook));
          return startAgent(Number(number), { network: "address" });
        }),
      );
      for (const each of lost) stack.use(each);
      await using agent = await startAgent(6, { network: "address" });
      await host.until("Ready", () => isReady(agent.container));
      expect(host.dhcp.filter((each) => each.endsWith("lab.vm_6"))).toEqual(["DHCPOFFER lab.vm_6"]);
      for (const { container, guest } of lost) {
        await host.until(`the failure of ${container.name}`, () =>
          guest.log().includes("WireProtocol endpoint is None"),
        );
        expect(host.dhcp).toContain(`DHCPOFFER ${container.name}`);
        expect(host.said(container)).toEqual([]);
      }
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "without certificates it is Ready; with some that it cannot read, as base64 in one line, it never is",
    async () => {
      await using stack = new AsyncDisposableStack();
      const [none, oneLine] = [containerOf(12), containerOf(13)];
      stack.use(host.fault(none, "certificates-without-data"));
      stack.use(host.fault(oneLine, "certificates-one-line"));
      const agents = await Promise.all([12, 13].map((number) => startAgent(number)));
      for (const agent of agents) stack.use(agent);
      await host.until("a status", () => count(none, "PUT plugin/status 200") > 0);
      expect(host.reported(none)).toEqual(["Ready"]);
      const files = agents[0]!.guest.list("/var/lib/waagent");
      expect(files.filter((name) => name.endsWith(".prv"))).toEqual([]);
      await host.until("a second detection", () => count(oneLine, "GET versions 200") >= 2);
      expect(host.reported(oneLine)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "finds the wire server in dhclient's lease file, and asks nobody",
    async () => {
      await using agent = await startAgent(7, {
        network: "address",
        files: { "var/lib/dhcp/dhclient.eth0.leases": LEASE },
      });
      await host.until("Ready", () => isReady(agent.container));
      expect(host.dhcp.filter((each) => each.endsWith("lab.vm_7"))).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  // On this Python its handler ends with each failed goal state (format_exception() got 'etype'), and is started again.
  test(
    "a goal state that is 410 for a while is asked for again until it is there; a new container id is taken up at once",
    async () => {
      await using agent = await startAgent(8);
      const { container } = agent;
      await host.until("a status", () => count(container, "PUT plugin/status 200") > 0);
      using _gone = host.fault(container, "goalstate-410");
      await host.until("410 five times", () => count(container, "GET goalstate 410") >= 5);
      host.put({ ...container, incarnation: 7 });
      await host.until("the new parts", () =>
        host.exchanges.some(({ url }) => url.includes("type=extensionsConfig&incarnation=7")),
      );
      // As after live migration: another container id, and nothing else is new.
      const containerId = "5b0c3c52-7f10-4c0e-9d67-ffffffffffff";
      host.put({ ...container, incarnation: 7, containerId });
      await host.until("a status of the new container id", () =>
        host.exchanges.some(
          ({ url, headers, status }) =>
            url === "/status" && headers["x-ms-containerid"] === containerId && status === 200,
        ),
      );
      expect(host.reported(container)).toEqual(["Ready"]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a front end that comes back, with an error, then slow, then 410, holds it up for no longer",
    async () => {
      await using agent = await startAgent(14);
      const { container } = agent;
      await host.until("a status", () => count(container, "PUT plugin/status 200") > 0);
      using _storm = host.fault(container, "goalstate-storm");
      const isOver = () => {
        const said = host.said(container);
        const gone = said.indexOf("GET goalstate 410");
        return gone > said.indexOf("GET goalstate 500") && said.includes("GET goalstate 200", gone);
      };
      await host.until("error, slow answer, 410, and the goal state", isOver);
      const seen = count(container, "PUT plugin/status 200");
      await host.until("a status", () => count(container, "PUT plugin/status 200") > seen);
      expect(host.reported(container)).toEqual(["Ready"]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a host plugin that resets its connections keeps this version on its Python from Ready",
    async () => {
      const container = containerOf(15);
      using _refused = host.fault(container, "hgap-refused");
      await using _agent = await startAgent(15);
      await host.until("a second detection", () => count(container, "GET versions 200") >= 2);
      expect(host.reported(container)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a host plugin whose port is closed keeps this version on its Python from Ready",
    async () => {
      await using other = await openAgentHost({ withoutHostPlugin: true });
      const container = containerOf(9);
      other.put(container);
      await using guest = await startGuest(other, container);
      guest.startAgent();
      const versions = () => other.said(container).filter((each) => each === "GET versions 200");
      await other.until("a second detection", () => versions().length >= 2);
      expect(other.reported(container)).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );
});
