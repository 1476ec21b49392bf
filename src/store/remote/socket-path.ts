/** Where the socket of a shared store is. */

/** A path that a socket can be bound to and connected to until it is disposed. */
export interface StoreSocketPath extends Disposable {
  readonly path: string;
}
