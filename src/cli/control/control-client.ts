/** Asks a running fabric over its control socket. */
import { request } from "node:http";
import type { z } from "zod";
import { FabricError } from "../../model/errors.ts";
import { openSocketPath, type SocketPath } from "../../net/socket-path.ts";

/** Name of the socket in the data folder. */
export const CONTROL_SOCKET = "control.sock";

/** A fabric that takes longer hangs; a deployment of thousands of instances is stored within it. */
const TIMEOUT_MS = 60_000;
/** Longest answer that is read. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** Codes of a connection that found nobody: no folder, no socket, or one that a killed process left. */
const NOBODY = new Set(["ENOENT", "ENOTDIR", "ECONNREFUSED"]);

/** What commands say when nothing runs at a place. */
export function notRunning(place: string): FabricError {
  const message =
    `No fabric runs on ${place}; start one with 'goalstate up' or 'goalstate serve', ` +
    "or name its data folder with --data";
  return new FabricError("ERR_CONTROL_NOT_RUNNING", message);
}

/** What is asked of a fabric. */
export interface ControlRequest {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
}

/**
 * The body that the fabric on a data folder answers.
 *
 * @param asked - a path is short for GET
 *
 * @throws FabricError ERR_CONTROL_NOT_RUNNING, ERR_CONTROL_ACCESS, or ERR_CONTROL_REFUSED with what it answered
 */
export async function askControl(folder: string, asked: string | ControlRequest): Promise<string> {
  try {
    using socket: SocketPath = openSocketPath(folder, CONTROL_SOCKET);
    const wanted: ControlRequest =
      typeof asked === "string" ? { method: "GET", path: asked } : asked;
    return await send(socket.path, wanted);
  } catch (cause) {
    if (cause instanceof FabricError) throw cause;
    throw connectError(folder, cause);
  }
}

/**
 * The JSON document that the fabric on a data folder answers.
 *
 * @throws FabricError as {@link askControl}, also if the document has another form
 */
export async function askControlFor<T>(
  folder: string,
  asked: string | ControlRequest,
  schema: z.ZodType<T>,
): Promise<T> {
  const text = await askControl(folder, asked);
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    // zod's words would be a page, and no help.
    const message = `The fabric on ${folder} answers in another form; use the command of its version`;
    throw new FabricError("ERR_CONTROL_REFUSED", message);
  }
}

function connectError(folder: string, cause: unknown): FabricError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (NOBODY.has(code)) return notRunning(folder);
  if (code === "EACCES" || code === "EPERM") {
    const message = `The fabric on ${folder} is another user's; run this as the user who started it`;
    return new FabricError("ERR_CONTROL_ACCESS", message);
  }
  const message = `The fabric on ${folder} does not answer`;
  return new FabricError("ERR_CONTROL_REFUSED", message, { cause });
}

function send(socketPath: string, { method, path, body }: ControlRequest): Promise<string> {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, method, headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      let length = 0;
      response.on("data", (part: Buffer) => {
        parts.push(part);
        length += part.length;
        if (length > ANSWER_BYTES_MAX) asked.destroy(new Error("the answer is too long"));
      });
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(parts).toString("utf8");
        if (response.statusCode === 200) resolve(text);
        else reject(refusal(text));
      });
    });
    asked.setTimeout(TIMEOUT_MS, () => asked.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
    asked.on("error", reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Wrong usage keeps its own code and words, and so the exit code that they have. */
function refusal(body: string): FabricError {
  try {
    const { code, message } = JSON.parse(body) as { code?: unknown; message?: unknown };
    if (isErrorCode(code) && typeof message === "string") return new FabricError(code, message);
    if (typeof message === "string") {
      return new FabricError("ERR_CONTROL_REFUSED", `The fabric refused: ${message}`);
    }
  } catch {
    // no JSON: shown as it is
  }
  return new FabricError("ERR_CONTROL_REFUSED", `The fabric refused: ${body.slice(0, 200)}`);
}

function isErrorCode(code: unknown): code is `ERR_${string}` {
  return typeof code === "string" && code.startsWith("ERR_");
}
