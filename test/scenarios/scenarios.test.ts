/**
 * The scenario catalogue: what a DHCP server for virtual machines must do, case by case. Each scenario says in words what
 * goes in and what comes out (catalogue/), and the golden files say it octet by octet. On every one of them the
 * properties of properties.ts are held as well.
 */
import { describe, test } from "vitest";
import { PARTS } from "./catalogue/index.ts";
import { expectGolden, runScenario } from "./run-scenario.ts";

describe.each(Object.entries(PARTS))("scenarios: %s", (_part, scenarios) => {
  for (const scenario of scenarios) {
    test(`${scenario.id} ${scenario.name}`, async () => {
      expectGolden(scenario, await runScenario(scenario));
    });
  }
});
