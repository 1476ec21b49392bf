/** Downloads from a real HTTP server that cuts, stalls, changes and redirects. */
import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  type FetchedImage,
  type ImageProgress,
  type ImageStore,
  openImageStore,
} from "../../../src/compute/images/index.ts";
import type { ImageDescription } from "../../../src/model/image.ts";
import { temporaryFolder } from "../../temporary-folder.ts";
import { type ImageServer, sha256, startImageServer, testContent } from "./image-server.ts";

/** Patient, as a busy machine is silent too; tests of silence have another. */
const STALL_MS = 10_000;
const STALL_MS_SHORT = 300;

async function openStore(
  cacheDirectory = temporaryFolder("images"),
  stallMs = STALL_MS,
): Promise<ImageStore> {
  const timing = { stallMs, retryMs: 5 };
  return await openImageStore({ cacheDirectory, now: Date.now, timing });
}

async function fetchFrom(
  store: ImageStore,
  image: ImageDescription,
): Promise<FetchedImage & { progress: ImageProgress[] }> {
  const progress: ImageProgress[] = [];
  const signal = AbortSignal.timeout(15_000);
  const fetched = await store.fetch(image, { signal, onProgress: (at) => progress.push(at) });
  return { ...fetched, progress };
}

/** The checksum of what is on the disk, whatever was said of it. */
function sumOf(image: FetchedImage): string {
  return sha256(readFileSync(image.disk!.path));
}

const partsIn = (cache: string): string[] => readdirSync(join(cache, "parts"));

describe("a download", () => {
  test("has the server's bytes, read-only, with progress from nothing to all", async () => {
    const server = await startImageServer();
    const cache = temporaryFolder("images");
    const { disk, progress } = await fetchFrom(await openStore(cache), { url: server.url });
    expect(sha256(readFileSync(disk!.path))).toBe(sha256(server.served.content));
    expect(disk).toMatchObject({ source: "download", format: "raw", shown: server.url });
    expect(disk!.sha256).toBe(sha256(server.served.content));
    expect(statSync(disk!.path).mode & 0o777).toBe(0o444);
    expect(progress[0]).toEqual({ part: "disk", bytes: 0, totalBytes: 3_000_000 });
    expect(progress.at(-1)).toEqual({ part: "disk", bytes: 3_000_000, totalBytes: 3_000_000 });
    expect(partsIn(cache)).toEqual([]);
    expect(readdirSync(join(cache, "locks"))).toEqual([]);
  });

  test("goes on after each cut where the server allows it", async () => {
    const faults = [{ cutAfter: 1_000_000 }, { cutAfter: 500_000 }];
    const server = await startImageServer({ faults });
    const image = await fetchFrom(await openStore(), { url: server.url });
    expect(sumOf(image)).toBe(sha256(server.served.content));
    const starts = server.log.map((line) => Number(/bytes=(\d+)- -> 206/.exec(line)?.[1] ?? 0));
    expect(server.log[0]).toBe("whole -> 200");
    expect(starts).toEqual([0, expect.any(Number), expect.any(Number)]);
    expect(starts[1]).toBeGreaterThan(0);
    expect(starts[2]).toBeGreaterThan(starts[1]!);
  });

  test.each([
    ["has no ranges", { ranges: false }],
    ["names no version", { etag: undefined }],
    ["names a weak version only", { etag: 'W/"1"' }],
  ])("starts over after a cut where the server %s", async (_what, image) => {
    const server = await startImageServer({
      ...(image as object),
      faults: [{ cutAfter: 1_000_000 }],
    });
    expect(sumOf(await fetchFrom(await openStore(), { url: server.url }))).toBe(
      sha256(server.served.content),
    );
    expect(server.log.at(-1)).toMatch(/-> 200$/);
  });

  test("goes on by Last-Modified, and without any version where a checksum will judge", async () => {
    const lastModified = "Wed, 25 Nov 2026 10:00:00 GMT";
    const dated = await startImageServer({ lastModified, faults: [{ cutAfter: 1_000_000 }] });
    delete dated.served.etag;
    await fetchFrom(await openStore(), { url: dated.url });
    expect(dated.log[1]).toMatch(/-> 206$/);
    const bare = await startImageServer({ faults: [{ cutAfter: 1_000_000 }] });
    delete bare.served.etag;
    await fetchFrom(await openStore(), { url: bare.url, sha256: sha256(bare.served.content) });
    expect(bare.log[1]).toMatch(/-> 206$/);
  });

  test.each([
    ["answers 200 to If-Range", {}],
    ["ignores If-Range", { ignoresIfRange: true }],
  ])("starts over when the file changed meanwhile and the server %s", async (_what, image) => {
    const server = await startImageServer({ ...image, faults: [{ cutAfter: 1_000_000 }] });
    server.served.onBody = () => {
      server.served.onBody = () => undefined;
      setImmediate(() =>
        Object.assign(server.served, { content: testContent(2_000_000, "new"), etag: '"v2"' }),
      );
    };
    const fetched = await fetchFrom(await openStore(), { url: server.url });
    expect(sumOf(fetched)).toBe(sha256(testContent(2_000_000, "new")));
  });

  test("without a length is whole when the body ends, and goes on after a cut", async () => {
    const server = await startImageServer({ chunked: true, faults: [{ cutAfter: 1_000_000 }] });
    const fetched = await fetchFrom(await openStore(), { url: server.url });
    expect(sumOf(fetched)).toBe(sha256(server.served.content));
  });

  test("leaves a server that is silent, and asks again", async () => {
    const server = await startImageServer({ faults: [{ stallAfter: 1_000_000 }] });
    const fetched = await fetchFrom(await openStore(undefined, STALL_MS_SHORT), {
      url: server.url,
    });
    expect(sumOf(fetched)).toBe(sha256(server.served.content));
    expect(server.log).toHaveLength(2);
  });

  test("gives up on a server that stays silent, says so, and keeps what it has", async () => {
    const server = await startImageServer({
      faults: [{ stallAfter: 1_000_000 }, ...Array.from({ length: 9 }, () => ({ stallAfter: 0 }))],
    });
    const cache = temporaryFolder("images");
    await expect(
      fetchFrom(await openStore(cache, STALL_MS_SHORT), { url: server.url }),
    ).rejects.toMatchObject({
      code: "ERR_IMAGE_DOWNLOAD",
      message: `Cannot download ${server.url}: the server was silent for 0.3 s; gave up after several tries`,
    });
    expect(server.log).toHaveLength(7);
    expect(partsIn(cache)).toHaveLength(2);
  });

  test("tries again after 503 and 429, with the pause that the server wants", async () => {
    const faults = [{ status: 503 }, { status: 429, headers: { "retry-after": "0" } }];
    const server = await startImageServer({ faults });
    await fetchFrom(await openStore(), { url: server.url });
    expect(server.log).toEqual(["whole -> 503", "whole -> 429", "whole -> 200"]);
  });

  test.each([
    ["/nothing", "HTTP 404"],
    ["/loop", "it was redirected more than 5 times"],
    ["/to-file", "it was redirected to something that is no http(s) URL"],
  ])("of %s ends at once: %s", async (path, reason) => {
    const { origin } = await startImageServer();
    await expect(fetchFrom(await openStore(), { url: origin + path })).rejects.toMatchObject({
      code: "ERR_IMAGE_DOWNLOAD",
      message: `Cannot download ${origin}${path}: ${reason}`,
    });
  });

  test("that has no room, or is larger than any image, is not begun", async () => {
    const cache = temporaryFolder("images");
    const { bavail, bsize } = statfsSync(cache);
    const announcedBytes = Math.min(bavail * bsize, 2 ** 38 + 1); // all that is free, and some must stay free
    const server = await startImageServer({ announcedBytes });
    const store = await openStore(cache);
    await expect(fetchFrom(store, { url: server.url })).rejects.toMatchObject({
      code: announcedBytes > 2 ** 38 ? "ERR_IMAGE_DOWNLOAD" : "ERR_IMAGE_SPACE",
    });
    server.served.announcedBytes = 2 ** 38 + 1;
    await expect(fetchFrom(store, { url: server.url })).rejects.toThrow(
      "it is larger than 256 GiB",
    );
  });

  test("follows a redirect, and names a refused connection", async () => {
    const server = await startImageServer();
    const moved = await fetchFrom(await openStore(), { url: `${server.origin}/moved` });
    expect(sumOf(moved)).toBe(sha256(server.served.content));
    await expect(fetchFrom(await openStore(), { url: "http://127.0.0.1:1/image" })).rejects.toThrow(
      /Cannot download http:\/\/127.0.0.1:1\/image: .*bad port/,
    );
  });

  test("hides the query of a URL in errors and in the cache", async () => {
    const server = await startImageServer({ faults: [{ status: 403 }] });
    const cache = temporaryFolder("images");
    const url = `${server.url}?sig=secret`;
    await expect(fetchFrom(await openStore(cache), { url })).rejects.toThrow(
      /image\?\.\.\.: HTTP 403/,
    );
    const store = await openStore(cache);
    await fetchFrom(store, { url });
    expect((await store.list())[0]!.urls).toEqual([`${server.url}?...`]);
  });

  test("stops when it is aborted, and the next one goes on", async () => {
    const server = await startImageServer({ faults: [{ stallAfter: 2_000_000 }] });
    const store = await openStore();
    const controller = new AbortController();
    const onProgress = ({ bytes }: ImageProgress) => bytes > 500_000 && controller.abort();
    const attempt = store.fetch({ url: server.url }, { signal: controller.signal, onProgress });
    await expect(attempt).rejects.toThrow("This operation was aborted");
    expect(sumOf(await fetchFrom(store, { url: server.url }))).toBe(sha256(server.served.content));
    expect(server.log[1]).toMatch(/^bytes=\d+- -> 206$/);
  });
});

describe("a checksum", () => {
  test("that is wrong names both sums and leaves nothing behind", async () => {
    const server = await startImageServer();
    const cache = temporaryFolder("images");
    const declared = "0".repeat(64);
    const attempt = fetchFrom(await openStore(cache), { url: server.url, sha256: declared });
    await expect(attempt).rejects.toMatchObject({
      code: "ERR_IMAGE_CHECKSUM",
      message: expect.stringContaining(
        `its SHA-256 is ${sha256(server.served.content)}, not ${declared} as declared`,
      ),
    });
    expect(partsIn(cache)).toEqual([]);
    expect(readdirSync(join(cache, "blobs"))).toEqual([]);
  });

  test("that fails over a resumed part gets a second download, from the start", async () => {
    const server = await startImageServer({ faults: [{ stallAfter: 2_000_000 }] });
    delete server.served.etag;
    const cache = temporaryFolder("images");
    const controller = new AbortController();
    const store = await openStore(cache);
    const first = {
      signal: controller.signal,
      onProgress: ({ bytes }: ImageProgress) => bytes > 500_000 && controller.abort(),
    };
    await expect(store.fetch({ url: server.url, sha256: "0".repeat(64) }, first)).rejects.toThrow();
    server.served.content = testContent(3_000_000, "new");
    const image = { url: server.url, sha256: sha256(server.served.content) };
    expect(sumOf(await fetchFrom(store, image))).toBe(sha256(server.served.content));
    expect(server.log.slice(1)).toEqual([expect.stringMatching(/-> 206$/), "whole -> 200"]);
  });

  test("that the cache has asks no server", async () => {
    const server = await startImageServer();
    const store = await openStore();
    const image = { url: server.url, sha256: sha256(server.served.content) };
    await fetchFrom(store, image);
    const again = await fetchFrom(store, { ...image, url: "http://127.0.0.1:1/gone" });
    expect(again.disk!.source).toBe("cache");
    expect(server.log).toHaveLength(1);
  });
});

describe("a URL without a checksum", () => {
  test("is asked for changes, and downloaded only if there are some", async () => {
    const server = await startImageServer();
    const store = await openStore();
    const first = await fetchFrom(store, { url: server.url });
    const same = await fetchFrom(store, { url: server.url });
    expect(same.disk).toMatchObject({ path: first.disk!.path, source: "cache" });
    Object.assign(server.served, { content: testContent(1_000_000, "new"), etag: '"v2"' });
    const changed = await fetchFrom(store, { url: server.url });
    expect(sumOf(changed)).toBe(sha256(server.served.content));
    expect(existsSync(first.disk!.path)).toBe(true);
    expect(server.log).toEqual(["whole -> 200", "whole -> 304", "whole -> 200"]);
  });

  test("is taken from the cache where the server cannot be asked, and says so", async () => {
    const server = await startImageServer();
    const store = await openStore();
    await fetchFrom(store, { url: server.url });
    server.served.faults = Array.from({ length: 9 }, () => ({ status: 503 }));
    const again = await fetchFrom(store, { url: server.url });
    expect(again.disk!.source).toBe("cache, as the download failed");
  });

  test("is downloaded once where the server names no version", async () => {
    const server = await startImageServer();
    delete server.served.etag;
    const store = await openStore();
    await fetchFrom(store, { url: server.url });
    expect((await fetchFrom(store, { url: server.url })).disk!.source).toBe("cache");
    expect(server.log).toEqual(["whole -> 200"]);
  });
});

describe("several fetches of one image at once", () => {
  test("download it once, and all are told how far it is", async () => {
    const server = await startImageServer();
    const store = await openStore();
    const all = await Promise.all(
      Array.from({ length: 8 }, () => fetchFrom(store, { url: server.url })),
    );
    expect(new Set(all.map(({ disk }) => disk!.path)).size).toBe(1);
    expect(all.map(({ progress }) => progress.at(-1)!.bytes)).toEqual(Array(8).fill(3_000_000));
    expect(server.log).toEqual(["whole -> 200"]);
  });

  test("go on when the one that began is aborted", async () => {
    const server = await startImageServer({ faults: [{ stallAfter: 1_000_000 }] });
    const store = await openStore(undefined, STALL_MS_SHORT);
    const controller = new AbortController();
    const first = store.fetch({ url: server.url }, { signal: controller.signal });
    const second = fetchFrom(store, { url: server.url });
    controller.abort();
    await expect(first).rejects.toThrow("This operation was aborted");
    expect(sumOf(await second)).toBe(sha256(server.served.content));
  });

  test("in two stores on one folder wait for each other", async () => {
    const server: ImageServer = await startImageServer();
    const cache = temporaryFolder("images");
    const stores = await Promise.all([openStore(cache), openStore(cache), openStore(cache)]);
    const all = await Promise.all(stores.map((store) => fetchFrom(store, { url: server.url })));
    expect(all.map(({ disk }) => disk!.source).sort()).toEqual(["cache", "cache", "download"]);
    expect(server.log.filter((line) => line.endsWith("200"))).toHaveLength(1);
    expect(partsIn(cache)).toEqual([]);
  });
});
