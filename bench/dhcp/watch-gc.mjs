/** Loaded into a server by `node --import`: notes each pause for garbage of half a millisecond or more, in milliseconds. */
import { appendFileSync } from "node:fs";
import { PerformanceObserver } from "node:perf_hooks";

new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) {
    if (duration >= 0.5) appendFileSync(process.env["BENCH_GC_FILE"], `${duration}\n`);
  }
}).observe({ entryTypes: ["gc"] });
