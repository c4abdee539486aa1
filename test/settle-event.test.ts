/** Whether a ref has moved that was to move when its server was killed: by the ref itself, in every backend. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hasMoved } from "../src/events/settle-event.js";
import type { RefFormat, Repository, RepositoryStore } from "../src/storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";

const NULL = "0".repeat(40);
const [A, B, C] = ["a".repeat(40), "b".repeat(40), "c".repeat(40)] as const;
const NAME = "refs/heads/main";

let directory: string;
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const disk = (): RepositoryStore => createDiskRepositoryStore({ directory, durability: "none" });
let made = 0;

describe.each([
  ["files", disk, "files"],
  ["reftable", disk, "reftable"],
  ["memory", () => createMemoryRepositoryStore(), "files"],
] as const)("with refs in %s", (_name, createStore, refFormat: RefFormat) => {
  let store: RepositoryStore;
  let repository: Repository;
  beforeEach(async () => {
    store = createStore();
    repository = await store.create(`r${++made}`, { refFormat });
    return async () => {
      await repository.close();
      await store.close();
    };
  });
  const set = async (newOid: string | null, name = NAME): Promise<void> => {
    await repository.refs.transact({ updates: [{ name, oldOid: undefined, newOid }], atomic: true });
  };
  const ask = (oldOid: string, newOid: string, createdAt = Date.now()): Promise<boolean | undefined> =>
    hasMoved(repository, { refName: NAME, oldOid, newOid, createdAt, isFirst: false });
  const now = async (): Promise<string | undefined> => {
    const snapshot = await repository.snapshot();
    snapshot.release();
    return snapshot.refs.get(NAME)?.oid;
  };

  it.each([
    ["an update", A, B, A, false],
    ["an update", A, B, B, true],
    ["an update that went on", A, B, C, true],
    ["an update whose ref is gone since", A, B, undefined, true],
    ["a new ref", NULL, A, undefined, false],
    ["a new ref", NULL, A, A, true],
    ["a new ref that went on", NULL, A, C, true],
    ["a deletion", A, NULL, A, false],
    ["a deletion", A, NULL, undefined, true],
    ["a deletion of a ref that is back", A, NULL, C, true],
  ])("%s (%s to %s, now %s)", async (_what, oldOid, newOid, value, moved) => {
    if (value !== undefined) await set(value);
    expect(await ask(oldOid, newOid)).toBe(moved);
    expect(await now()).toBe(value);
  });

  it("a new ref that another one was in the way of", async () => {
    await set(A, `${NAME}/below`);
    expect(await ask(NULL, B)).toBe(false);
  });

  it("waits for a lock of what has not moved, and no longer than for ten minutes", async ({ skip }) => {
    if (repository.gitDirectory === undefined) skip();
    await set(A);
    const lock = refFormat === "files" ? `${NAME}.lock` : "reftable/tables.list.lock";
    // Tables that are being put together hold it for a moment.
    for (let tries = 0; ; tries++) {
      try {
        writeFileSync(join(repository.gitDirectory ?? "", lock), "", { flag: "wx" });
        break;
      } catch (error) {
        if (tries === 1000) throw error;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
    expect(await ask(A, B)).toBeUndefined();
    expect(await ask(B, A)).toBe(true);
    expect(await ask(A, B, 0)).toBe(false);
    expect(await ask(B, A, 0)).toBe(true);
  });

  it("of the first refs of a repository only what is there as it was pushed", async () => {
    const first = (newOid: string, createdAt: number, at: Repository | undefined = repository) =>
      hasMoved(at, { refName: NAME, oldOid: NULL, newOid, createdAt, isFirst: true });
    await set(A);
    expect(await first(A, Date.now())).toBe(true);
    // Another push was faster.
    expect(await first(B, 0)).toBe(false);
    // It may be on its way.
    expect(await first(B, Date.now())).toBeUndefined();
  });
});

describe("without its repository", () => {
  const ask = (isFirst: boolean, createdAt: number) =>
    hasMoved(undefined, { refName: NAME, oldOid: NULL, newOid: A, createdAt, isFirst });

  it("what may still be put in its place is waited for, for a minute", async () => {
    expect(await ask(true, Date.now())).toBeUndefined();
    expect(await ask(true, 0)).toBe(false);
  });

  it("what was there has moved", async () => {
    expect(await ask(false, Date.now())).toBe(true);
  });
});
