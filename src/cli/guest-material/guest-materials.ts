/** What a fabric keeps for its guests beside the store: it comes with a submission, and goes when nothing names it. */

import type { TenantSubmission } from "../../model/documents.ts";
import { asDocument, type ContainerGoal, type TenantRecord } from "../../model/documents.ts";
import type { FabricStore } from "../../store/index.ts";
import type { Submission } from "../tenants/fabric-control.ts";
import type { ArtifactFolder } from "./artifact-folder.ts";
import { readMaterial } from "./read-material.ts";

/** See the file's comment. One for a data folder. */
export class GuestMaterials {
  readonly #artifacts: ArtifactFolder;
  readonly #store: FabricStore;
  readonly #onError: (error: unknown) => void;
  #submissions = 0;
  #isDue = false;
  #sweeping: Promise<void> | undefined;

  /** @param onError - told when what nothing names could not be removed; it is tried again with the next submission */
  constructor(artifacts: ArtifactFolder, store: FabricStore, onError: (error: unknown) => void) {
    this.#artifacts = artifacts;
    this.#store = store;
    this.#onError = onError;
  }

  /**
   * Reads what a submission names, and calls `submit` with it. Nothing of it is removed before that has settled.
   *
   * @throws as {@link readMaterial} and as `submit`
   */
  async submit<T>(
    { tenant, folder }: Submission,
    submit: (material: NonNullable<TenantSubmission["material"]>) => Promise<T>,
  ): Promise<T> {
    while (this.#sweeping !== undefined) await this.#sweeping;
    this.#submissions += 1;
    try {
      return await submit(await readMaterial(tenant, folder, this.#artifacts));
    } finally {
      this.#submissions -= 1;
      void this.sweep(); // also what an update has replaced before
    }
  }

  /** Removes what no tenant and no goal names; at once, or after the submissions that are under way. Never rejects. */
  async sweep(): Promise<void> {
    this.#isDue = true;
    while (this.#sweeping !== undefined) await this.#sweeping;
    if (!this.#isDue || this.#submissions > 0) return; // the last submission does it
    this.#isDue = false;
    this.#sweeping = this.#sweep()
      .catch(this.#onError)
      .finally(() => {
        this.#sweeping = undefined;
      });
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    if (!(await this.#artifacts.hasFiles())) return;
    const [tenants, containers] = await Promise.all([
      this.#store.list("/tenants/"),
      this.#store.list("/containers/"),
    ]);
    const records = tenants.kvs.map(({ value }) => asDocument<TenantRecord>(value));
    const goals = containers.kvs
      .filter(({ key }) => key.endsWith("/goal"))
      .map(({ value }) => asDocument<ContainerGoal>(value));
    await this.#artifacts.keepOnly(
      new Set([
        ...records.flatMap(sumsOf),
        ...records.flatMap(({ pending }) => (pending === undefined ? [] : sumsOf(pending))),
        ...goals.flatMap(({ extensions = [] }) => extensions.map((one) => one.package.sha256)),
      ]),
    );
  }
}

function sumsOf({ material = {} }: TenantSubmission): string[] {
  return Object.values(material).flatMap(({ packages = {} }) =>
    Object.values(packages).map(({ sha256 }) => sha256),
  );
}
