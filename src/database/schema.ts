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
  readonly apps: AppsTable;
  readonly app_config: AppConfigTable;
  readonly builds: BuildsTable;
  readonly releases: ReleasesTable;
  readonly networks: NetworksTable;
  readonly repositories: RepositoriesTable;
  readonly generations: GenerationsTable;
  readonly nodes: NodesTable;
  readonly packs: PacksTable;
  readonly chunks: ChunksTable;
  readonly uploads: UploadsTable;
  readonly leases: LeasesTable;
  readonly witnesses: WitnessesTable;
  readonly contributions: ContributionsTable;
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
  /** They are given their cursors in this order; one that is free again may be given anew. Negative ones are of events that were packed. */
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
  /** 0: it was to move when this was written. 2: events of several refs, which have (`packed-events.ts`). */
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

/** What is deployed by pushing to a repository. */
export interface AppsTable {
  id: string;
  /** Unique; a label of a host name. */
  name: string;
  /** Name without `.git`; unique. */
  repository: string;
  /** The branch whose pushes are built, without `refs/heads/`. */
  branch: string;
  /** JSON: process type → how many; null: nobody has said. */
  formation: string | null;
  created_at: number;
  created_by: string;
}

/** The variables of an app. */
export interface AppConfigTable {
  app_id: string;
  name: string;
  value: string;
}

/** Jobs. One that is queued or at work is the only one of its app and commit; one that is at work the only one of its app. */
export interface BuildsTable {
  id: string;
  app_id: string;
  commit_oid: string;
  ref_name: string;
  /** The how manieth of this app and commit, from 1. */
  attempt: number;
  /** Builds are done in this order. */
  position: number;
  /** Which data directory has its files: builders of another leave it alone. */
  place: string;
  status: "queued" | "running" | "succeeded" | "failed" | "cancelled" | "superseded";
  /** One sentence; empty unless it failed, was cancelled or superseded. */
  reason: string;
  cancel_requested: number;
  /** How many builders have begun with it. */
  claims: number;
  lease_owner: string | null;
  /** While it is queued: when its place is taken for gone. */
  lease_expires_at: number;
  /** Of the configuration it was built with. */
  config_digest: string;
  /** JSON, a `BuildProduct`; null unless it succeeded. */
  product: string | null;
  created_at: number;
  created_by: string;
  started_at: number | null;
  ended_at: number | null;
}

/** What an app runs, or ran. Numbers count from 1 in each app and are never given twice. */
export interface ReleasesTable {
  id: string;
  app_id: string;
  number: number;
  commit_oid: string;
  build_id: string | null;
  /** Empty: there is none, the build failed. */
  slug_path: string;
  /** JSON: name → command; of a static site `static` → directory. */
  process_types: string;
  /** JSON: name → value. */
  config: string;
  status: "created" | "current" | "replaced" | "failed";
  description: string;
  created_at: number;
  created_by: string;
}

/** Repositories that share nodes and packs: one and its forks. */
export interface NetworksTable {
  id: string;
  /** Of the last look for nodes that nothing needs; written to every node. */
  sweep: number;
  created_at: number;
}

/** Repositories of the object store. Ids are random and never given twice. */
export interface RepositoriesTable {
  id: string;
  network_id: string;
  /** Without `.git`, unique, in the order of its bytes; null: found by nobody. */
  name: string | null;
  /** Of a deleted one. */
  former_name: string | null;
  object_format: "sha1" | "sha256";
  state: "prepared" | "live" | "deleted";
  generation: number;
  /** SHA-256 in hexadecimal. */
  root: string;
  prune_epoch: number;
  /** Of the current generation. */
  changed_at: number;
  created_at: number;
  /** Since when nobody finds it; null: it is live. */
  hidden_at: number | null;
  forked_from: string | null;
  /** Counts all that changes the row, but what witnesses change. */
  change_count: number;
  /** That which the newest witness tells; -1: none, or the next one is to be whole. */
  witnessed_count: number;
}

/** Every root that a repository had and that is kept, the current one among them. */
export interface GenerationsTable {
  repository_id: string;
  generation: number;
  root: string;
  kind: string;
  /** Never less than that of the generation before. */
  time: number;
  /** By it a commit whose answer was lost is found. */
  commit_id: string;
  about: string | null;
}

/** Nodes of the trees that roots name. */
export interface NodesTable {
  network_id: string;
  /** SHA-256, 32 bytes. */
  hash: Buffer;
  /** The network's when it was last written. */
  sweep: number;
  body: Buffer;
}

/** What is in the bucket. */
export interface PacksTable {
  id: string;
  network_id: string;
  key: string;
  side_key: string | null;
  kind: string;
  size_bytes: number;
  created_at: number;
  retired_at: number | null;
  /** Since when it is known that no kept root names it. */
  unnamed_at: number | null;
  /** Counts up whenever somebody comes to name it who did not write it. */
  held: number;
}

/** Where a chunk of large blobs is that may be used again: of several copies, one. */
export interface ChunksTable {
  network_id: string;
  /** Lower-case hexadecimal SHA-256. */
  id: string;
  /** Of a row of `packs`, with which it goes. */
  container_id: string;
  position: number;
  stored_bytes: number;
  size_bytes: number;
  adler32: number;
}

/** Work that one process does for all. */
export interface LeasesTable {
  name: string;
  /** Empty: nobody. */
  owner: string;
  /** Until then nobody else takes it. */
  expires_at: number;
  /** Of who had it, for who takes it next. */
  note: string;
}

/** What may be in the bucket. */
export interface UploadsTable {
  id: string;
  network_id: string;
  /** null: of the network as a whole. */
  repository_id: string | null;
  /** JSON: a list. */
  keys: string;
  /** Who writes it, for people. */
  owner: string;
  state: "open" | "taken";
  touched_at: number;
  /** What is written down of a bundle, which no commit will ever take; null: it is none, or not in the bucket yet. */
  bundle: string | null;
}

/** Copies in the bucket of what rows say, to make them again. */
export interface WitnessesTable {
  key: string;
  network_id: string;
  repository_id: string;
  /** The repository's `change_count` that it tells. */
  number: number;
  /** The newest that it, or one before it, tells. */
  generation: number;
  /** 1: it needs none that was written before. */
  is_whole: number;
  size_bytes: number;
  created_at: number;
}

/** What the gateway has made into pull requests, or is about to. Nothing in it is of the person. */
export interface ContributionsTable {
  id: string;
  /** Unique; 8 hexadecimal digits. */
  hash: string;
  forge: string;
  host: string;
  owner: string;
  repo: string;
  /** All four in one, in lower case; unique with the branch. */
  upstream: string;
  branch: string;
  base: string;
  /** Empty: of the person's own account, which is written down nowhere. */
  fork_owner: string;
  fork_repo: string;
  is_own_account: number;
  /** Of the rewritten commits. */
  head_oid: string;
  state: "received" | "pushed" | "opened" | "failed";
  pull_number: number | null;
  pull_url: string;
  title: string;
  body: string;
  reason: string;
  attempts: number;
  lease_owner: string;
  lease_expires_at: number;
  created_at: number;
  updated_at: number;
}
