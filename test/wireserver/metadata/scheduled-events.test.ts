import { describe, expect, test } from "vitest";
import type { WireEvent, WireEvents } from "../../../src/wireserver/index.ts";
import { ask } from "./ask.ts";

const headers = { Metadata: "true" };
const URL_OF = (version: string) => `/metadata/scheduledevents?api-version=${version}`;
const url = URL_OF("2020-07-01");

const EVENT: WireEvent = {
  id: "f020ba2e-3bc0-4c40-a10b-86575a9eabd5",
  type: "Reboot",
  status: "Scheduled",
  resources: ["web_0"],
  notBeforeMs: Date.UTC(2022, 8, 19, 18, 29, 47),
  description: "Host network maintenance",
  source: "Platform",
  durationSeconds: -1,
};

/** Knows one event, and remembers who approved it. */
function createEvents(event: WireEvent = EVENT): WireEvents & { readonly approvals: string[] } {
  const approvals: string[] = [];
  return {
    approvals,
    list: async () => ({ incarnation: 7, events: [event] }),
    approve: async (container, ids) => {
      if (ids.some((id) => id !== event.id)) return false;
      approvals.push(`${container} ${ids.join(" ")}`);
      return true;
    },
  };
}

function approve(events: WireEvents, payload: string) {
  const request = { method: "POST", url, headers, payload } as const;
  return ask(request, undefined, { events });
}

describe("scheduled events", () => {
  test("are an empty document where nothing is ever scheduled", async () => {
    const { response } = await ask({ url, headers });
    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({ DocumentIncarnation: 1, Events: [] });
  });

  test("are listed as Azure lists them", async () => {
    const { response } = await ask({ url, headers }, undefined, { events: createEvents() });
    expect(response.json()).toEqual({
      DocumentIncarnation: 7,
      Events: [
        {
          EventId: EVENT.id,
          EventStatus: "Scheduled",
          EventType: "Reboot",
          ResourceType: "VirtualMachine",
          Resources: ["web_0"],
          NotBefore: "Mon, 19 Sep 2022 18:29:47 GMT",
          Description: "Host network maintenance",
          EventSource: "Platform",
          DurationInSeconds: -1,
        },
      ],
    });
  });

  test("that started have no time any more", async () => {
    const events = createEvents({ ...EVENT, status: "Started" });
    const { response } = await ask({ url, headers }, undefined, { events });
    expect(response.json().Events[0]).toMatchObject({ EventStatus: "Started", NotBefore: "" });
  });

  test("have in older versions what these had", async () => {
    const read = async (version: string) => {
      const options = { events: createEvents() };
      const { response } = await ask({ url: URL_OF(version), headers }, undefined, options);
      return response.json().Events[0];
    };
    expect(await read("2017-03-01")).toMatchObject({ Resources: ["_web_0"] });
    expect(await read("2017-11-01")).toMatchObject({ Resources: ["web_0"] });
    expect(await read("2017-11-01")).not.toHaveProperty("Description");
    expect(await read("2019-04-01")).not.toHaveProperty("EventSource");
    expect(await read("2019-08-01")).not.toHaveProperty("DurationInSeconds");
  });

  test("are approved by any guest of the deployment", async () => {
    const events = createEvents();
    const { response } = await approve(events, `{"StartRequests":[{"EventId":"${EVENT.id}"}]}`);
    expect(response.statusCode).toBe(200);
    expect(response.body).toBe("");
    expect(events.approvals).toEqual([`hello.web_0 ${EVENT.id}`]);
  });

  for (const [name, payload] of [
    ["no JSON", "<xml/>"],
    ["nothing", "{}"],
    ["an empty list", '{"StartRequests":[]}'],
    ["a number", '{"StartRequests":[{"EventId":5}]}'],
    ["an event that is not there", '{"StartRequests":[{"EventId":"other"}]}'],
    [
      "more than there can be",
      JSON.stringify({ StartRequests: new Array(101).fill({ EventId: EVENT.id }) }),
    ],
  ] as const) {
    test(`an approval of ${name} is refused`, async () => {
      const events = createEvents();
      const { response } = await approve(events, payload);
      expect(response.statusCode).toBe(400);
      expect(response.json().error).toMatch(/^Bad request\. /);
      expect(events.approvals).toEqual([]);
    });
  }

  test("an approval that could not be kept is answered 503", async () => {
    const fail = () => Promise.reject(new Error("the store is away"));
    const { response } = await approve(
      { list: fail, approve: fail },
      `{"StartRequests":[{"EventId":"${EVENT.id}"}]}`,
    );
    expect(response.statusCode).toBe(503);
    expect(response.body).not.toContain("store");
  });

  test("can be read and approved, and nothing else", async () => {
    const { response } = await ask({ method: "DELETE", url, headers });
    expect(response.statusCode).toBe(405);
    expect(response.headers.allow).toBe("GET, POST");
  });
});
