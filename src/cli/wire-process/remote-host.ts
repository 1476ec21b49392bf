/** What the services need of the host, asked of the node. */
import type {
  WireArtifacts,
  WireAttester,
  WireEventList,
  WireEvents,
  WireIdentity,
  WireVault,
} from "../../wireserver/index.ts";
import type { ChildLink } from "./child-link.ts";
import { ARTIFACT_BYTES_MAX } from "./messages.ts";

/** Remembers each certificate while its container is here: it never changes. */
export class RemoteVault implements WireVault {
  readonly #link: ChildLink;
  readonly #vnet: number;
  readonly #identities = new Map<string, Promise<WireIdentity>>();

  constructor(link: ChildLink, vnet: number) {
    this.#link = link;
    this.#vnet = vnet;
  }

  identityOf(container: string): Promise<WireIdentity> {
    const known = this.#identities.get(container);
    if (known !== undefined) return known;
    const asked = this.#link.ask({ type: "identity", vnet: this.#vnet, container });
    const identity = asked as Promise<WireIdentity>;
    this.#identities.set(container, identity);
    identity.catch(() => {
      if (this.#identities.get(container) === identity) this.forget(container);
    });
    return identity;
  }

  forget(container: string): void {
    this.#identities.delete(container);
  }
}

/** Reads artifacts part by part. */
export function remoteArtifacts(link: ChildLink): WireArtifacts {
  return {
    read: async (sha256, offset, length) => {
      const part = Math.min(length, ARTIFACT_BYTES_MAX);
      return (await link.ask({ type: "artifact", sha256, offset, length: part })) as Uint8Array;
    },
  };
}

/** The scheduled events of a VNET. */
export function remoteEvents(link: ChildLink, vnet: number): WireEvents {
  return {
    list: async (container) =>
      (await link.ask({ type: "events", vnet, container })) as WireEventList,
    approve: async (container, ids) =>
      (await link.ask({ type: "approval", vnet, container, ids: [...ids] })) as boolean,
  };
}

/** Has documents about a VNET's VMs signed. */
export function remoteAttester(link: ChildLink, vnet: number): WireAttester {
  return {
    attest: async (container, question) =>
      (await link.ask({ type: "attestation", vnet, container, question })) as Uint8Array,
  };
}
