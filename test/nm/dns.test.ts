import packet from "dns-packet";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { NicGoal } from "../../src/model/documents.ts";
import { answerDns, NameZone } from "../../src/nm/index.ts";

function nic(index: number, inService = true, role = "web"): NicGoal {
  return {
    ...{ vnet: "lab.net", node: "n1", role, inService },
    mac: `02:67:73:00:00:0${index}`,
    container: `lab.${role}_${index}`,
    hostname: `${role}-${index}`,
    address: `10.20.0.${index}`,
  };
}

function zoneOf(...nics: readonly NicGoal[]): NameZone {
  const zone = new NameZone("Lab");
  for (const goal of nics) zone.set(goal.mac, goal);
  return zone;
}

type QueryType = Parameters<typeof packet.encode>[0]["questions"];

function ask(zone: NameZone, name: string, type: "A" | "AAAA" | "PTR" = "A") {
  const questions: QueryType = [{ type, name, class: "IN" }];
  const query = packet.encode({ type: "query", id: 7, flags: 0x100, questions });
  const answer = answerDns(query, zone);
  if (answer === undefined) return undefined;
  const {
    id,
    flags = 0,
    answers = [],
    rcode,
  } = packet.decode(Buffer.from(answer)) as ReturnType<typeof packet.decode> & { rcode: string };
  expect(id).toBe(7);
  expect(flags & 0x500).toBe(0x500); // authoritative, and the request's RD
  return [rcode, ...answers.map((record) => ("data" in record ? String(record.data) : ""))];
}

describe("names of a VNET", () => {
  test("an instance has its host name, with and without the domain, in any case", () => {
    const zone = zoneOf(nic(4), nic(5));
    for (const name of ["web-4", "WEB-4", "web-4.lab.internal", "Web-4.LAB.internal"]) {
      expect(ask(zone, name)).toEqual(["NOERROR", "10.20.0.4"]);
    }
  });

  test("a role leads to its instances that are in service, each time to another one first", () => {
    const zone = zoneOf(nic(4), nic(5, false), nic(6));
    expect(ask(zone, "web")).toEqual(["NOERROR", "10.20.0.4", "10.20.0.6"]);
    expect(ask(zone, "web.lab.internal")).toEqual(["NOERROR", "10.20.0.6", "10.20.0.4"]);
    expect(ask(zone, "web-5")).toEqual(["NOERROR", "10.20.0.5"]); // itself it can be found
  });

  test("a NIC that changes or goes takes its names along", () => {
    const zone = zoneOf(nic(4), nic(5));
    zone.set(nic(4).mac, nic(4, false));
    expect(ask(zone, "web")).toEqual(["NOERROR", "10.20.0.5"]);
    zone.set(nic(5).mac, undefined);
    expect(ask(zone, "web")).toEqual(["NOERROR"]);
    expect(ask(zone, "web-5")).toEqual(["NXDOMAIN"]);
  });

  test("an address has a name", () => {
    expect(ask(zoneOf(nic(4)), "4.0.20.10.in-addr.arpa", "PTR")).toEqual([
      "NOERROR",
      "web-4.lab.internal",
    ]);
  });

  test("no other kind of record exists of a name, and no other name is answered for", () => {
    const zone = zoneOf(nic(4));
    expect(ask(zone, "web-4", "AAAA")).toEqual(["NOERROR"]);
    expect(ask(zone, "db")).toEqual(["NXDOMAIN"]);
    expect(ask(zone, "web.other.internal")).toEqual(["REFUSED"]);
    expect(ask(zone, "example.com")).toEqual(["REFUSED"]);
    expect(ask(zone, "9.9.9.9.in-addr.arpa", "PTR")).toEqual(["REFUSED"]);
  });

  test("an answer fits 512 octets, however many instances a role has", () => {
    const zone = new NameZone("lab");
    for (let index = 1; index < 200; index += 1) {
      zone.set(`mac-${index}`, {
        ...nic(4),
        address: `10.20.0.${index}`,
        hostname: `web-${index}`,
      });
    }
    const questions: QueryType = [{ type: "A", name: "web.lab.internal", class: "IN" }];
    const answer = answerDns(packet.encode({ type: "query", id: 1, questions }), zone);
    expect(answer?.length).toBeLessThanOrEqual(512);
  });

  test("no datagram makes it throw, and no answer is answered", () => {
    const zone = zoneOf(nic(4));
    const query = packet.encode({ type: "query", id: 1, questions: [{ type: "A", name: "web" }] });
    const mutated = fc.tuple(fc.nat(query.length - 1), fc.nat(255)).map(([at, value]) => {
      const bytes = Buffer.from(query);
      bytes[at] = value;
      return bytes;
    });
    const junk = fc.uint8Array({ maxLength: 600 });
    fc.assert(
      fc.property(fc.oneof(mutated, junk), (bytes) => {
        const answer = answerDns(bytes, zone);
        if (answer !== undefined) expect(answerDns(answer, zone)).toBeUndefined();
      }),
    );
  });
});
