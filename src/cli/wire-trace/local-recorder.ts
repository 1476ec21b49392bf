/** The trace of services that run in this process, as those of `serve` do. */
import { join } from "node:path";
import type { Logger } from "pino";
import { TraceRecorder, type WireRecorder } from "../../wireserver/index.ts";
import { wallClock } from "../wall-clock.ts";
import { openTraceWriter, TRACE_FOLDER } from "./trace-writer.ts";

/** See {@link openLocalRecorder}. Disposing writes what waits. */
export interface LocalRecorder extends AsyncDisposable {
  readonly recorder: WireRecorder;
}

/** Records into a data folder. */
export function openLocalRecorder(data: string, log: Logger): LocalRecorder {
  const writer = openTraceWriter(join(data, TRACE_FOLDER), (err) =>
    log.warn({ err }, "the trace of requests is not written"),
  );
  const recorder: TraceRecorder = new TraceRecorder({
    now: wallClock(Date.now, () => performance.now()),
    startTimer: (milliseconds, callback) => {
      const timer = setTimeout(callback, milliseconds);
      return () => clearTimeout(timer);
    },
    take: (batch) => {
      // What is lost takes its file along; the next exchange begins another.
      if (!writer.take(batch)) setImmediate(() => recorder.beginFile());
      return true;
    },
  });
  return {
    recorder,
    [Symbol.asyncDispose]: async () => {
      recorder.flush();
      await writer[Symbol.asyncDispose]();
    },
  };
}
