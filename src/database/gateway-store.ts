/**
 * Contributions that the gateway has made into pull requests, or is about to: what is written down so that each is opened once,
 * whatever dies in between. Nothing in a row is of the person: no name, no address, no id of a commit that they wrote.
 *
 *     received   its commits are rewritten; whether the branch is there is known by asking the forge
 *     pushed     the branch is there
 *     opened     the pull request is there
 *     failed     it will not be
 */
import { isConflict } from "./is-conflict.js";
import type { Database } from "./open-database.js";
import type { ContributionsTable } from "./schema.js";

export type ContributionState = ContributionsTable["state"];

export interface ContributionUpstream {
  readonly forge: string;
  readonly host: string;
  readonly owner: string;
  readonly repo: string;
  /** The same as one word, in lower case: `gh/ada/engine`. */
  readonly key: string;
}

export interface Contribution {
  readonly id: string;
  /** The first 8 digits of SHA-256 of `OWNER/REPO/BRANCH`. */
  readonly hash: string;
  readonly upstream: ContributionUpstream;
  readonly branch: string;
  readonly base: string;
  /** "" where it is the person's own account: nobody but they can go on with it. */
  readonly forkOwner: string;
  readonly forkRepo: string;
  readonly isOwnAccount: boolean;
  /** The rewritten tip. */
  readonly headOid: string;
  readonly state: ContributionState;
  readonly pullNumber: number | undefined;
  readonly pullUrl: string;
  /** Of the pull request; "" once it is open. */
  readonly title: string;
  readonly body: string;
  /** Why it failed, in our words. */
  readonly reason: string;
  readonly attempts: number;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export type NewContribution = Pick<
  Contribution,
  | "id"
  | "hash"
  | "upstream"
  | "branch"
  | "base"
  | "forkOwner"
  | "forkRepo"
  | "isOwnAccount"
  | "headOid"
  | "title"
  | "body"
>;

/** Who works on a row, and for how long nobody else does. */
export interface ContributionLease {
  readonly owner: string;
  readonly leaseMs: number;
}

export interface GatewayStore {
  /** @returns undefined when the branch or the hash is taken: another moment has another */
  add(contribution: NewContribution, lease: ContributionLease): Promise<Contribution | undefined>;
  find(id: string): Promise<Contribution | undefined>;
  byHash(hash: string): Promise<Contribution | undefined>;
  /** Newest first; those that are open, or were. */
  recent(max: number): Promise<readonly Contribution[]>;
  /** Whose lease has ended and that are on their way, oldest first. */
  unfinished(max: number): Promise<readonly Contribution[]>;
  /** For a row that nobody works on. @returns false: somebody does, or it is over */
  claim(id: string, lease: ContributionLease): Promise<boolean>;
  /** @returns false: it is another's by now */
  renew(id: string, lease: ContributionLease): Promise<boolean>;
  /** Nobody works on it for so long. */
  rest(id: string, owner: string, ms: number): Promise<void>;
  markPushed(id: string): Promise<void>;
  markOpened(id: string, pull: { readonly number: number; readonly url: string }): Promise<void>;
  markFailed(id: string, reason: string): Promise<void>;
  /** The branch of an open one has another tip. */
  markUpdated(id: string, headOid: string): Promise<void>;
}

const UNFINISHED = ["received", "pushed"] as const;

export function createGatewayStore({ db }: Pick<Database, "db">): GatewayStore {
  const find = async (id: string): Promise<Contribution | undefined> => {
    const row = await db.selectFrom("contributions").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : contributionOf(row);
  };
  const change = async (id: string, values: Partial<ContributionsTable>): Promise<void> => {
    await db
      .updateTable("contributions")
      .set({ ...values, updated_at: Date.now() })
      .where("id", "=", id)
      .execute();
  };
  return {
    find,
    async add(contribution, lease) {
      const now = Date.now();
      const { upstream } = contribution;
      const row: ContributionsTable = {
        id: contribution.id,
        hash: contribution.hash,
        forge: upstream.forge,
        host: upstream.host,
        owner: upstream.owner,
        repo: upstream.repo,
        upstream: upstream.key,
        branch: contribution.branch,
        base: contribution.base,
        fork_owner: contribution.forkOwner,
        fork_repo: contribution.forkRepo,
        is_own_account: contribution.isOwnAccount ? 1 : 0,
        head_oid: contribution.headOid,
        state: "received",
        pull_number: null,
        pull_url: "",
        title: contribution.title,
        body: contribution.body,
        reason: "",
        attempts: 0,
        lease_owner: lease.owner,
        lease_expires_at: now + lease.leaseMs,
        created_at: now,
        updated_at: now,
      };
      try {
        await db.insertInto("contributions").values(row).execute();
        return contributionOf(row);
      } catch (error) {
        if (!isConflict(error)) throw error;
        return undefined;
      }
    },
    async byHash(hash) {
      const row = await db
        .selectFrom("contributions")
        .selectAll()
        .where("hash", "=", hash)
        .executeTakeFirst();
      return row === undefined ? undefined : contributionOf(row);
    },
    async recent(max) {
      const rows = await db
        .selectFrom("contributions")
        .selectAll()
        .where("state", "=", "opened")
        .orderBy("created_at", "desc")
        .limit(max)
        .execute();
      return rows.map(contributionOf);
    },
    async unfinished(max) {
      const rows = await db
        .selectFrom("contributions")
        .selectAll()
        .where("state", "in", UNFINISHED)
        .where("lease_expires_at", "<=", Date.now())
        .orderBy("created_at")
        .limit(max)
        .execute();
      return rows.map(contributionOf);
    },
    async claim(id, { owner, leaseMs }) {
      const now = Date.now();
      const claimed = await db
        .updateTable("contributions")
        .set((column) => ({
          lease_owner: owner,
          lease_expires_at: now + leaseMs,
          attempts: column("attempts", "+", 1),
        }))
        .where("id", "=", id)
        .where("state", "in", UNFINISHED)
        .where("lease_expires_at", "<=", now)
        .executeTakeFirst();
      return claimed.numUpdatedRows === 1n;
    },
    async renew(id, { owner, leaseMs }) {
      const renewed = await db
        .updateTable("contributions")
        .set({ lease_expires_at: Date.now() + leaseMs })
        .where("id", "=", id)
        .where("lease_owner", "=", owner)
        .executeTakeFirst();
      return renewed.numUpdatedRows === 1n;
    },
    async rest(id, owner, ms) {
      await db
        .updateTable("contributions")
        .set({ lease_expires_at: Date.now() + ms })
        .where("id", "=", id)
        .where("lease_owner", "=", owner)
        .execute();
    },
    markPushed: (id) => change(id, { state: "pushed" }),
    markOpened: (id, { number, url }) =>
      change(id, { state: "opened", pull_number: number, pull_url: url, title: "", body: "", reason: "" }),
    markFailed: (id, reason) => change(id, { state: "failed", title: "", body: "", reason }),
    markUpdated: (id, headOid) => change(id, { head_oid: headOid }),
  };
}

function contributionOf(row: ContributionsTable): Contribution {
  return {
    id: row.id,
    hash: row.hash,
    upstream: { forge: row.forge, host: row.host, owner: row.owner, repo: row.repo, key: row.upstream },
    branch: row.branch,
    base: row.base,
    forkOwner: row.fork_owner,
    forkRepo: row.fork_repo,
    isOwnAccount: row.is_own_account === 1,
    headOid: row.head_oid,
    state: row.state,
    pullNumber: row.pull_number === null ? undefined : Number(row.pull_number),
    pullUrl: row.pull_url,
    title: row.title,
    body: row.body,
    reason: row.reason,
    attempts: row.attempts,
    createdAt: Number(row.created_at),
    updatedAt: Number(row.updated_at),
  };
}
