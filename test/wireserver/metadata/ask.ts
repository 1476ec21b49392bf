/** Asks the metadata service one thing, as the guest at 10.20.0.4. */

import type { InjectOptions } from "fastify";
import type { WireContainer } from "../../../src/wireserver/index.ts";
import {
  createMetadataService,
  type MetadataServiceOptions,
} from "../../../src/wireserver/index.ts";
import { CONTAINER, createDirectory, createRecorder } from "../fixtures.ts";

/** With a user, two keys and data. */
export const PROVISIONED: WireContainer = {
  ...CONTAINER,
  provisioning: {
    hostName: "lab-vm-01",
    adminUsername: "labadmin",
    sshKeys: ["ssh-ed25519 AAAAC3Nza one", "ecdsa-sha2-nistp256 AAAAE2Vj two"],
    customData: "I2Nsb3VkLWNvbmZpZwo=",
    userData: "aGVsbG8=",
    guestAgent: true,
  },
};

/** The answer, and what the observer was told. */
export async function ask(
  request: InjectOptions,
  container: WireContainer = PROVISIONED,
  options: Partial<MetadataServiceOptions> = {},
) {
  const recorder = createRecorder();
  await using app = createMetadataService({
    directory: createDirectory(container),
    observer: recorder,
    ...options,
  });
  const response = await app.inject({ remoteAddress: "10.20.0.4", ...request });
  return { response, recorder };
}
