/** `goalstate dhcp replay` on files: what it prints, and what it refuses. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type ReplayFileOptions, replayFile } from "../../src/cli/replay/replay-file.ts";
import {
  encodeCaptureHeader,
  encodeCaptureRecord,
  readCapture,
} from "../../src/net/capture-file.ts";
import { temporaryFolder } from "../temporary-folder.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/pcap");
const CAPTURE = join(FIXTURES, "udhcpc.pcap");
const LAST_OCTET_OF_YIADDR = 42 + 19;
const INVENTORY = `
network: { subnet: 10.77.0.0/16, gateway: 10.77.0.1, dns: [10.77.0.53] }
nics: [{ mac: "00:0c:01:02:03:04", address: 10.77.10.1, container: web-0, hostname: web-0 }]
ranges: [{ mac: "00:0c:03:00:00:00", address: 10.77.10.0, count: 2 }]
`;

/** A folder with an inventory, and the command on it. */
function setUp() {
  const folder = temporaryFolder("replay");
  const inventory = join(folder, "inventory.yaml");
  writeFileSync(inventory, INVENTORY);
  const printed: string[] = [];
  const warned: string[] = [];
  const run = (options: Partial<ReplayFileOptions>) =>
    replayFile({
      ...{ file: CAPTURE, inventory, output: join(folder, "out.pcap") },
      ...{ isGateway: true, compare: false, json: false },
      print: (line) => void printed.push(line),
      warn: (line) => void warned.push(line),
      ...options,
    });
  return { folder, inventory, run, printed, warned };
}

/** A client's first frame, and our own answer to it with another address or the same. */
async function writeBoth(path: string, addressPlus: number): Promise<string> {
  const request = (await readCapture(CAPTURE)).frames[0]!;
  const reply = (await readCapture(join(FIXTURES, "udhcpc.replies.pcap"))).frames[0]!;
  const bytes = reply.bytes.slice();
  bytes[LAST_OCTET_OF_YIADDR]! += addressPlus;
  const later = { ...reply, bytes, timestampNs: request.timestampNs + 1_000_000n };
  const records = [request, later].map((frame) => encodeCaptureRecord(frame));
  writeFileSync(path, Buffer.concat([encodeCaptureHeader(), ...records]));
  return path;
}

describe("replayFile()", () => {
  test("prints JSON on request, and warns of what may surprise in the inventory", async () => {
    const { run, printed, warned, inventory } = setUp();
    await run({ json: true });
    expect(JSON.parse(printed.join("\n"))).toMatchObject({ summary: { answered: 2 } });
    expect(warned).toEqual([
      expect.stringContaining(`${inventory}: ranges[0]: address 10.77.10.1`),
    ]);
  });

  test("accepts a capture whose replies are ours", async () => {
    const { run, folder, printed } = setUp();
    await run({ file: await writeBoth(join(folder, "both.pcap"), 0), compare: true });
    expect(printed.at(-1)).toBe(
      "compared: 1 the same, 0 with other options, 0 with another type or address",
    );
  });

  test("fails, after it has printed all, if a captured reply has another address", async () => {
    const { run, folder, printed } = setUp();
    const file = await writeBoth(join(folder, "both.pcap"), 1);
    await expect(run({ file, compare: true })).rejects.toMatchObject({
      code: "ERR_REPLAY_DIFFERS",
      isUsage: false,
      message: "1 of 1 captured replies have another type or address than ours",
    });
    expect(printed).toContain("      yiaddr: captured 10.77.10.2, ours 10.77.10.1");
  });

  test("replays the whole frames of a capture that is cut, and says where it ends", async () => {
    const { run, folder, printed } = setUp();
    const file = join(folder, "cut.pcap");
    const whole = readFileSync(CAPTURE);
    writeFileSync(file, whole.subarray(0, whole.length - 1));
    await run({ file });
    expect(printed.at(-1)).toMatch(
      /^the capture is truncated at byte \d+; the frames before it were/,
    );
  });

  const refused: readonly {
    readonly name: string;
    readonly code: string;
    readonly options: (folder: string) => Partial<ReplayFileOptions>;
  }[] = [
    {
      name: "a capture without replies to compare",
      code: "ERR_USAGE_FILE",
      options: () => ({ compare: true }),
    },
    {
      name: "an output that is the capture",
      code: "ERR_USAGE_FILE",
      options: (folder) => ({
        file: join(folder, "inventory.yaml"),
        output: join(folder, "inventory.yaml"),
      }),
    },
    {
      name: "a capture that is not there",
      code: "ERR_CAPTURE_READ",
      options: (folder) => ({ file: join(folder, "none.pcap") }),
    },
    {
      name: "a file that is no capture",
      code: "ERR_CAPTURE_FORMAT",
      options: (folder) => ({ file: join(folder, "inventory.yaml") }),
    },
    {
      name: "an output that cannot be written",
      code: "ERR_CAPTURE_WRITE",
      options: () => ({ output: "/nonexistent/out.pcap" }),
    },
    {
      name: "an inventory that is none",
      code: "ERR_USAGE_INVENTORY",
      options: () => ({ inventory: join(import.meta.dirname, "../../biome.json") }),
    },
  ];
  for (const { name, code, options } of refused) {
    test(`refuses ${name}`, async () => {
      const { run, folder, inventory } = setUp();
      await expect(run(options(folder))).rejects.toMatchObject({ code });
      expect(readFileSync(inventory, "utf8")).toBe(INVENTORY);
    });
  }
});
