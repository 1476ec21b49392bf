import { closeSync, readSync, writeSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { openEventFd } from "../../src/net/libc.ts";
import { Poller } from "../../src/net/poller.ts";

const ONE = new BigUint64Array([1n]);

function eventFd(): number {
  const fd = openEventFd();
  onTestFinished(() => closeSync(fd));
  return fd;
}

/** What a handler does to one event. */
const take = (fd: number) => readSync(fd, Buffer.alloc(8));

test("a descriptor that always has something does not keep the others waiting", async () => {
  const poller = new Poller();
  const [busy, quiet] = [eventFd(), eventFd()];
  let rounds = 0;
  const roundsUntilOther = new Promise<number>((resolve) => {
    poller.watch(quiet, () => {
      take(quiet);
      resolve(rounds);
      return false;
    });
  });
  poller.watch(busy, () => {
    rounds += 1;
    if (rounds === 10) writeSync(quiet, ONE);
    return true;
  });
  writeSync(busy, ONE);
  expect(await roundsUntilOther).toBeLessThan(20);
  poller.unwatch(busy);
  poller.unwatch(quiet);
});

test("a descriptor that is watched or unwatched while the poll waits counts from then on", async () => {
  const poller = new Poller();
  const [first, second] = [eventFd(), eventFd()];
  const seen: string[] = [];
  const watch = (fd: number, name: string) =>
    new Promise<void>((resolve) => {
      poller.watch(fd, () => {
        take(fd);
        seen.push(name);
        resolve();
        return false;
      });
    });
  const firstSeen = watch(first, "first");
  const secondSeen = watch(second, "second");
  writeSync(second, ONE);
  await secondSeen;
  poller.unwatch(second);
  writeSync(second, ONE);
  writeSync(first, ONE);
  await firstSeen;
  poller.unwatch(first);
  expect(seen).toEqual(["second", "first"]);
});

test("one poll waits for a thousand descriptors", async () => {
  const poller = new Poller();
  const fds = Array.from({ length: 1000 }, eventFd);
  const seen = new Set<number>();
  await new Promise<void>((resolve) => {
    for (const fd of fds) {
      poller.watch(fd, () => {
        take(fd);
        seen.add(fd);
        if (seen.size === fds.length) resolve();
        return false;
      });
    }
    for (const fd of fds) writeSync(fd, ONE);
  });
  expect(poller.wakeups).toBeLessThanOrEqual(3);
  for (const fd of fds) poller.unwatch(fd);
});
