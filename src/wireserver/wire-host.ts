/** What the services that face guests need of the host, beside the containers that they serve. */

/** A VM's certificate and its key. */
export interface WireIdentity {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS#8. */
  readonly privateKey: string;
  /** SHA-1 of the certificate, 40 upper-case hexadecimal digits: how clients name it. */
  readonly thumbprint: string;
}

/** Keeps the certificates of VMs. */
export interface WireVault {
  /** Makes it when it is first asked for; the same ever after, also on another node. Rejects while it cannot be kept. */
  identityOf(container: string): Promise<WireIdentity>;
}

/** Reads the files that documents point to, by their content. */
export interface WireArtifacts {
  /**
   * Bytes from `offset`, at least one and at most `length`; fewer only at the end.
   *
   * @param sha256 - 64 lower-case hexadecimal digits; the caller has checked that the container may read it
   * @throws if it is not there
   */
  read(sha256: string, offset: number, length: number): Promise<Uint8Array>;
}
