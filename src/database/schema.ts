/** The tables, as the query builder sees them. What makes them is in `migrations.ts`. Times: milliseconds since 1970. */
export interface Schema {
  readonly users: UsersTable;
  readonly ssh_keys: SshKeysTable;
  readonly tokens: TokensTable;
  readonly facts: FactsTable;
  readonly public_repositories: PublicRepositoriesTable;
  readonly events: EventsTable;
  readonly delivery_targets: DeliveryTargetsTable;
  readonly delivery_progress: DeliveryProgressTable;
  readonly delivery_records: DeliveryRecordsTable;
}

export interface UsersTable {
  id: string;
  /** Unique whatever the case of its letters. */
  name: string;
  /** A salted hash with its parameters; null: no password. */
  password: string | null;
  created_at: number;
}

export interface SshKeysTable {
  /** `SHA256:…` */
  fingerprint: string;
  user_id: string;
  /** `ssh-ed25519` */
  type: string;
  /** The key's blob in base64. */
  blob: string;
  comment: string;
  /** JSON; null: all that its user may. */
  access_grant: string | null;
  created_at: number;
  last_used_at: number | null;
}

export interface TokensTable {
  id: string;
  user_id: string;
  label: string;
  /** SHA-256 in hex. The token itself is nowhere. */
  hash: string;
  access_grant: string | null;
  created_at: number;
  expires_at: number | null;
  last_used_at: number | null;
}

/** Single values. `closed`: there was a user once. */
export interface FactsTable {
  name: string;
  value: string;
}

/** Names without `.git` of repositories that anyone may read. They need not exist. */
export interface PublicRepositoriesTable {
  name: string;
  created_at: number;
}

/** Refs that have moved, or are about to: written before they do, kept for who reads of them later. */
export interface EventsTable {
  id: string;
  /** Name without `.git`. */
  repository: string;
  /** They are given their cursors in this order; one that is free again may be given anew. */
  position: number;
  /** Unique, and never less than that of one that was seen before; null: not told to anybody yet. */
  cursor: number | null;
  /** All refs of one transaction have the same. */
  push_id: string;
  ref_name: string;
  old_oid: string;
  new_oid: string;
  /** 0, 1; null: nobody has looked. */
  forced: number | null;
  /** Empty: nobody has signed in. */
  user_name: string;
  /** JSON: what else is known of the push. */
  about: string;
  /** 0: it was to move when this was written. */
  has_moved: number;
  /** 1: its repository may have been made by this push, and then is nowhere until it is put in its place. */
  is_first: number;
  created_at: number;
}

/** Who is told of events. */
export interface DeliveryTargetsTable {
  name: string;
  /** It is told of what comes after this cursor, and has been told of what is before it. */
  since: number;
}

/** How far a target has come in a repository, and which process delivers there. */
export interface DeliveryProgressTable {
  target: string;
  repository: string;
  /** The last event that is done with. */
  cursor: number;
  /** Of the next one. */
  attempts: number;
  not_before: number;
  /** Empty: nobody. */
  owner: string;
  expires_at: number;
}

/** What became of a delivery. */
export interface DeliveryRecordsTable {
  target: string;
  event_id: string;
  repository: string;
  cursor: number;
  state: "delivered" | "failed" | "dead" | "replay" | "skipped";
  attempts: number;
  /** Of the answer; null: there was none. */
  status: number | null;
  /** What was wrong. */
  why: string | null;
  at: number;
}
