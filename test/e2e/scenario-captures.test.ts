/** What the server sends in all scenarios, before somebody else's reader. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  encodeCaptureHeader,
  encodeCaptureRecord,
  readCapture,
} from "../../src/net/capture-file.ts";
import { temporaryFolder } from "../temporary-folder.ts";
import { hasTshark, tsharkComplaints } from "../tshark.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");
/** Wireshark knows sub-option 19 of option 82 (RFC 8357, which S82 echoes) by name, and not what is in it. */
const ITS_OWN_FAULT = ";ERROR, please report: Unknown subopt type handler 19;1;1";

/** All replies that are committed as golden files: of the scenarios, and to captures of real clients. */
async function readReplies() {
  const paths = readdirSync(FIXTURES, { recursive: true, encoding: "utf8" }).filter(
    (path) => path.endsWith("/out.pcap") || path.endsWith(".replies.pcap"),
  );
  const captures = await Promise.all(paths.map((path) => readCapture(join(FIXTURES, path))));
  return captures.flatMap(({ frames }) => frames);
}

test.skipIf(!hasTshark && !process.env["CI"])(
  "S110 pcap-oracle: tshark finds no malformed reply and no bad checksum (needs tshark)",
  async () => {
    const replies = await readReplies();
    expect(replies.length).toBeGreaterThan(100);
    const path = join(temporaryFolder("oracle"), "replies.pcap");
    const records = replies.map((frame) => encodeCaptureRecord(frame));
    writeFileSync(path, Buffer.concat([encodeCaptureHeader(), ...records]));
    expect(tsharkComplaints(path).filter((line) => line !== ITS_OWN_FAULT)).toEqual([]);
  },
);
