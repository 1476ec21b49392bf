/** Exchanges as an HTTP Archive, version 1.2, for browsers' developer tools and whatever else reads it. */
import { STATUS_CODES } from "node:http";
import type { WireService } from "../../model/playbook.ts";
import type { ExchangeDocument, Har, HarEntry } from "./trace-document.ts";

/** Where a guest finds the services; archives have absolute URLs. */
const AUTHORITIES: Readonly<Record<WireService, { host: string; port: number }>> = {
  wireServer: { host: "168.63.129.16", port: 80 },
  hostPlugin: { host: "168.63.129.16", port: 32_526 },
  metadata: { host: "169.254.169.254", port: 80 },
};

/** Makes an archive. @param version - of goalstate */
export function harOf(exchanges: readonly ExchangeDocument[], version: string): Har {
  const creator = { name: "goalstate", version };
  return { log: { version: "1.2", creator, entries: exchanges.map(entryOf) } };
}

function entryOf(exchange: ExchangeDocument): HarEntry {
  const { time, waitMs, durationMs, service, fault, refusal } = exchange;
  const notes = [
    `container ${exchange.container}`,
    ...(fault === undefined ? [] : [`fault ${fault}`]),
    ...(refusal === undefined ? [] : [`refused: ${refusal}`]),
  ];
  const wait = Math.min(waitMs, durationMs);
  return {
    startedDateTime: time,
    time: durationMs,
    request: requestOf(exchange),
    response: responseOf(exchange),
    cache: {},
    timings: { send: 0, wait, receive: durationMs - wait },
    serverIPAddress: AUTHORITIES[service].host,
    comment: notes.join(", "),
  };
}

function requestOf({ service, request }: ExchangeDocument): HarEntry["request"] {
  const { method, url, httpVersion, headers, body } = request;
  const { host, port } = AUTHORITIES[service];
  const query = url.indexOf("?");
  return {
    method,
    url: `http://${host}${port === 80 ? "" : `:${port}`}${url}`,
    httpVersion: `HTTP/${httpVersion}`,
    cookies: [],
    headers,
    queryString:
      query < 0
        ? []
        : [...new URLSearchParams(url.slice(query + 1))].map(([name, value]) => ({ name, value })),
    ...(body.bytes > 0 && {
      postData: {
        mimeType: findHeader(headers, "content-type"),
        text: body.text ?? "",
        params: [],
        ...missingText(body),
      },
    }),
    headersSize: -1,
    bodySize: body.bytes,
  };
}

function responseOf({ response }: ExchangeDocument): HarEntry["response"] {
  const none = { status: 0, headers: [], body: { bytes: 0 } };
  const { status, headers, body } = response ?? none;
  return {
    status,
    statusText: STATUS_CODES[status] ?? "",
    httpVersion: "HTTP/1.1",
    cookies: [],
    headers,
    content: {
      size: body.bytes,
      mimeType: findHeader(headers, "content-type"),
      ...("text" in body && body.text !== undefined && { text: body.text }),
      ...missingText(body),
    },
    redirectURL: findHeader(headers, "location"),
    headersSize: -1,
    bodySize: response === undefined ? -1 : body.bytes,
  };
}

/** Says of a body that is not there which one it was. */
function missingText(body: {
  readonly bytes: number;
  readonly sha256?: string | undefined;
  readonly text?: string | undefined;
}): { comment?: string } {
  if (body.bytes === 0 || body.text !== undefined) return {};
  return { comment: body.sha256 === undefined ? "not kept" : `not kept; sha256 ${body.sha256}` };
}

function findHeader(headers: ExchangeDocument["request"]["headers"], wanted: string): string {
  return headers.find(({ name }) => name.toLowerCase() === wanted)?.value ?? "";
}
