/**
 * History in one SQLite file. WAL with synchronous=FULL: a commit returns after the log is on disk.
 * The connection holds SQLite's exclusive file lock for its whole life, so that a second process
 * fails at open instead of at some later write; the lock belongs to the process and is gone with
 * it, however it ended.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { errorText, FabricError } from "../model/errors.ts";
import {
  type Changes,
  type ChangesLimit,
  type HistoryRow,
  type LeaseRow,
  type RangeQuery,
  type StoreEngine,
  takeChanges,
} from "./store-engine.ts";

/** Bumped when the tables change; PRAGMA user_version of the file. */
const SCHEMA_VERSION = 3;

/**
 * First character after every one that a key may have, so `prefix + KEY_END` is behind all keys
 * with that prefix.
 */
const KEY_END = "\x7f";

const SQLITE_BUSY = 5;

/**
 * Pages of the log before they are moved into the file. More than SQLite's 1,000, for that takes two more syncs and the
 * store's callers wait for them.
 */
const CHECKPOINT_PAGES = 4000;

/** Pages of the file that are kept in memory, in KiB. */
const CACHE_KIB = 32 * 1024;

const SCHEMA = `
  CREATE TABLE history (
    key        TEXT    NOT NULL,
    rev        INTEGER NOT NULL,
    create_rev INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    value      TEXT,              -- JSON; NULL: this revision deleted the key
    PRIMARY KEY (key, rev)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX history_by_rev ON history (rev, key);
  CREATE TABLE head (
    only          INTEGER PRIMARY KEY CHECK (only = 1),
    rev           INTEGER NOT NULL,
    compacted_rev INTEGER NOT NULL
  ) STRICT;
  INSERT INTO head VALUES (1, 0, 0);
`;

/** Format 2 added leases. */
const LEASES = `
  ALTER TABLE history ADD COLUMN lease TEXT;
  CREATE INDEX history_by_lease ON history (lease, key, rev) WHERE lease IS NOT NULL;
  CREATE TABLE lease (
    id     TEXT    PRIMARY KEY,
    ttl_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** Format 3 added the keys that exist, so that a list costs what it returns, and not the history of its keys. */
const LIVE_KEYS = `
  CREATE TABLE live (
    key TEXT    PRIMARY KEY,
    rev INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO live SELECT key, rev FROM
    (SELECT key, max(rev) AS rev, value FROM history GROUP BY key HAVING value IS NOT NULL);
`;

const COLUMNS = "key, rev, create_rev AS createRev, version, value, lease";

/** The first character before every one that a key may have, so `after + KEY_NEXT` is before all keys behind `after`. */
const KEY_NEXT = "\x01";

/** CROSS JOIN keeps the order: SQLite walks the keys that exist, and looks each up. */
const PRESENT = `
  SELECT live.key, live.rev, create_rev AS createRev, version, value, lease
  FROM live CROSS JOIN history ON history.key = live.key AND history.rev = live.rev
  WHERE live.key >= ? AND live.key < ? ORDER BY live.key LIMIT ?`;

/**
 * With one max(), SQLite takes the bare columns from the row that has the maximum (documented
 * behaviour).
 */
const PAST = `
  SELECT key, max(rev) AS rev, create_rev AS createRev, version, value, lease FROM history
  WHERE key >= ? AND key < ? AND rev <= ?
  GROUP BY key HAVING value IS NOT NULL ORDER BY key LIMIT ?`;

/** The row of the lease must be the newest one of its key. */
const LEASE_KEYS = `
  SELECT DISTINCT key FROM history AS held WHERE lease = ?1 AND value IS NOT NULL AND NOT EXISTS
    (SELECT 1 FROM history AS newer WHERE newer.key = held.key AND newer.rev > held.rev)
  ORDER BY key`;

/** Only rows written since the last compaction can supersede what that one left, so only those are looked at. */
const SUPERSEDED = `
  DELETE FROM history WHERE (key, rev) IN (
    SELECT old.key, old.rev FROM history AS new INDEXED BY history_by_rev
    CROSS JOIN history AS old ON old.key = new.key AND old.rev < new.rev
    WHERE new.rev > ? AND new.rev <= ?)`;

const TOMBSTONES = `
  DELETE FROM history INDEXED BY history_by_rev WHERE rev >= ? AND rev < ? AND value IS NULL`;

/** A {@link StoreEngine} over a SQLite file. */
export class SqliteEngine implements StoreEngine {
  readonly name = "sqlite";
  rev = 0;
  compactedRev = 0;
  #keyCount = 0;
  readonly #db: DatabaseSync;
  readonly #key: StatementSync;
  readonly #present: StatementSync;
  readonly #past: StatementSync;
  readonly #changes: StatementSync;
  readonly #insert: StatementSync;
  readonly #setLive: StatementSync;
  readonly #deleteLive: StatementSync;
  readonly #setRev: StatementSync;

  /** @throws FabricError `ERR_STORE_LOCKED` or `ERR_STORE_OPEN`, naming the path */
  constructor(path: string) {
    this.#db = openDatabase(path);
    const prepare = (sql: string) => this.#db.prepare(sql);
    this.#key = prepare(
      `SELECT ${COLUMNS} FROM history WHERE key = ? AND rev <= ? ORDER BY rev DESC LIMIT 1`,
    );
    this.#present = prepare(PRESENT);
    this.#past = prepare(PAST);
    this.#changes = prepare(
      `SELECT ${COLUMNS} FROM history INDEXED BY history_by_rev
       WHERE rev >= ? AND key >= ? AND key < ? ORDER BY rev, key`,
    );
    this.#insert = prepare("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)");
    this.#setLive = prepare("INSERT OR REPLACE INTO live VALUES (?, ?)");
    this.#deleteLive = prepare("DELETE FROM live WHERE key = ?");
    this.#setRev = prepare("UPDATE head SET rev = ?");
    this.#readHead();
  }

  readKey(key: string, rev: number): HistoryRow | undefined {
    const row = this.#key.get(key, rev);
    return row === undefined ? undefined : historyRow(row);
  }

  readRange({ prefix, rev, after, limit }: RangeQuery): HistoryRow[] {
    const first = after < prefix ? prefix : after + KEY_NEXT;
    const end = prefix + KEY_END;
    const rows =
      rev === this.rev
        ? this.#present.all(first, end, limit)
        : this.#past.all(first, end, rev, limit);
    return rows.map(historyRow);
  }

  readChanges(prefix: string, fromRev: number, limit: ChangesLimit): Changes {
    const rows = this.#changes.iterate(fromRev, prefix, prefix + KEY_END);
    return takeChanges(Iterator.from(rows).map(historyRow), limit);
  }

  countKeys(): number {
    return this.#keyCount;
  }

  readLeaseKeys(id: string): string[] {
    return this.#db
      .prepare(LEASE_KEYS)
      .all(id)
      .map((row) => String(row["key"]));
  }

  readLeases(): LeaseRow[] {
    return this.#db
      .prepare("SELECT id, ttl_ms FROM lease ORDER BY id")
      .all()
      .map((row) => ({ id: String(row["id"]), ttlMs: Number(row["ttl_ms"]) }));
  }

  putLease({ id, ttlMs }: LeaseRow): void {
    this.#db.prepare("INSERT OR REPLACE INTO lease VALUES (?, ?)").run(id, ttlMs);
  }

  deleteLease(id: string): void {
    this.#db.prepare("DELETE FROM lease WHERE id = ?").run(id);
  }

  append(rows: readonly HistoryRow[]): void {
    for (const { key, rev, createRev, version, text, lease } of rows) {
      this.#insert.run(key, rev, createRev, version, text ?? null, lease ?? null);
      if (text === undefined) this.#deleteLive.run(key);
      else this.#setLive.run(key, rev);
      if (text === undefined) this.#keyCount--;
      else if (version === 1) this.#keyCount++;
      this.rev = rev;
    }
  }

  batch(work: () => void): void {
    const before = this.rev;
    const keyCountBefore = this.#keyCount;
    this.#begin();
    try {
      work();
      if (this.rev !== before) this.#setRev.run(this.rev);
    } catch (cause) {
      this.rev = before;
      this.#keyCount = keyCountBefore;
      this.#rollback(cause);
      throw new FabricError("ERR_STORE_FAILED", "Cannot write to the store", { cause });
    }
    this.#commit();
  }

  compact(upTo: number): void {
    this.batch(() => {
      // In this order: a tombstone must first take the rows before it along.
      this.#db.prepare(SUPERSEDED).run(this.compactedRev, upTo);
      this.#db.prepare(TOMBSTONES).run(this.compactedRev, upTo);
      this.#db.prepare("UPDATE head SET compacted_rev = ?").run(upTo);
    });
    this.compactedRev = upTo;
  }

  close(): void {
    this.#db.close();
  }

  #begin(): void {
    try {
      this.#db.exec("BEGIN IMMEDIATE");
    } catch (cause) {
      throw new FabricError("ERR_STORE_FAILED", "Cannot write to the store", { cause });
    }
  }

  #commit(): void {
    try {
      this.#db.exec("COMMIT");
    } catch (cause) {
      throw new FabricError("ERR_STORE_UNCERTAIN", "Cannot tell if a write was kept", { cause });
    }
  }

  #rollback(because: unknown): void {
    if (!this.#db.isTransaction) return; // SQLite undid it by itself, as on a full disk
    try {
      this.#db.exec("ROLLBACK");
    } catch (cause) {
      const text = `Cannot undo a failed write (${errorText(because)})`;
      throw new FabricError("ERR_STORE_UNCERTAIN", text, { cause });
    }
  }

  #readHead(): void {
    const head = this.#db.prepare("SELECT rev, compacted_rev FROM head").get();
    this.rev = Number(head?.["rev"]);
    this.compactedRev = Number(head?.["compacted_rev"]);
    this.#keyCount = Number(this.#db.prepare("SELECT count(*) AS n FROM live").get()?.["n"]);
  }
}

function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { timeout: 0 });
    db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL");
    db.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}; PRAGMA cache_size = -${CACHE_KIB}`);
    db.exec("PRAGMA synchronous = FULL; BEGIN EXCLUSIVE");
    migrate(db);
    db.exec("COMMIT");
    return db;
  } catch (cause) {
    db?.close();
    throw openError(path, cause);
  }
}

function migrate(db: DatabaseSync): void {
  const version = Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (version > SCHEMA_VERSION) {
    throw new Error(`its format is ${version}, this program's ${SCHEMA_VERSION}`);
  }
  if (version < 1) db.exec(SCHEMA);
  if (version < 2) db.exec(LEASES);
  if (version < 3) db.exec(LIVE_KEYS);
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

function openError(path: string, cause: unknown): FabricError {
  const busy = cause instanceof Error && "errcode" in cause && cause.errcode === SQLITE_BUSY;
  if (!busy) return new FabricError("ERR_STORE_OPEN", `Cannot open the store ${path}`, { cause });
  return new FabricError(
    "ERR_STORE_LOCKED",
    `The store ${path} is in use by another goalstate; stop that one or choose another data folder`,
    { cause },
  );
}

/** STRICT tables guarantee the column types, so this only names them. */
function historyRow(row: Record<string, unknown>): HistoryRow {
  const { value: text, lease } = row;
  return {
    key: String(row["key"]),
    rev: Number(row["rev"]),
    createRev: Number(row["createRev"]),
    version: Number(row["version"]),
    text: typeof text === "string" ? text : undefined,
    lease: typeof lease === "string" ? lease : undefined,
  };
}
