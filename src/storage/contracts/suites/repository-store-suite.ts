/** What every `RepositoryStore` must keep. */
import assert from "node:assert/strict";
import { isGitwharfError } from "../../../base/errors.js";
import type { ErrorCode } from "../../../base/error-codes.js";
import type { ObjectId } from "../../../object/object-id.js";
import type { Quarantine } from "../quarantine.js";
import type { Repository, RepositoryStore } from "../repository.js";
import { finishPack, sampleCommit } from "./sample-objects.js";
import { type StoreBackend, type SuiteRunner, withStore } from "./suite-runner.js";

export function repositoryStoreSuite(runner: SuiteRunner, backend: StoreBackend): void {
  const { describe, it } = runner;

  describe(`repository store: ${backend.name}`, () => {
    it("opens nothing where nothing was made", () =>
      withStore(backend, async ({ store }) => {
        assert.equal(await store.open("absent"), undefined);
        assert.equal(await store.open("group/absent"), undefined);
        assert.deepEqual(await names(store), []);
      }));

    it("makes an empty repository with an unborn default branch", () =>
      withStore(backend, async ({ store }) => {
        const repository = await store.create("app", { defaultBranch: "trunk" });
        assert.equal(repository.name, "app");
        assert.equal(repository.objectFormat, "sha1");
        const snapshot = await repository.snapshot();
        assert.deepEqual(snapshot.head, { symbolicTarget: "refs/heads/trunk" });
        assert.deepEqual(snapshot.refs.all, []);
        assert.deepEqual(snapshot.objects.packs, []);
        assert.equal(snapshot.shallow.size, 0);
        snapshot.release();
        await repository.close();
      }));

    it("keeps the object format that was asked for", () =>
      withStore(backend, async ({ store, reopen }) => {
        await (await store.create("app", { objectFormat: "sha256" })).close();
        const repository = await (await reopen()).open("app");
        assert.equal(repository?.objectFormat, "sha256");
        await repository?.close();
      }));

    it("lists names in byte order, nested ones included", () =>
      withStore(backend, async ({ store, reopen }) => {
        const made = ["b", "a/b", "a-b", "a.b", "a", "B", "group/deep/app"];
        for (const name of made) await (await store.create(name)).close();
        assert.deepEqual(await names(store), ["B", "a", "a-b", "a.b", "a/b", "b", "group/deep/app"]);
        assert.deepEqual(await names(await reopen()), await names(store));
      }));

    it("lists what comes behind a name, where it can", () =>
      withStore(backend, async ({ store, reopen }) => {
        const made = ["b", "a/b", "a/c/d", "a-b", "a.b", "a", "B", "c"];
        for (const name of made) await (await store.create(name)).close();
        const sorted = await names(store);
        for (const each of [store, await reopen()]) {
          if (each.entries === undefined) continue;
          for (const after of [undefined, "", ...sorted, "a/", "a/bb", "a/c", "a/d", "z"]) {
            const listed: string[] = [];
            for await (const { name, stableId } of each.entries({ after })) {
              listed.push(name);
              if (stableId !== undefined) assert.equal(await each.nameOf?.(stableId), name);
            }
            const expected = sorted.filter((name) => after === undefined || name > after);
            assert.deepEqual(listed, expected, `behind ${after}`);
          }
        }
      }));

    it("finds names by ids, where it gives them", () =>
      withStore(backend, async ({ store, reopen }) => {
        if (store.nameOf === undefined) return;
        const repository = await store.create("app");
        const { stableId = "" } = repository;
        await repository.close();
        for (const each of [store, await reopen()]) assert.equal(await each.nameOf?.(stableId), "app");
        for (const other of ["app", "", "3b0ad2a0-93f5-4b6c-a4d5-5f6a3d4e6f70", "'; --", "\0"])
          assert.equal(await store.nameOf(other), undefined);
        await store.rename?.("app", "other");
        if (store.rename !== undefined) assert.equal(await store.nameOf(stableId), "other");
        await store.delete(store.rename === undefined ? "app" : "other");
        assert.equal(await store.nameOf(stableId), undefined);
      }));

    it("gives a repository another name with all that it holds, where it can", () =>
      withStore(backend, async ({ store, reopen }) => {
        if (store.rename === undefined) return;
        const repository = await store.create("app");
        await (await store.create("taken")).close();
        const { oid, quarantine } = await pushCommit(repository, "first");
        await quarantine.discard();
        await rejects(store.rename("absent", "other"), "storage/not-found");
        await rejects(store.rename("app", "taken"), "storage/exists");
        await rejects(store.rename("app", "../other"), "storage/bad-name");
        await store.rename("app", "app");
        await store.rename("app.git", "group/other.git");
        // Who has it open goes on.
        (await repository.snapshot()).release();
        await repository.close();
        for (const each of [store, await reopen()]) {
          assert.equal(await each.open("app"), undefined);
          assert.deepEqual(await names(each), ["group/other", "taken"]);
          const opened = await each.open("group/other");
          assert.deepEqual([opened?.name, opened?.id], ["group/other", repository.id]);
          assert.deepEqual(await tipsOf(opened), { "refs/heads/main": oid });
        }
        await (await store.create("app")).close();
      }));

    it("gives one name to exactly one of many", () =>
      withStore(backend, async ({ store, reopen }) => {
        if (store.rename === undefined) return;
        const stores = [store, await reopen()];
        for (let i = 0; i < 6; i++) await (await store.create(`app-${i}`)).close();
        const results = await Promise.allSettled(
          Array.from({ length: 6 }, async (_, i) => (stores[i % 2] ?? store).rename?.(`app-${i}`, "winner")),
        );
        for (const result of results) {
          if (result.status === "rejected")
            assert.ok(isGitwharfError(result.reason, "storage/exists"), String(result.reason));
        }
        assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
        assert.equal((await names(store)).length, 6);
      }));

    it("takes a name with and without .git for the same", () =>
      withStore(backend, async ({ store }) => {
        const made = await store.create("group/app.git");
        const opened = await store.open("group/app");
        assert.equal(made.name, "group/app");
        assert.equal(opened?.id, made.id);
        await made.close();
        await opened?.close();
      }));

    it("refuses to make what exists", () =>
      withStore(backend, async ({ store, reopen }) => {
        await (await store.create("app")).close();
        await rejects(store.create("app"), "storage/exists");
        await rejects((await reopen()).create("app"), "storage/exists");
      }));

    it("lets exactly one of many racing callers make a repository", () =>
      withStore(backend, async ({ store, reopen }) => {
        const stores = [store, await reopen()];
        const results = await Promise.allSettled(
          Array.from({ length: 10 }, (_, i) => (stores[i % 2] ?? store).create("group/app")),
        );
        const won = results.filter((result) => result.status === "fulfilled");
        assert.equal(won.length, 1);
        for (const result of results) {
          if (result.status === "rejected")
            assert.ok(isGitwharfError(result.reason, "storage/exists"), String(result.reason));
        }
      }));

    it("refuses names that could lead elsewhere", () =>
      withStore(backend, async ({ store }) => {
        for (const name of [
          "../app",
          "/app",
          "a//b",
          "a/../b",
          "a\\b",
          "a\0b",
          ".hidden",
          "-option",
          "a/.git/b",
          "",
        ]) {
          await rejects(store.open(name), "storage/bad-name");
          await rejects(store.create(name), "storage/bad-name");
          await rejects(store.prepare(name), "storage/bad-name");
          await rejects(store.delete(name), "storage/bad-name");
        }
      }));

    it("shows a prepared repository to nobody before it is placed, and then with all that it holds", () =>
      withStore(backend, async ({ store, reopen }) => {
        const prepared = await store.prepare("group/app", { defaultBranch: "trunk" });
        const { repository } = prepared;
        assert.equal(repository.name, "group/app");
        const { oid, quarantine } = await pushCommit(repository, "first");
        for (const each of [store, await reopen()]) {
          assert.equal(await each.open("group/app"), undefined);
          assert.deepEqual(await names(each), []);
        }
        await prepared.place();
        for (const each of [store, await reopen()]) {
          assert.deepEqual(await names(each), ["group/app"]);
          assert.deepEqual(await tipsOf(await each.open("group/app")), { "refs/heads/main": oid });
        }
        // What was pushed can be read to the end of the push.
        assert.equal((await quarantine.objects.read(oid))?.type, "commit");
        await quarantine.discard();
        const snapshot = await (await store.open("group/app"))?.snapshot();
        assert.equal(snapshot?.head.symbolicTarget, "refs/heads/trunk");
        snapshot?.release();
        await prepared.discard();
        await prepared.discard();
        assert.deepEqual(await tipsOf(await store.open("group/app")), { "refs/heads/main": oid });
        await rejects(store.prepare("group/app"), "storage/exists");
        await rejects(store.create("group/app"), "storage/exists");
      }));

    it("leaves nothing of a prepared repository that is discarded", () =>
      withStore(backend, async ({ store, reopen }) => {
        const prepared = await store.prepare("group/app");
        await (await pushCommit(prepared.repository, "first")).quarantine.discard();
        const unfinished = await prepared.repository.openQuarantine();
        await unfinished.createPack();
        await unfinished.discard();
        await prepared.discard();
        await prepared.discard();
        await rejects(prepared.repository.openQuarantine(), "storage/not-found");
        for (const each of [store, await reopen()]) {
          assert.equal(await each.open("group/app"), undefined);
          assert.deepEqual(await names(each), []);
        }
        await (await store.create("group")).close();
        await rejects(store.create("group"), "storage/exists");
      }));

    it("puts exactly one of many prepared repositories in one place", () =>
      withStore(backend, async ({ store, reopen }) => {
        const stores = [store, await reopen()];
        const all = await Promise.all(
          Array.from({ length: 10 }, (_, i) => (stores[i % 2] ?? store).prepare("group/app")),
        );
        const pushes = await Promise.all(all.map(({ repository }, i) => pushCommit(repository, String(i))));
        const results = await Promise.allSettled(all.map((prepared) => prepared.place()));
        for (const result of results) {
          if (result.status === "rejected")
            assert.ok(isGitwharfError(result.reason, "storage/exists"), String(result.reason));
        }
        const winner = results.findIndex(({ status }) => status === "fulfilled");
        assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
        for (const { quarantine } of pushes) await quarantine.discard();
        for (const prepared of all) await prepared.discard();
        const tips = { "refs/heads/main": pushes[winner]?.oid };
        for (const each of stores) assert.deepEqual(await tipsOf(await each.open("group/app")), tips);
      }));

    it("puts no prepared repository where one was made meanwhile", () =>
      withStore(backend, async ({ store, reopen }) => {
        const prepared = await store.prepare("app");
        const { quarantine } = await pushCommit(prepared.repository, "first");
        await (await (await reopen()).create("app")).close();
        await rejects(prepared.place(), "storage/exists");
        await quarantine.discard();
        await prepared.discard();
        assert.deepEqual(await tipsOf(await store.open("app")), {});
      }));

    it("forgets what is deleted", () =>
      withStore(backend, async ({ store, reopen }) => {
        const repository = await store.create("app");
        await (await store.create("other")).close();
        await store.delete("app");
        assert.equal(await store.open("app"), undefined);
        assert.equal(await (await reopen()).open("app"), undefined);
        assert.deepEqual(await names(store), ["other"]);
        await rejects(repository.snapshot(), "storage/not-found");
        await rejects(repository.openQuarantine(), "storage/not-found");
        await repository.close();
        await rejects(store.delete("app"), "storage/not-found");
      }));

    it("gives a repository that is made anew another identity", () =>
      withStore(backend, async ({ store }) => {
        const first = await store.create("app");
        await store.delete("app");
        const second = await store.create("app", { objectFormat: "sha256" });
        assert.notEqual(second.id, first.id);
        assert.equal(second.objectFormat, "sha256");
        await rejects(first.snapshot(), "storage/not-found");
        (await second.snapshot()).release();
        await first.close();
        await second.close();
      }));

    it("lets users of one repository close it apart", () =>
      withStore(backend, async ({ store }) => {
        const first = await store.create("app");
        const second = await store.open("app");
        assert.equal(second?.id, first.id);
        await first.close();
        await first.close();
        (await second?.snapshot())?.release();
        await second?.close();
        const third = await store.open("app");
        (await third?.snapshot())?.release();
        await third?.close();
      }));
  });
}

async function names(store: RepositoryStore): Promise<string[]> {
  const all: string[] = [];
  for await (const name of store.list()) all.push(name);
  return all;
}

/** The quarantine is the caller's to discard. */
async function pushCommit(
  repository: Repository,
  label: string,
): Promise<{ readonly oid: ObjectId; readonly quarantine: Quarantine }> {
  const { objectFormat } = repository;
  const { commit, objects } = sampleCommit(objectFormat, label, []);
  const quarantine = await repository.openQuarantine();
  await finishPack(await quarantine.createPack(), objectFormat, objects);
  await quarantine.publish();
  const [result] = await repository.refs.transact({
    updates: [{ name: "refs/heads/main", oldOid: null, newOid: commit.oid }],
    atomic: true,
  });
  assert.deepEqual(result, { name: "refs/heads/main", ok: true });
  return { oid: commit.oid, quarantine };
}

/** Closes it. Every tip is read. */
async function tipsOf(repository: Repository | undefined): Promise<Record<string, ObjectId>> {
  assert.ok(repository !== undefined, "it is not there");
  const snapshot = await repository.snapshot();
  try {
    for (const { oid } of snapshot.refs.all) assert.equal((await snapshot.objects.read(oid))?.type, "commit");
    return Object.fromEntries(snapshot.refs.all.map(({ name, oid }) => [name, oid]));
  } finally {
    snapshot.release();
    await repository.close();
  }
}

/** Asserts that a promise is rejected with a `GitwharfError` of this code. */
export async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isGitwharfError(error, code), `expected ${code}, got ${String(error)}`);
    return true;
  });
}
