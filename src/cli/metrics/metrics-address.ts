/** Where metrics are served, as people write it. */

/** Where metrics are served on TCP. */
export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

/** Reads `ADDRESS:PORT`; an IPv6 address stands in brackets. @throws SyntaxError */
export function parseMetricsAddress(text: string): MetricsAddress {
  const match = /^(?:\[([0-9a-f:.%\w]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || !(port <= 65_535)) {
    throw new SyntaxError(`"${text}" is not ADDRESS:PORT, as in 127.0.0.1:9547`);
  }
  return { host, port };
}
