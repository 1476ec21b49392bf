/** Goal states as bytes: what guests ask for all the time, and what changes seldom. */

import { createHash } from "node:crypto";
import { BoundedMap } from "./certificates/bounded-map.ts";
import { goalStateOf } from "./documents.ts";
import type { FastAnswer } from "./fast-path.ts";
import { renderGoalState } from "./render-documents.ts";
import type { WireContainer } from "./wire-container.ts";
import type { WireAuthority } from "./wire-urls.ts";

/** Some 5 kB each: as bytes, and as text. */
export const GOAL_STATES_MAX = 16_384;

export const XML_TYPE = "text/xml; charset=utf-8";

/**
 * Keeps the goal state of each container. A directory may make a new object for each request, so a container is known
 * by all that its goal state is made of.
 */
export class GoalStateCache {
  readonly #authority: WireAuthority;
  readonly #hasCertificates: boolean;
  /** The same object is the same container: whoever keeps its containers does not pay for the comparison. */
  readonly #seen = new WeakMap<WireContainer, FastAnswer>();
  readonly #rendered = new BoundedMap<FastAnswer & { readonly version: string }>(GOAL_STATES_MAX);

  constructor(authority: WireAuthority, hasCertificates: boolean) {
    this.#authority = authority;
    this.#hasCertificates = hasCertificates;
  }

  /** The present goal state. */
  render(container: WireContainer): FastAnswer {
    const seen = this.#seen.get(container);
    if (seen !== undefined) return seen;
    const answer = this.#find(container);
    this.#seen.set(container, answer);
    return answer;
  }

  #find(container: WireContainer): FastAnswer {
    const version = versionOf(container);
    const known = this.#rendered.find(container.name);
    if (known !== undefined && known.version === version) return known;
    const document = goalStateOf(container, this.#authority, this.#hasCertificates);
    const text = renderGoalState(document);
    const body = Buffer.from(text);
    const sha256 = createHash("sha256").update(body).digest("hex");
    const headers = ["content-type", XML_TYPE, "content-length", String(body.length)];
    const isAscii = body.length === text.length;
    const rendered = { version, headers, body, sha256, ...(isAscii && { ascii: text }) };
    this.#rendered.keep(container.name, rendered);
    return rendered;
  }
}

/** Everything that `goalStateOf` reads of a container; a test changes each and sees that the document changes. */
function versionOf(container: WireContainer): string {
  const { containerId, instanceId, roleInstance, deployment, incarnation, expectedState } =
    container;
  const hasUsers = container.users !== undefined && container.users.length > 0;
  return `${incarnation} ${expectedState} ${hasUsers} ${containerId} ${instanceId} ${deployment.guid} ${roleInstance}`;
}
