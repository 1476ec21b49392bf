/** Work that several callers want at once is done once. It is ended only when nobody wants it any more. */

/** How far a job is. */
export type Progress = (bytes: number, totalBytes: number | undefined) => void;

interface Job<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  readonly listeners: Set<Progress>;
  waiting: number;
}

/** Jobs that run, by key. */
export class SharedJobs<T> {
  readonly #running = new Map<string, Job<T>>();

  /**
   * The result of the job `key`, which is started if it does not run.
   *
   * @throws what the work throws; the signal's reason
   */
  async run(
    key: string,
    options: { readonly signal: AbortSignal; readonly onProgress: Progress },
    work: (signal: AbortSignal, progress: Progress) => Promise<T>,
  ): Promise<T> {
    const { signal, onProgress } = options;
    signal.throwIfAborted();
    const job = this.#running.get(key) ?? this.#start(key, work);
    job.waiting += 1;
    job.listeners.add(onProgress);
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason);
    signal.addEventListener("abort", abort);
    try {
      return await Promise.race([job.result, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
      job.listeners.delete(onProgress);
      job.waiting -= 1;
      if (job.waiting === 0) this.#end(key, job);
    }
  }

  #start(key: string, work: (signal: AbortSignal, progress: Progress) => Promise<T>): Job<T> {
    const controller = new AbortController();
    const listeners = new Set<Progress>();
    const result = work(controller.signal, (bytes, totalBytes) => {
      for (const listener of listeners) listener(bytes, totalBytes);
    });
    result.catch(() => undefined); // whoever waits is told
    const job: Job<T> = { result, controller, listeners, waiting: 0 };
    this.#running.set(key, job);
    return job;
  }

  /** A newcomer must not join a job that is being ended. */
  #end(key: string, job: Job<T>): void {
    if (this.#running.get(key) === job) this.#running.delete(key);
    job.controller.abort(new Error("Nobody waits for it any more"));
  }
}
