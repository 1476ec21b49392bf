/** docs/protocols/dhcp-relay.md has every reason that is the relay agent's own, and no other. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const SOURCES = ["relay-agent.ts", "relay-agent-reply.ts", "relay-agent-service.ts"];
const TYPES = ["RelayRequestReason", "RelayReplyReason", "RelayDropReason"];

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

/** Members of the reason types that no other page explains. */
function ownReasons(): string[] {
  const text = SOURCES.map((name) => read(`src/dhcp/${name}`).replaceAll(/\/\*[\s\S]*?\*\//g, ""));
  const members = TYPES.flatMap((type) => {
    const [, union = ""] = text.join("\n").match(new RegExp(`export type ${type} =([^;]*);`)) ?? [];
    return [...union.matchAll(/"([^"]+)"/g)].map(([, reason]) => reason!);
  });
  return members.filter((reason) => /^(relay|reply|tx)\./.test(reason));
}

test("docs/protocols/dhcp-relay.md has each of the relay agent's own reasons, and no other", () => {
  const page = read("docs/protocols/dhcp-relay.md");
  const rows = [...page.matchAll(/^\| `([a-z]+\.[a-z]+)`/gm)].map(([, reason]) => reason!);
  expect(rows.sort()).toEqual(ownReasons().sort());
  expect(rows.length).toBeGreaterThan(10);
});
