/** Wireshark's opinion on captures: an independent reader that checks every field and both checksums. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";

export const hasTshark = existsSync("/usr/bin/tshark");

/** What tshark complains of: one line a packet, empty where it is content. */
export function tsharkComplaints(path: string): string[] {
  const fields = [
    "_ws.malformed",
    "_ws.expert.message",
    "ip.checksum.status",
    "udp.checksum.status",
  ];
  const checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"];
  const args = ["-r", path, ...checks, "-T", "fields", "-E", "separator=;"];
  const text = execFileSync("tshark", [...args, ...fields.flatMap((name) => ["-e", name])], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const GOOD = ";;1;1"; // not malformed, no expert information, both checksums good
  return text.split("\n").filter((line) => line !== "" && line !== GOOD);
}
