/** What every `RepositoryStore` must keep. */
import assert from "node:assert/strict";
import { isGitwharfError } from "../../../base/errors.js";
import type { ErrorCode } from "../../../base/error-codes.js";
import type { RepositoryStore } from "../repository.js";
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
          await rejects(store.delete(name), "storage/bad-name");
        }
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

/** Asserts that a promise is rejected with a `GitwharfError` of this code. */
export async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isGitwharfError(error, code), `expected ${code}, got ${String(error)}`);
    return true;
  });
}
