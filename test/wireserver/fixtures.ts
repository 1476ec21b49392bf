/** A container, and an observer that remembers, for all tests of the guest-facing services. */

import { createHash } from "node:crypto";
import { parseIpv4 } from "../../src/model/ipv4-address.ts";
import { parseMac } from "../../src/model/mac-address.ts";
import type {
  AgentStatus,
  HealthReport,
  WireArtifacts,
  WireContainer,
  WireDirectory,
  WireObserver,
} from "../../src/wireserver/index.ts";

export const CONTAINER: WireContainer = {
  name: "hello.web_0",
  containerId: "5b0c3c52-7f10-4c0e-9d67-2f4c1d0b7a11",
  instanceId: "9f6f2a8e-0d4b-4f0e-8a44-1be0c2f4d9aa.web_0",
  roleName: "web",
  roleInstance: "web_0",
  deployment: { name: "hello", guid: "9f6f2a8e-0d4b-4f0e-8a44-1be0c2f4d9aa" },
  roleGuid: "1c9d2d4e-9a0b-4a55-8d58-6f2a2f1f0c77",
  incarnation: 3,
  expectedState: "Started",
  address: parseIpv4("10.20.0.4"),
  mac: parseMac("00:15:5d:0a:0b:0c"),
  instances: [
    {
      id: "web_0",
      address: parseIpv4("10.20.0.4"),
      endpoints: [{ name: "http", protocol: "http", port: 8080 }],
    },
    { id: "web_1", address: parseIpv4("10.20.0.5"), endpoints: [] },
  ],
  settings: { GREETING: 'hello & "goodbye" <all>', EMPTY: "" },
};

/** The bytes of all packages in tests, and their SHA-256. */
export const PACKAGE = Buffer.from("PK\u0003\u0004 a package".repeat(20_000));
const REFERENCE = {
  sha256: createHash("sha256").update(PACKAGE).digest("hex"),
  bytes: PACKAGE.length,
};

/** A container that has everything. */
export const FULL = {
  ...CONTAINER,
  extensions: [
    {
      name: "Lab.Echo",
      version: "1.0.0",
      state: "enabled",
      seqNo: 4,
      settings: { text: 'hi & "bye" <all>', "": [1, null, "\u00e4\u{1f600}\n"] },
      protectedSettings: { secret: "s3cret" },
      dependsOn: ["Lab.Other"],
      package: REFERENCE,
    },
    {
      name: "Lab.Other",
      version: "2.1.0.3",
      state: "disabled",
      seqNo: 0,
      settings: {},
      dependsOn: ["Lab.Base"],
      package: REFERENCE,
    },
    {
      name: "Lab.Base",
      version: "1.0.0",
      state: "uninstall",
      seqNo: 1,
      settings: {},
      dependsOn: [],
      package: REFERENCE,
    },
  ],
  extensionsChangedMs: Date.UTC(2026, 10, 25, 12),
  users: [{ name: "jit", password: "pa\u00df", expires: "2026-11-25T18:00:00Z" }],
} as const satisfies WireContainer;

/** Artifacts that hold {@link PACKAGE} alone. */
export const ARTIFACTS: WireArtifacts = {
  read: async (sha256, offset, length) => {
    if (sha256 !== REFERENCE.sha256) throw new Error("no such artifact");
    return PACKAGE.subarray(offset, offset + length);
  },
};

/** A directory in which some containers are; they can be replaced. */
export function createDirectory(...containers: readonly WireContainer[]): WireDirectory & {
  replace(...next: readonly WireContainer[]): void;
} {
  let present = containers;
  return {
    findByAddress: (address) => present.find((each) => each.address === address),
    replace: (...next) => {
      present = next;
    },
  };
}

/** An observer that remembers everything, one line each. */
export function createRecorder(): WireObserver & {
  readonly lines: string[];
  readonly reports: HealthReport[];
  readonly statuses: AgentStatus[];
  readonly properties: Map<string, string>;
} {
  const lines: string[] = [];
  const reports: HealthReport[] = [];
  const statuses: AgentStatus[] = [];
  const properties = new Map<string, string>();
  return {
    lines,
    reports,
    statuses,
    properties,
    contact: (container, { kind, incarnation }) => {
      lines.push(`${container.name} ${kind}${incarnation === undefined ? "" : ` ${incarnation}`}`);
    },
    health: async (container, report) => {
      lines.push(`${container.name} reports ${[report.state, report.subStatus].join(" ").trim()}`);
      reports.push(report);
    },
    agentStatus: async (container, status) => {
      lines.push(`${container.name} agent ${status.status}`);
      statuses.push(status);
    },
    roleProperties: async (container, posted) => {
      for (const [name, value] of posted) {
        lines.push(`${container.name} ${name}=${value}`);
        properties.set(name, value);
      }
    },
    refused: (address, reason) => {
      lines.push(`${address} refused ${reason}`);
    },
  };
}
