import { describe } from "vitest";
import { openMemoryStore } from "../../src/store/index.ts";
import { storeConformance } from "./conformance.ts";

describe("openMemoryStore()", () => storeConformance(openMemoryStore));
