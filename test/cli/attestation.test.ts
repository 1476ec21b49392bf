/** The fabric's authority: one for all processes, and what they sign leads to it. */
import { X509Certificate } from "node:crypto";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { createAttester, openAuthority } from "../../src/cli/attestation.ts";
import { authorityRoutes } from "../../src/cli/authority-command.ts";
import { createControlApp } from "../../src/cli/control/control-server.ts";
import { openMemoryStore } from "../../src/store/index.ts";

const NOW_MS = Date.UTC(2026, 10, 25);
const now = () => NOW_MS;

function openStore() {
  const store = openMemoryStore();
  onTestFinished(() => store[Symbol.asyncDispose]());
  return store;
}

test("two processes that need the authority at once get the same", async () => {
  const store = openStore();
  const [one, other] = await Promise.all([openAuthority(store, now), openAuthority(store, now)]);
  expect(one).toEqual(other);
  expect(await openAuthority(store, now)).toEqual(one);
});

test("each process signs with a key of its own, which the authority vouches for", async () => {
  const store = openStore();
  const { certificate } = await openAuthority(store, now);
  const findVmId = (container: string) => (container === "hello.web_0" ? "id" : undefined);
  const attester = createAttester({ store, now, findVmId });
  const [first, second] = await Promise.all([
    attester.attest("hello.web_0", { version: "2020-09-01", nonce: "1" }),
    attester.attest("hello.web_0", { version: "2020-09-01", nonce: "2" }),
  ]);
  const authority = new X509Certificate(certificate);
  expect(authority.ca).toBe(true);
  for (const signed of [first, second]) {
    expect(Buffer.from(signed).includes(authority.raw)).toBe(true);
  }
  await expect(attester.attest("other", { version: "2020-09-01" })).rejects.toMatchObject({
    code: "ERR_USAGE_CONTAINER_UNKNOWN",
  });
});

test("the control socket tells the authority's certificate, and not its key", async () => {
  const store = openStore();
  const routes = [authorityRoutes(() => openAuthority(store, now))];
  const app = createControlApp(routes, pino({ level: "silent" }));
  onTestFinished(() => app.close());
  const answer = (await app.inject("/v1/authority")).json();
  expect(Object.keys(answer)).toEqual(["certificate"]);
  expect(new X509Certificate(answer.certificate).subject).toBe("CN=goalstate fabric authority");
});
