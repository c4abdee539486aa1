/**
 * Users, SSH keys and tokens in the database: plain rows. What a password's text or a grant's JSON means is known to
 * `access/`. The same on every engine; `test/access-store.test.ts` holds each to it.
 */
import { randomUUID } from "node:crypto";
import type { Database } from "./open-database.js";

export interface StoredUser {
  readonly id: string;
  readonly name: string;
  readonly password: string | undefined;
  readonly createdAt: number;
}

export interface StoredKey {
  readonly fingerprint: string;
  readonly user: string;
  readonly type: string;
  /** Base64. */
  readonly blob: string;
  readonly comment: string;
  readonly grant: string | undefined;
  readonly createdAt: number;
  readonly lastUsedAt: number | undefined;
}

export interface StoredToken {
  readonly id: string;
  readonly user: string;
  readonly label: string;
  readonly grant: string | undefined;
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
  readonly lastUsedAt: number | undefined;
}

export interface AccessStore {
  /** True from the first user on, and for good: taking the last one away opens nothing. */
  isClosed(): Promise<boolean>;

  /** "taken": there is one of that name, whatever the case of its letters. */
  addUser(user: { readonly name: string; readonly password?: string }): Promise<"added" | "taken">;
  findUser(name: string): Promise<StoredUser | undefined>;
  /** @param password undefined: none */
  setPassword(name: string, password: string | undefined): Promise<boolean>;
  listUsers(): Promise<readonly StoredUser[]>;
  /** With its keys and tokens. */
  removeUser(name: string): Promise<boolean>;

  addKey(
    key: Pick<StoredKey, "fingerprint" | "user" | "type" | "blob" | "comment" | "grant">,
  ): Promise<"added" | "taken" | "no-such-user">;
  findKey(fingerprint: string): Promise<StoredKey | undefined>;
  listKeys(user?: string): Promise<readonly StoredKey[]>;
  removeKey(fingerprint: string): Promise<boolean>;
  touchKey(fingerprint: string): Promise<void>;

  addToken(
    token: Pick<StoredToken, "id" | "user" | "label" | "grant" | "expiresAt"> & { readonly hash: string },
  ): Promise<"added" | "no-such-user">;
  findToken(hash: string): Promise<StoredToken | undefined>;
  listTokens(user?: string): Promise<readonly StoredToken[]>;
  removeToken(id: string): Promise<boolean>;
  touchToken(id: string): Promise<void>;

  /** May anyone read it? */
  isPublic(repository: string): Promise<boolean>;
  /** @returns false when it was so already */
  setPublic(repository: string, isPublic: boolean): Promise<boolean>;
  listPublic(): Promise<readonly string[]>;
}

const KEY_COLUMNS = [
  "ssh_keys.fingerprint",
  "users.name as user",
  "ssh_keys.type",
  "ssh_keys.blob",
  "ssh_keys.comment",
  "ssh_keys.access_grant",
  "ssh_keys.created_at",
  "ssh_keys.last_used_at",
] as const;

const TOKEN_COLUMNS = [
  "tokens.id",
  "users.name as user",
  "tokens.label",
  "tokens.access_grant",
  "tokens.created_at",
  "tokens.expires_at",
  "tokens.last_used_at",
] as const;

export function createAccessStore({ db }: Pick<Database, "db">): AccessStore {
  const userId = async (name: string): Promise<string | undefined> =>
    (await db.selectFrom("users").select("id").where("name", "=", name).executeTakeFirst())?.id;
  const keys = db
    .selectFrom("ssh_keys")
    .innerJoin("users", "users.id", "ssh_keys.user_id")
    .select(KEY_COLUMNS);
  const tokens = db
    .selectFrom("tokens")
    .innerJoin("users", "users.id", "tokens.user_id")
    .select(TOKEN_COLUMNS);

  return {
    async isClosed() {
      const found = db.selectFrom("facts").select("value").where("name", "=", "closed");
      return (await found.executeTakeFirst()) !== undefined;
    },

    async addUser({ name, password }) {
      // Closed first: what happens in between leaves nothing open.
      await db
        .insertInto("facts")
        .values({ name: "closed", value: "there was a user" })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      const added = await db
        .insertInto("users")
        .values({ id: randomUUID(), name, password: password ?? null, created_at: Date.now() })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      return added.numInsertedOrUpdatedRows === 1n ? "added" : "taken";
    },
    async findUser(name) {
      const row = await db.selectFrom("users").selectAll().where("name", "=", name).executeTakeFirst();
      return row === undefined ? undefined : userOf(row);
    },
    async setPassword(name, password) {
      const done = await db
        .updateTable("users")
        .set({ password: password ?? null })
        .where("name", "=", name)
        .executeTakeFirst();
      return done.numUpdatedRows === 1n;
    },
    async listUsers() {
      const rows = await db.selectFrom("users").selectAll().execute();
      return inOrder(rows.map(userOf), (user) => user.name);
    },
    async removeUser(name) {
      const done = await db.deleteFrom("users").where("name", "=", name).executeTakeFirst();
      return done.numDeletedRows === 1n;
    },

    async addKey({ user, grant, ...key }) {
      const id = await userId(user);
      if (id === undefined) return "no-such-user";
      const row = {
        ...key,
        user_id: id,
        access_grant: grant ?? null,
        created_at: Date.now(),
        last_used_at: null,
      };
      const added = await db
        .insertInto("ssh_keys")
        .values(row)
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      return added.numInsertedOrUpdatedRows === 1n ? "added" : "taken";
    },
    async findKey(fingerprint) {
      const row = await keys.where("ssh_keys.fingerprint", "=", fingerprint).executeTakeFirst();
      return row === undefined ? undefined : keyOf(row);
    },
    async listKeys(user) {
      const rows = await (user === undefined ? keys : keys.where("users.name", "=", user)).execute();
      return inOrder(rows.map(keyOf), (key) => `${key.user}\0${key.fingerprint}`);
    },
    async removeKey(fingerprint) {
      const done = await db.deleteFrom("ssh_keys").where("fingerprint", "=", fingerprint).executeTakeFirst();
      return done.numDeletedRows === 1n;
    },
    async touchKey(fingerprint) {
      const used = db.updateTable("ssh_keys").set({ last_used_at: Date.now() });
      await used.where("fingerprint", "=", fingerprint).execute();
    },

    async addToken({ id, user, label, grant, expiresAt, hash }) {
      const owner = await userId(user);
      if (owner === undefined) return "no-such-user";
      const row = {
        id,
        user_id: owner,
        label,
        hash,
        access_grant: grant ?? null,
        created_at: Date.now(),
        expires_at: expiresAt ?? null,
        last_used_at: null,
      };
      await db.insertInto("tokens").values(row).execute();
      return "added";
    },
    async findToken(hash) {
      const row = await tokens.where("tokens.hash", "=", hash).executeTakeFirst();
      return row === undefined ? undefined : tokenOf(row);
    },
    async listTokens(user) {
      const rows = await (user === undefined ? tokens : tokens.where("users.name", "=", user)).execute();
      return inOrder(rows.map(tokenOf), (token) => `${token.user}\0${token.id}`);
    },
    async removeToken(id) {
      const done = await db.deleteFrom("tokens").where("id", "=", id).executeTakeFirst();
      return done.numDeletedRows === 1n;
    },
    async touchToken(id) {
      await db.updateTable("tokens").set({ last_used_at: Date.now() }).where("id", "=", id).execute();
    },

    async isPublic(repository) {
      const found = db.selectFrom("public_repositories").select("name").where("name", "=", repository);
      return (await found.executeTakeFirst()) !== undefined;
    },
    async setPublic(repository, isPublic) {
      if (!isPublic) {
        const removed = db.deleteFrom("public_repositories").where("name", "=", repository);
        return (await removed.executeTakeFirst()).numDeletedRows === 1n;
      }
      const added = await db
        .insertInto("public_repositories")
        .values({ name: repository, created_at: Date.now() })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      return added.numInsertedOrUpdatedRows === 1n;
    },
    async listPublic() {
      const rows = await db.selectFrom("public_repositories").select("name").execute();
      return inOrder(
        rows.map(({ name }) => name),
        (name) => name,
      );
    },
  };
}

/** Sorted here, because every engine sorts text in its own way. */
function inOrder<T>(rows: readonly T[], text: (row: T) => string): readonly T[] {
  return rows.toSorted((a, b) => (text(a) < text(b) ? -1 : 1));
}

function userOf(row: {
  readonly id: string;
  readonly name: string;
  readonly password: string | null;
  readonly created_at: number;
}): StoredUser {
  const { id, name, password, created_at: createdAt } = row;
  return { id, name, password: password ?? undefined, createdAt };
}

/** What keys and tokens have in common. */
interface CredentialRow {
  readonly user: string;
  readonly access_grant: string | null;
  readonly created_at: number;
  readonly last_used_at: number | null;
}

function credentialOf(
  row: CredentialRow,
): Pick<StoredKey & StoredToken, "user" | "grant" | "createdAt" | "lastUsedAt"> {
  return {
    user: row.user,
    grant: row.access_grant ?? undefined,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at ?? undefined,
  };
}

function keyOf(row: CredentialRow & Pick<StoredKey, "fingerprint" | "type" | "blob" | "comment">): StoredKey {
  const { fingerprint, type, blob, comment } = row;
  return { fingerprint, type, blob, comment, ...credentialOf(row) };
}

function tokenOf(
  row: CredentialRow & { readonly id: string; readonly label: string; readonly expires_at: number | null },
): StoredToken {
  const { id, label, expires_at: expiresAt } = row;
  return { id, label, expiresAt: expiresAt ?? undefined, ...credentialOf(row) };
}
