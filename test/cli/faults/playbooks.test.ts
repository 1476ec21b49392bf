import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  listPlaybookNames,
  listPlaybooks,
  readPlaybook,
  readPlaybookText,
} from "../../../src/cli/faults/playbooks.ts";
import { PlaybookSchema } from "../../../src/model/playbook.ts";
import { temporaryFolder } from "../../temporary-folder.ts";

describe("the playbooks that are shipped", () => {
  test("are named as their files, and say what happened and what clients do", () => {
    const names = listPlaybookNames();
    expect(listPlaybooks().map(({ name }) => name)).toEqual(names);
    for (const { name, story, clients } of listPlaybooks()) {
      expect([name, story.endsWith("."), clients.endsWith(".")]).toEqual([name, true, true]);
    }
  });

  test("cover what the platform is known to do wrong", () => {
    for (const name of [
      "goalstate-410",
      "goalstate-stale",
      "goalstate-storm",
      "dhcp-no-245",
      "dhcp-bad-checksum",
      "metadata-partial",
      "metadata-400",
      "metadata-429",
      "certificates-without-data",
      "hgap-refused",
      "disc-without-custom-data",
    ]) {
      expect(listPlaybookNames()).toContain(name);
    }
  });

  test("are what their schema makes of them again", () => {
    for (const playbook of listPlaybooks()) {
      const again = PlaybookSchema.parse(JSON.parse(JSON.stringify(playbook)));
      expect(again).toEqual(playbook);
    }
  });
});

describe("a playbook of one's own", () => {
  const write = (text: string) => {
    const path = join(temporaryFolder("playbook"), "mine.yaml");
    writeFileSync(path, text);
    return path;
  };

  test("is read from its file", () => {
    const path = write(
      readPlaybookText("goalstate-410").replace("name: goalstate-410", "name: mine"),
    );
    expect(readPlaybook(path)).toMatchObject({
      name: "mine",
      rules: [{ endpoint: ["goalstate"] }],
    });
  });

  test("is refused with every wrong place", () => {
    const path = write(`name: Mine
rules:
  - endpoint: goalstat
    answers: [{ status: 99 }]
  - endpoint: goalstate
    answers:
      - { pass: true, status: 500 }
      - { repeat: 3 }
      - { status: 500, without: [Data] }
      - { connection: refuse }
      - { status: 500, repeat: 1, forSeconds: 1 }
dhcp: { replies: [offer] }
disc: {}
`);
    const wrong = () => readPlaybook(path);
    expect(wrong).toThrow(/mine\.yaml:1:7: name: may hold lower-case/);
    expect(wrong).toThrow(/:3:15: rules\[0\]\.endpoint.*goalstate/);
    expect(wrong).toThrow(/:4:25: rules\[0\]\.answers\[0\]\.status/);
    expect(wrong).toThrow(/:7:9: rules\[1\]\.answers\[0\]: has "pass" and "status"/);
    expect(wrong).toThrow(/:8:9: .*says nothing/);
    expect(wrong).toThrow(/:9:9: .*has "status", which replaces the answer, and "without"/);
    expect(wrong).toThrow(/:11:9: .*"repeat" and "forSeconds"/);
    expect(wrong).toThrow(/dhcp: says nothing/);
    expect(wrong).toThrow(/disc: needs either "absent" or "without"/);
  });

  test("may refuse connections for a whole service only", () => {
    const rule = (endpoint: string) =>
      write(`name: mine\nrules: [{ endpoint: ${endpoint}, answers: [{ connection: refuse }] }]\n`);
    expect(readPlaybook(rule("hostPlugin")).name).toBe("mine");
    expect(() => readPlaybook(rule("vmSettings"))).toThrow(/name a whole service/);
  });

  test("that does nothing is refused", () => {
    expect(() => readPlaybook(write("name: mine\n"))).toThrow(/does nothing/);
  });

  test("that is not there is told with a name that is near", () => {
    expect(() => readPlaybook("goalstate-411")).toThrow(/did you mean goalstate-410/);
    expect(() => readPlaybook("./nothing.yaml")).toThrow(/Cannot read/);
  });
});
