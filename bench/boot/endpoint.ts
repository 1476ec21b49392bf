/**
 * Child process of `bench/boot/run`: answers what goalstate's guest agent asks a wire server with constant documents, on
 * the address argv[2], and prints each first question with its time.
 */
import { createServer } from "node:http";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import { deriveGuid } from "../../src/model/names.ts";
import {
  goalStateOf,
  hostingEnvironmentOf,
  sharedConfigOf,
} from "../../src/wireserver/documents.ts";
import {
  renderGoalState,
  renderHostingEnvironment,
  renderSharedConfig,
  renderVersions,
} from "../../src/wireserver/render-documents.ts";
import type { WireContainer } from "../../src/wireserver/wire-container.ts";

const [, , host = "", guest = "", mac = ""] = process.argv;
const address = parseIpv4(guest);
const container: WireContainer = {
  name: "byhand.web_0",
  containerId: deriveGuid("container"),
  instanceId: "web_0",
  ...{ roleName: "web", roleInstance: "web_0", roleGuid: deriveGuid("role") },
  deployment: { name: "byhand", guid: deriveGuid("deployment") },
  ...{ incarnation: 1, expectedState: "Started", address, mac: parseMac(mac) },
  instances: [{ id: "web_0", address, endpoints: [] }],
  settings: {},
};
const documents = new Map([
  ["versions", renderVersions()],
  [
    "goalstate",
    renderGoalState(goalStateOf(container, { address: parseIpv4(host), port: 80 }, false)),
  ],
  ["hostingEnvironmentConfig", renderHostingEnvironment(hostingEnvironmentOf(container))],
  ["sharedConfig", renderSharedConfig(sharedConfigOf(container))],
]);

/** One line for each; who reads them tells which is the first of a boot. */
function tell(what: string): void {
  process.stdout.write(`${Date.now()} ${what}\n`);
}

const server = createServer((request, response) => {
  const query = new URL(request.url ?? "/", "http://host").searchParams;
  const kind = query.get("type") ?? query.get("comp") ?? "";
  let body = "";
  request.setEncoding("utf8").on("data", (chunk: string) => {
    body += chunk;
  });
  request.on("end", () => {
    tell(kind === "health" && body.includes("<State>Ready</State>") ? "ready" : kind);
    response.setHeader("content-type", "text/xml; charset=utf-8");
    response.end(documents.get(kind) ?? "");
  });
});
server.listen(80, host, () => tell("listening"));
