/** The log, as plugins of the DHCP chain write to it. */
import type { Logger } from "pino";
import type { WriteLog } from "../wds/index.ts";

export function writeLogTo(log: Logger): WriteLog {
  return (level, fields, message) => log[level](fields, message);
}
