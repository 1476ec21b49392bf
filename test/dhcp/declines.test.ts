import { expect, test } from "vitest";
import { DECLINE_AT_ONCE_MS, Declines } from "../../src/dhcp/declines.ts";
import { macPlus, parseMac } from "../../src/model/mac-address.ts";

const FIRST = parseMac("02:00:00:00:00:00");

test("acknowledgements of many clients are remembered, each with its time", () => {
  const declines = new Declines();
  const clients = Array.from({ length: 4096 }, (_, n) => macPlus(FIRST, n + 1));
  clients.forEach((client, n) => void declines.acknowledged(client, n));
  const now = 4095;
  const atOnce = clients.filter((client) => declines.declined(client, now));
  expect(atOnce).toEqual(clients.filter((_, n) => now - n <= DECLINE_AT_ONCE_MS));
});

test("of two clients that share the last slot the later one is remembered", () => {
  const declines = new Declines();
  const one = macPlus(FIRST, 5);
  const other = macPlus(FIRST, 5 + 4096);
  declines.acknowledged(one, 0);
  declines.acknowledged(other, 1);
  expect([declines.declined(one, 2), declines.declined(other, 2)]).toEqual([false, true]);
});
