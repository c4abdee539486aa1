/** The tables, as the query builder sees them. What makes them is in `migrations.ts`. Times: milliseconds since 1970. */
export interface Schema {
  readonly users: UsersTable;
  readonly ssh_keys: SshKeysTable;
  readonly tokens: TokensTable;
  readonly facts: FactsTable;
  readonly public_repositories: PublicRepositoriesTable;
  readonly deliveries: DeliveriesTable;
  readonly delivery_leases: DeliveryLeasesTable;
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

/** Refs that have moved, or are about to, of which an application is still to be told. */
export interface DeliveriesTable {
  id: string;
  /** Name without `.git`. */
  repository: string;
  /** They are delivered in this order; one that is free again may be given anew. */
  position: number;
  /** All refs of one push have the same. */
  push_id: string;
  user_name: string;
  /** The application's. */
  repository_id: string;
  ref_name: string;
  old_oid: string;
  new_oid: string;
  /** 0: it was to move when this was written. */
  has_moved: number;
  attempts: number;
  not_before: number;
  created_at: number;
}

/** Which process delivers for a repository. */
export interface DeliveryLeasesTable {
  repository: string;
  owner: string;
  expires_at: number;
}
