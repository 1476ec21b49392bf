/** The query of a wire request. Clients write `comp=Versions` and `comp=versions`: names and `comp` have no case. */

/** The parts of a wire URL that decide what is meant. */
export interface WireQuery {
  /** Without a slash at its end; "" is the root. */
  readonly path: string;
  /** Lower case; "" if absent. */
  readonly comp: string;
  /** Lower case; "" if absent. */
  readonly type: string;
  readonly incarnation: string | undefined;
}

/** Reads a request's URL; of a repeated parameter the first counts. Never throws. */
export function parseWireQuery(url: string): WireQuery {
  const cut = url.indexOf("?");
  const path = cut < 0 ? url : url.slice(0, cut);
  const values = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(cut < 0 ? "" : url.slice(cut + 1))) {
    if (!values.has(name.toLowerCase())) values.set(name.toLowerCase(), value);
  }
  return {
    path: path.replace(/\/+$/, ""),
    comp: (values.get("comp") ?? "").toLowerCase(),
    type: (values.get("type") ?? "").toLowerCase(),
    incarnation: values.get("incarnation"),
  };
}
