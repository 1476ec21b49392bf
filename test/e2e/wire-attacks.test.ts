import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  CONNECTIONS_OF_CALLER_MAX,
  HEADERS_MAX,
  WIRE_REQUESTS,
} from "../../src/wireserver/limits.ts";
import {
  A,
  B,
  containerIdOf,
  exchange,
  GOAL_STATE,
  get,
  healthPost,
  openWireScene,
  STRANGER,
  type WireScene,
} from "./wire-scene.ts";

const VERSION = "x-ms-version: 2012-11-30";
const HOST_PLUGIN = 32_526;
const HOST = "Host: 168.63.129.16";
const CRLF = "\r\n";
const GIBIBYTE = 1024 ** 3;

let scene: WireScene;

beforeAll(async () => {
  scene = await openWireScene();
}, 60_000);
afterAll(() => scene[Symbol.asyncDispose]());

/** B is served as if nothing were. */
async function expectOthersServed(): Promise<void> {
  expect(await scene.send(B, GOAL_STATE)).toContain(containerIdOf("b"));
  expect(await scene.send(B, healthPost("b"))).toMatch(/^HTTP\/1.1 200 /);
}

function statusOf(answer: string): string {
  return answer.slice(0, 12);
}

/** How many answers there are in what came on one connection. */
function countAnswers(text: string): number {
  return text.split("HTTP/1.1 ").length - 1;
}

describe("what belongs to B", () => {
  const idOfB = containerIdOf("b");
  const config = `/machine/${idOfB}/x.b?comp=config&type=hostingEnvironmentConfig&incarnation=1`;
  const asked: Readonly<Record<string, string>> = {
    "by B's path": get(config, [VERSION]),
    "by B's path, twice escaped": get(config.replaceAll("-", "%2d"), [VERSION]),
    "by B's path behind a dot segment": get(`/machine/x/../${config.slice(9)}`, [VERSION]),
    "in B's name: X-Forwarded-For": get("/machine?comp=goalstate", [
      VERSION,
      `X-Forwarded-For: ${B}`,
    ]),
    "in B's name: Forwarded": get("/machine?comp=goalstate", [VERSION, `Forwarded: for=${B}`]),
    "in B's name: Host": get("/machine?comp=goalstate", [VERSION]).replace(HOST, `Host: ${B}`),
    "in B's name: x-ms-containerid": get("/machine?comp=goalstate", [
      VERSION,
      `x-ms-containerid: ${idOfB}`,
    ]),
    "in B's name: the host of the target": get(`http://${B}/machine?comp=goalstate`, [VERSION]),
    "in B's name: an IPv4-mapped host": get(`http://[::ffff:${B}]/machine?comp=goalstate`, [
      VERSION,
    ]),
    "as a report": healthPost("b").replaceAll("\n", ""),
  };
  for (const [how, request] of Object.entries(asked)) {
    test(`is not for A, who asks ${how}`, async () => {
      const answer = await scene.send(A, request);
      // What A wrote itself may be in the refusal's text.
      expect(answer.replace(/<Message>.*<\/Message>/, "")).not.toContain(idOfB.slice(9));
      expect(answer).not.toContain("of b");
      expect(answer).toMatch(/^HTTP\/1.1 (200|4\d\d) /);
      if (answer.startsWith("HTTP/1.1 200")) expect(answer).toContain(containerIdOf("a"));
    });
  }

  test("is not for A on the host plugin and the metadata service either", async () => {
    const settings = get("/vmSettings", [`x-ms-containerid: ${idOfB}`]);
    expect(await scene.send(A, settings, HOST_PLUGIN)).toMatch(/^HTTP\/1.1 4\d\d /);
    const metadata = get("/metadata/instance?api-version=2021-02-01", ["Metadata: true"]);
    const answer = await scene.send(A, metadata, 80, "169.254.169.254");
    expect(answer).toContain('"name":"a"');
    const forwarded = metadata.replace("Metadata", `X-Forwarded-For: ${B}${CRLF}Metadata`);
    expect(statusOf(await scene.send(A, forwarded, 80, "169.254.169.254"))).toBe("HTTP/1.1 400");
  });

  test("is refused to a stranger, who is named in the log once, however often it asks", async () => {
    for (let count = 0; count < 5; count += 1) {
      expect(await scene.send(STRANGER, GOAL_STATE)).toMatch(/^HTTP\/1.1 403 /);
    }
    await delay(100);
    const named = scene.refused.filter((line) => line === `${STRANGER} unknown-caller`);
    expect(named).toHaveLength(1);
    await expectOthersServed();
  });
});

describe("a second request that hides in the first", () => {
  const hidden = GOAL_STATE;
  const start = `POST /machine?comp=telemetrydata HTTP/1.1${CRLF}${HOST}${CRLF}${VERSION}${CRLF}`;
  const length = `Content-Length: ${hidden.length}`;
  const forms: Readonly<Record<string, string>> = {
    "by two kinds of length": `${start}${length}${CRLF}Transfer-Encoding: chunked${CRLF}${CRLF}0${CRLF}${CRLF}${hidden}`,
    "by two lengths": `${start}${length}${CRLF}Content-Length: 0${CRLF}${CRLF}${hidden}`,
    "by a list of lengths": `${start}Content-Length: 0, 5${CRLF}${CRLF}${hidden}`,
    "by a signed length": `${start}Content-Length: +0${CRLF}${CRLF}${hidden}`,
    "by an unknown encoding": `${start}Transfer-Encoding: xchunked${CRLF}${CRLF}${hidden}`,
    "by an encoding that is chunked twice": `${start}Transfer-Encoding: chunked, identity${CRLF}${CRLF}0${CRLF}${CRLF}${hidden}`,
    "by a folded header": `${start}X-A: b${CRLF} Content-Length: 0${CRLF}Bad Header: x${CRLF}${CRLF}${hidden}`,
    "by a space before the colon": `${start}Content-Length : 0${CRLF}${CRLF}${hidden}`,
    "by a bare line feed": `${start}X-A: b\nContent-Length: 0${CRLF}${CRLF}${hidden}`,
    "by a bare carriage return": `${start}X-A: b\rContent-Length: 0${CRLF}${CRLF}${hidden}`,
    "by a NUL": `${start}X-A: b\0c${CRLF}Content-Length: 0${CRLF}${CRLF}${hidden}`,
    "by a chunk with a wrong length": `${start}Transfer-Encoding: chunked${CRLF}${CRLF}-1${CRLF}${CRLF}${hidden}`,
  };
  for (const [how, text] of Object.entries(forms)) {
    test(`is not answered: ${how}`, async () => {
      const answer = await scene.send(A, text);
      expect(answer).toMatch(/^HTTP\/1.1 4\d\d /);
      expect(countAnswers(answer)).toBe(1);
      expect(answer).not.toContain("<GoalState");
      await expectOthersServed();
    });
  }

  test("is answered in its turn where nothing hides it", async () => {
    const first = GOAL_STATE.replace("Connection: close\r\n", "");
    expect(countAnswers(await scene.send(A, first + GOAL_STATE))).toBe(2);
  });
});

describe("methods and targets that nobody needs", () => {
  const lines: Readonly<Record<string, RegExp>> = {
    "CONNECT 10.20.0.5:80 HTTP/1.1": /^(HTTP\/1.1 4\d\d |$)/,
    "TRACE /machine?comp=goalstate HTTP/1.1": /^HTTP\/1.1 4\d\d /,
    "PROPFIND / HTTP/1.1": /^HTTP\/1.1 4\d\d /,
    "GET //10.20.0.5/machine?comp=goalstate HTTP/1.1": /^HTTP\/1.1 4\d\d /,
    "GET http://10.20.0.5/ HTTP/1.1": /^HTTP\/1.1 4\d\d /,
    "GET machine HTTP/1.1": /^HTTP\/1.1 4\d\d /,
    "OPTIONS * HTTP/1.1": /^HTTP\/1.1 4\d\d /,
    "GET /machine?comp=goalstate HTTP/3.7": /^HTTP\/1.1 4\d\d /,
    "PRI * HTTP/2.0": /^HTTP\/1.1 4\d\d /,
  };
  for (const [line, expected] of Object.entries(lines)) {
    test(`are refused: ${line}`, async () => {
      const text = `${line}${CRLF}${HOST}${CRLF}${VERSION}${CRLF}Connection: close${CRLF}${CRLF}`;
      const answer = await scene.send(A, text);
      expect(answer).toMatch(expected);
      expect(answer).not.toContain(VERSION); // headers are not echoed
    });
  }

  test("an upgrade is not made: the request is answered as what it is", async () => {
    const upgrade = GOAL_STATE.replace(
      "Connection: close",
      `Connection: Upgrade, close${CRLF}Upgrade: h2c`,
    );
    expect(await scene.send(A, upgrade)).toMatch(/^HTTP\/1.1 (200|4\d\d) /);
  });

  test("TLS on the port is refused", async () => {
    const answer = await scene.send(
      A,
      "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003",
    );
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
  });
});

describe("too much at once", () => {
  test("headers of more bytes or lines than are allowed are refused", async () => {
    const long = get("/machine?comp=goalstate", [VERSION, `X-Long: ${"x".repeat(20_000)}`]);
    expect(statusOf(await scene.send(A, long))).toBe("HTTP/1.1 431");
    const many = Array.from({ length: HEADERS_MAX + 1 }, (_, index) => `X-${index}: y`);
    const answer = await scene.send(A, get("/machine?comp=goalstate", [VERSION, ...many]));
    expect(statusOf(answer)).toBe("HTTP/1.1 400");
    await expectOthersServed();
  });

  for (const [form, header] of [
    ["that says so", `Content-Length: ${GIBIBYTE}`],
    ["in chunks", "Transfer-Encoding: chunked"],
  ] as const) {
    test(`a body of 1 GB ${form} is refused before much of it was taken`, async () => {
      const socket = scene.connect(A);
      const head = `POST /machine?comp=telemetrydata HTTP/1.1${CRLF}${HOST}${CRLF}${VERSION}${CRLF}${header}`;
      const answered = exchange(socket, head + CRLF + CRLF);
      const part = Buffer.alloc(65_536, "x");
      const chunk =
        form === "in chunks"
          ? Buffer.concat([Buffer.from("10000\r\n"), part, Buffer.from("\r\n")])
          : part;
      let sent = 0;
      while (!socket.destroyed && sent < GIBIBYTE) {
        const isTaken = socket.write(chunk);
        sent += chunk.length;
        if (!isTaken)
          await Promise.race([delay(100), new Promise((resolve) => socket.once("drain", resolve))]);
      }
      const answer = await answered;
      // What was sent after the refusal may reset the connection before the answer is read.
      if (answer !== "") expect(statusOf(answer)).toBe("HTTP/1.1 413");
      expect(sent).toBeLessThan(64 * 1024 * 1024);
      await expectOthersServed();
    });
  }

  test("10,000 connections of one guest: the first 64 are kept, the rest is refused, others are served", async () => {
    const sockets: Socket[] = [];
    let open = 0;
    let refused = 0;
    try {
      for (let count = 0; count < 10_000; count += 1) {
        const socket = scene.connect(A);
        sockets.push(socket);
        socket.on("error", () => undefined);
        open += 1;
        socket.on("close", () => {
          open -= 1;
          refused += 1;
        });
        socket.resume();
        if (count % 250 === 0) await delay(1);
        if (count === 5_000) await expectOthersServed();
      }
      for (let tries = 0; open > CONNECTIONS_OF_CALLER_MAX && tries < 200; tries += 1)
        await delay(20);
      expect(open).toBeLessThanOrEqual(CONNECTIONS_OF_CALLER_MAX);
      expect(refused).toBeGreaterThanOrEqual(10_000 - CONNECTIONS_OF_CALLER_MAX);
      await expectOthersServed();
    } finally {
      for (const socket of sockets) socket.destroy();
    }
    await delay(100);
    expect(await scene.send(A, GOAL_STATE)).toContain(containerIdOf("a")); // it may go on
    const named = scene.refused.filter((line) => line === `${A} too-many-connections`);
    expect(named).toHaveLength(1);
  });

  test("a guest that asks without end is told to wait, and B is not", async () => {
    const count = WIRE_REQUESTS.atOnce + 400;
    const request = GOAL_STATE.replace("Connection: close\r\n", "");
    const lanes = 20;
    const answers = await Promise.all(
      Array.from({ length: lanes }, () =>
        scene.send(A, request.repeat(count / lanes - 1) + GOAL_STATE),
      ),
    );
    const all = answers.join("");
    expect(all).toContain("HTTP/1.1 429");
    expect(all).toContain("<Code>RequestRateLimitExceeded</Code>");
    expect(all.split("HTTP/1.1 200").length - 1).toBeGreaterThanOrEqual(WIRE_REQUESTS.atOnce / 2);
    await expectOthersServed();
  });
});

describe("slowness", () => {
  test("of every kind is cut off at the deadline, and holds up nobody", async () => {
    const endings: Promise<void>[] = [];
    const start = (text: string, dribble: string, isHalfClosed = false) => {
      const socket = scene.connect(A, HOST_PLUGIN);
      socket.on("error", () => undefined);
      socket.resume();
      socket.write(text);
      if (isHalfClosed) socket.end();
      const timer = setInterval(() => socket.writable && socket.write(dribble), 500);
      const ended = new Promise<void>((resolve) =>
        socket.on("close", () => {
          clearInterval(timer);
          resolve();
        }),
      );
      endings.push(ended);
    };
    const head = `PUT /status HTTP/1.1${CRLF}${HOST}${CRLF}`;
    for (let count = 0; count < 12; count += 1) {
      start("", ""); // says nothing
      start("GET /versions HTTP/1.1\r\nX-A", "a"); // header by header
      start(`${head}Content-Length: 100000${CRLF}${CRLF}`, "x"); // body by byte
      start(`${head}Transfer-Encoding: chunked${CRLF}${CRLF}`, "1\r\nx\r\n");
      start(`${head}Content-Length: 100000${CRLF}${CRLF}x`, "", true); // ends its half
    }
    for (let tries = 0; tries < 5; tries += 1) {
      await expectOthersServed();
      expect(await scene.send(B, get("/versions"), HOST_PLUGIN)).toMatch(/^HTTP\/1.1 200 /);
      await delay(200);
    }
    await Promise.all(endings); // each is cut off, none ends by itself
    expect(scene.refused.filter((line) => line === `${A} too-slow`)).toHaveLength(1);
  });
});
