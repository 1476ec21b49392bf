/** Asks an endpoint from inside its VNET, as a neighbour would: does somebody answer there? */
import { Agent, get } from "node:http";
import { Socket } from "node:net";
import { formatIpv4, type Ipv4Address } from "../model/ipv4-address.ts";
import { inNamespace } from "../net/namespace.ts";
import { openConnection } from "../net/sockets.ts";

const PROBE_TIMEOUT_MS = 3_000;
const TEXT_CHARACTERS_MAX = 80;

/** What a probe found. */
export type ProbeResult =
  | { readonly kind: "open"; readonly answer: string }
  | { readonly kind: "closed"; readonly reason: string };

/** Connects to an endpoint; an `http` endpoint must answer a GET as well. UDP endpoints cannot be probed. */
export async function probeEndpoint(options: {
  readonly namespace: string;
  readonly address: Ipv4Address;
  readonly port: number;
  readonly protocol: "http" | "tcp" | "udp";
  /** What a GET asks for; default `/`. */
  readonly path?: string;
}): Promise<ProbeResult> {
  const { namespace, address, port, protocol, path = "/" } = options;
  if (protocol === "udp") return { kind: "open", answer: "udp is not probed" };
  const connection = inNamespace(namespace, () => openConnection(address, port));
  if (typeof connection === "string") return { kind: "closed", reason: connection };
  const failure = await connection.connected(PROBE_TIMEOUT_MS);
  const socket = new Socket({ fd: connection.fd, readable: true, writable: true });
  try {
    if (failure !== undefined) return { kind: "closed", reason: failure };
    if (protocol === "tcp") return { kind: "open", answer: "connected" };
    return await askHttp(socket, `${formatIpv4(address)}:${port}`, path);
  } finally {
    socket.destroy();
  }
}

function askHttp(socket: Socket, host: string, path: string): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const agent = new Agent();
    agent.createConnection = () => socket;
    const request = get(
      { agent, path, headers: { host }, timeout: PROBE_TIMEOUT_MS },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => {
          if (text.length < TEXT_CHARACTERS_MAX) text += part;
        });
        response.on("end", () => {
          const line = text.trim().split("\n")[0] ?? "";
          const answer = `${response.statusCode} ${line.slice(0, TEXT_CHARACTERS_MAX)}`;
          resolve({ kind: "open", answer });
        });
      },
    );
    request.on("timeout", () => request.destroy(new Error("no HTTP answer in time")));
    request.on("error", (error) => resolve({ kind: "closed", reason: error.message }));
  });
}
