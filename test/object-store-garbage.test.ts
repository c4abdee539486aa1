/** Collecting garbage in the object store. The real git is the judge of what is left. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { collectGarbage, type CollectionOutcome } from "../src/engine/maintenance/collect-garbage.js";
import {
  type ObjectStorage,
  type ObjectStorageOptions,
  openObjectStorage,
} from "../src/server/object-storage.js";
import type { PackSurvey } from "../src/storage/contracts/pack-maintenance.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { embeddedStorages, servedStorages } from "./support/object-storages.js";
import { serveStorage } from "./support/served-storage.js";

async function unattended(store: ObjectStorage): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const name of store.unattended?.() ?? []) names.push(name);
  return names;
}

async function surveyOf(store: ObjectStorage, name: string): Promise<PackSurvey | undefined> {
  const repository = await store.open(name);
  try {
    return await repository?.packMaintenance?.garbage?.survey();
  } finally {
    await repository?.close();
  }
}

describe.each([embeddedStorages(), servedStorages(inject("cephSocket"))])(
  "collecting garbage: $name",
  (kind) => {
    const { isSkipped } = kind;
    /** What the database or the bucket has no part in is tried once. */
    const isServed = kind.name !== embeddedStorages().name;
    let client: GitClient;
    let options: ObjectStorageOptions;
    let store: ObjectStorage;
    let url: string;
    let close: (() => Promise<void>) | undefined;

    beforeAll(async () => {
      client = createWorkspace();
      if (isSkipped) return;
      ({ options, store, url, close } = await serveStorage(kind, client.directory, { janitor: false }));
    }, 300_000);
    afterAll(async () => {
      await close?.();
      removeDirectory(client);
      await kind.close();
    });

    const commit = async (
      tree: GitClient,
      name: string,
      content: string | Buffer = name,
    ): Promise<string> => {
      await writeFile(join(tree.directory, name), content);
      await tree.run("add", ".");
      await tree.run("commit", "-q", "-m", name);
      return tree.run("rev-parse", "HEAD");
    };
    const lines = (edition: number): string =>
      Array.from({ length: 300 }, (_, n) => (n === edition * 7 ? `edition ${edition}` : `line ${n}`)).join(
        "\n",
      );
    /** Pushed commit by commit, so that there are deltas and many packs. */
    const pushed = async (name: string): Promise<GitClient> => {
      await client.run("init", "-q", name);
      const tree = client.in(name);
      await tree.run("remote", "add", "origin", `${url}/${name}.git`);
      for (let i = 0; i < 4; i++) {
        await commit(tree, "file.txt", lines(i));
        await tree.run("push", "-q", "origin", "main");
      }
      return tree;
    };
    const packsOf = async (name: string): Promise<number> => {
      const repository = await store.open(name);
      const snapshot = await repository?.snapshot();
      snapshot?.release();
      await repository?.close();
      return snapshot?.objects.packs.length ?? 0;
    };
    const has = async (name: string, oid: string): Promise<boolean> => {
      const repository = await store.open(name);
      const snapshot = await repository?.snapshot();
      try {
        return (await snapshot?.objects.has(oid)) === true;
      } finally {
        snapshot?.release();
        await repository?.close();
      }
    };
    const checked = async (name: string): Promise<void> => {
      expect((await store.verify(name, { deep: true })).findings).toEqual([]);
      const copy = `copy-${randomBytes(4).toString("hex")}.git`;
      await client.run("clone", "-q", "--mirror", `${url}/${name}.git`, copy);
      await client.in(copy).run("fsck", "--strict", "--full");
      expect(await client.run("ls-remote", copy)).toBe(await client.run("ls-remote", `${url}/${name}.git`));
    };

    it.skipIf(isSkipped)("sorts what refs lead to, and drops the rest when its time has come", async () => {
      const tree = await pushed("app");
      await tree.run("tag", "-a", "-m", "annotated", "v1");
      const secret = await commit(tree, "secret.txt", lines(20));
      await tree.run("push", "-q", "origin", "main", "v1");
      await tree.run("reset", "-q", "--hard", "HEAD~1");
      await tree.run("notes", "add", "-m", "beside the branches");
      await tree.run("push", "-q", "--force", "origin", "main", "refs/notes/commits");
      await tree.run("push", "-q", "origin", "HEAD~1:refs/heads/topic");
      expect(await packsOf("app")).toBe(6);
      const first = await store.collectGarbage("app");
      expect(first).toMatchObject({
        kind: "collected",
        dropped: 0,
        unreachable: 3,
        packsBefore: 6,
        packsAfter: 3,
      });
      expect((await store.history("app"))[0]?.kind).toBe("gc");
      await checked("app");
      expect(await has("app", secret)).toBe(true);
      expect(await store.collectGarbage("app")).toEqual({ kind: "nothing to do" });
      expect(await unattended(store)).toEqual([]);
      const impatient = await openObjectStorage({ ...options, garbageGraceMs: 0 });
      expect(await unattended(impatient)).toEqual(["app"]);
      await impatient.close();
      await commit(tree, "later.txt");
      await tree.run("push", "-q", "origin", "main");
      expect(await store.collectGarbage("app")).toMatchObject({
        kind: "collected",
        dropped: 0,
        packsAfter: 3,
      });
      expect(await store.collectGarbage("app", { graceMs: 0 })).toMatchObject({
        kind: "collected",
        dropped: 3,
        unreachable: 0,
        packsAfter: 2,
      });
      expect(await has("app", secret)).toBe(false);
      await checked("app");
      // From the bucket the janitor removes what no kept generation needs.
      const before = (await store.verify("app")).bucketObjects;
      const dropped: number[] = [];
      for (let passes = 0; passes < 2; passes++)
        dropped.push((await store.clean({ retentionMs: 0, graceMs: 0 })).packsDropped);
      expect(Math.max(...dropped)).toBeGreaterThanOrEqual(6);
      expect((await store.verify("app")).bucketObjects).toBe(before);
      await checked("app");
    });

    it.skipIf(isSkipped || isServed)(
      "keeps what unreachable objects lead to for as long as these",
      async () => {
        const tree = await pushed("chain");
        const main = await tree.run("rev-parse", "main");
        const older = await commit(tree, "older.txt");
        await tree.run("push", "-q", "origin", "main:topic");
        await tree.run("push", "-q", "origin", ":topic");
        const graceMs = 1;
        expect(await store.collectGarbage("chain", { graceMs })).toMatchObject({
          unreachable: 3,
          dropped: 0,
        });
        // Pushed once more, and so with its parent, which nobody sees.
        const younger = await commit(tree, "younger.txt");
        await tree.run("push", "-q", "origin", "main:topic");
        await tree.run("push", "-q", "origin", ":topic");
        expect(await store.collectGarbage("chain", { graceMs })).toMatchObject({ dropped: 0 });
        expect([await has("chain", older), await has("chain", younger)]).toEqual([true, true]);
        await checked("chain");
        expect(await store.collectGarbage("chain", { graceMs: 0 })).toMatchObject({ dropped: 6 });
        expect(await client.run("ls-remote", `${url}/chain.git`, "main")).toContain(main);
        await checked("chain");
      },
    );

    it.skipIf(isSkipped || isServed)("lets a push look again that began before objects went", async () => {
      const tree = await pushed("pushing");
      const base = await commit(tree, "base.txt");
      await tree.run("push", "-q", "origin", "main:topic", "main~1:refs/heads/brief");
      const late = await store.open("pushing");
      const tip = await tree.run("rev-parse", "main~1");
      await tree.run("push", "-q", "origin", ":topic");
      expect(await store.collectGarbage("pushing", { graceMs: 0 })).toMatchObject({ dropped: 3 });
      const results = await late?.refs.transact({
        updates: [{ name: "refs/heads/lost", oldOid: null, newOid: base }],
        atomic: false,
      });
      expect(results).toEqual([
        {
          name: "refs/heads/lost",
          ok: false,
          code: "stale",
          reason: "the repository was restored or pruned meanwhile; push again",
        },
      ]);
      // Of whatever transactions it is made, and parts of these.
      const brief = { name: "refs/heads/brief", oldOid: tip, newOid: null };
      const lost = { name: "refs/heads/lost", oldOid: null, newOid: base };
      for (const updates of [[lost], [brief, lost], [lost]])
        expect(await late?.refs.transact({ updates, atomic: false })).toMatchObject(
          updates.map((update) => ({ name: update.name, ok: update === brief })),
        );
      await late?.close();
      const again = await store.open("pushing");
      await commit(tree, "unrelated.txt");
      await tree.run("push", "-q", "origin", "main:topic");
      await tree.run("push", "-q", "origin", ":topic");
      expect(await store.collectGarbage("pushing", { graceMs: 0 })).toMatchObject({ kind: "collected" });
      expect(
        await again?.refs.transact({
          updates: [{ name: "refs/heads/kept", oldOid: null, newOid: tip }],
          atomic: false,
        }),
      ).toEqual([{ name: "refs/heads/kept", ok: true }]);
      await again?.close();
      await checked("pushing");
    });

    it.skipIf(isSkipped || isServed)("gives way to a push that needs what was to go", async () => {
      const tree = await pushed("needed");
      const needed = await commit(tree, "needed.txt");
      await tree.run("push", "-q", "origin", "main:topic");
      await tree.run("push", "-q", "origin", ":topic");
      const repository = await store.open("needed");
      const garbage = repository?.packMaintenance?.garbage;
      if (repository === undefined || garbage === undefined) throw new Error("nobody collects garbage");
      const racing = (ref: string, oid: string): Promise<CollectionOutcome> =>
        collectGarbage(
          {
            ...garbage,
            async begin() {
              const work = await garbage.begin();
              await repository.refs.transact({
                updates: [{ name: ref, oldOid: undefined, newOid: oid }],
                atomic: true,
              });
              return work;
            },
          },
          { graceMs: 0 },
        );
      const before = await packsOf("needed");
      expect(await racing("refs/heads/needed", needed)).toEqual({ kind: "left to others" });
      expect(await packsOf("needed")).toBe(before);
      await repository.refs.transact({
        updates: [{ name: "refs/heads/needed", oldOid: needed, newOid: null }],
        atomic: true,
      });
      const tip = await tree.run("rev-parse", "main~2");
      expect(await racing("refs/heads/other", tip)).toMatchObject({ kind: "collected", dropped: 3 });
      await repository.close();
      await checked("needed");
    });

    it.skipIf(isSkipped || isServed)("writes whole what was a delta upon something that goes", async () => {
      const tree = await pushed("whole");
      const large = randomBytes(1_500_000);
      await commit(tree, "large", large);
      await tree.run("push", "-q", "origin", "main:refs/heads/gone");
      // Stored as deltas upon those of the branch that goes.
      await commit(
        tree,
        "large",
        Buffer.concat([large.subarray(0, 700_000), Buffer.from("x"), large.subarray(700_000)]),
      );
      await commit(tree, "file.txt", lines(30));
      await tree.run("push", "-q", "origin", "main:refs/heads/gone");
      await tree.run("checkout", "-q", "--orphan", "alone");
      await tree.run("commit", "-q", "-m", "alone");
      await tree.run("push", "-q", "origin", "alone", ":gone");
      const repository = await store.open("whole");
      await repository?.refs.transact({
        updates: [{ name: "HEAD", oldOid: undefined, newOid: await tree.run("rev-parse", "main~3") }],
        atomic: true,
      });
      await repository?.close();
      expect(await store.collectGarbage("whole", { graceMs: 0 })).toMatchObject({ kind: "collected" });
      expect((await store.verify("whole", { deep: true })).findings).toEqual([]);
      await client.run("clone", "-q", "--bare", `${url}/whole.git`, "whole-copy.git");
      await client.in("whole-copy.git").run("fsck", "--strict");
    });

    it.skipIf(isSkipped || isServed)("sorts repositories of SHA-256, and shallow ones", async () => {
      await client.run("init", "-q", "--object-format=sha256", "longer");
      const longer = client.in("longer");
      await commit(longer, "one");
      await commit(longer, "two");
      await longer.run("clone", "-q", "--bare", ".", "../longer.git");
      await pushed("deep");
      await client.run("clone", "-q", "--bare", "--depth=2", `${url}/deep.git`, "cut.git");
      for (const name of ["longer", "cut"]) {
        await store.importFrom(join(client.directory, `${name}.git`), name);
        const outcome = await store.collectGarbage(name, { graceMs: 0 });
        expect(outcome).toMatchObject({ kind: "collected", packsAfter: 1 });
        expect((await store.verify(name, { deep: true })).findings).toEqual([]);
        const copy = `${name}-copy.git`;
        await store.exportTo(name, join(client.directory, copy));
        await client.in(copy).run("fsck", "--strict", "--full");
      }
    });

    it.skipIf(isSkipped || isServed)(
      "does not give each of two forks a copy of what they share",
      async () => {
        const tree = await pushed("origin");
        for (const name of ["one", "two"]) await (await store.fork("origin", name)).close();
        await commit(tree, "pushed.txt");
        await tree.run("push", "-q", "origin", "main");
        expect(await store.collectGarbage("origin", { graceMs: 0 })).toMatchObject({ packsAfter: 1 });
        for (const name of ["one", "two"]) {
          await tree.run("push", "-q", `${url}/${name}.git`, "main:refs/heads/own");
        }
        // The origin needs them no more, and the forks do not remember how they began.
        for (let passes = 0; passes < 2; passes++) await store.clean({ retentionMs: 0, graceMs: 0 });
        const later = await openObjectStorage(options);
        try {
          for (const name of ["one", "two"]) {
            const before = await packsOf(name);
            // Not all that it has is new to it.
            expect(await surveyOf(later, name)).toMatchObject({ newPacks: 1 });
            const outcome = await later.collectGarbage(name, { graceMs: 0 });
            expect(outcome).toMatchObject({ kind: "collected", packsAfter: before });
            expect(outcome).toMatchObject({
              writtenBytes: expect.toSatisfy((bytes: number) => bytes < 1000),
            });
            await checked(name);
          }
        } finally {
          await later.close();
        }
      },
    );

    it.skipIf(isSkipped || isServed)("leaves to others what a fork shares with them", async () => {
      const tree = await pushed("parent");
      await (await store.fork("parent", "fork")).close();
      await tree.run("remote", "add", "fork", `${url}/fork.git`);
      const shared = await packsOf("fork");
      expect(await store.collectGarbage("fork")).toEqual({ kind: "nothing to do" });
      await commit(tree, "kept.txt");
      await tree.run("push", "-q", "fork", "main");
      const gone = await commit(tree, "gone.txt");
      await tree.run("push", "-q", "fork", "main");
      await tree.run("push", "-q", "--force", "fork", "main~1:main");
      const outcome = await store.collectGarbage("fork", { graceMs: 0 });
      expect(outcome).toMatchObject({ kind: "collected", dropped: 3, packsAfter: shared + 1 });
      expect(outcome).toMatchObject({ writtenBytes: expect.toSatisfy((bytes: number) => bytes < 1000) });
      expect(await has("fork", gone)).toBe(false);
      await checked("fork");
      await tree.run("push", "-q", "origin", "main:refs/heads/brief");
      await tree.run("push", "-q", "origin", ":refs/heads/brief");
      expect(await store.collectGarbage("parent")).toMatchObject({ kind: "collected", packsAfter: 2 });
      await (await store.fork("parent", "late")).close();
      // What waits in the parent is no reason to collect the fork's garbage with every push.
      expect([await surveyOf(store, "parent"), await surveyOf(store, "late")]).toMatchObject([
        { unreachableForMs: expect.any(Number) },
        { unreachableForMs: undefined },
      ]);
      // The parent has what all of them began with: it is collected there, and the fork keeps what it needs.
      expect(await store.collectGarbage("parent", { graceMs: 0 })).toMatchObject({ packsAfter: 1 });
      await store.clean({ retentionMs: 0, graceMs: 0 });
      await store.clean({ retentionMs: 0, graceMs: 0 });
      await checked("parent");
      await checked("fork");
      // Once nobody else has them, they are the fork's own.
      await store.clean({ retentionMs: 0, graceMs: 0 });
      const later = await openObjectStorage(options);
      try {
        expect(await later.collectGarbage("fork", { graceMs: 0 })).toMatchObject({ packsAfter: 1 });
      } finally {
        await later.close();
      }
      await checked("fork");
    });

    it.skipIf(isSkipped || isServed)(
      "lets a push to a fork look behind what is kept for others there",
      async () => {
        const tree = await pushed("lender");
        const first = await tree.run("rev-parse", "main");
        // The trees and blobs of this one stand in the pack of the branches.
        const beside = await tree.run("commit-tree", "-m", "beside", "main^{tree}");
        await tree.run("push", "-q", "origin", `${beside}:refs/notes/beside`);
        expect(await store.collectGarbage("lender")).toMatchObject({ packsAfter: 2 });
        await (await store.fork("lender", "borrower")).close();
        const late = await store.open("borrower");
        await tree.run("checkout", "-q", "--orphan", "fresh");
        await tree.run("rm", "-q", "-r", "-f", ".");
        await commit(tree, "fresh.txt");
        const borrower = `${url}/borrower.git`;
        await tree.run("push", "-q", "--force", borrower, "fresh:main", ":refs/notes/beside");
        // The lender's branches are written anew, and the other pack stays what both have.
        await tree.run("checkout", "-q", "main");
        await commit(tree, "later.txt");
        await tree.run("push", "-q", "origin", "main");
        expect(await store.collectGarbage("lender")).toMatchObject({ kind: "collected", packsAfter: 2 });
        await store.clean({ retentionMs: 0, graceMs: 0 });
        const other = await openObjectStorage(options);
        const outcome = await other.collectGarbage("borrower", { graceMs: 0 });
        await other.close();
        expect(outcome).toMatchObject({ kind: "collected" });
        expect([await has("borrower", beside), await has("borrower", first)]).toEqual([true, false]);
        const results = await late?.refs.transact({
          updates: [{ name: "refs/notes/again", oldOid: null, newOid: beside }],
          atomic: false,
        });
        expect(results).toMatchObject([{ ok: false, code: "stale" }]);
        await late?.close();
        await checked("borrower");
        await checked("lender");
      },
    );

    it.skipIf(isSkipped)("is done by one of two servers, while others push", async () => {
      const tree = await pushed("busy");
      const other = await openObjectStorage(options);
      try {
        let isOver = false;
        const pushing = (async () => {
          for (let i = 0; i < 8; i++) {
            await commit(tree, `busy-${i}.txt`);
            await tree.run("push", "-q", "origin", `main:refs/heads/busy-${i}`);
            if (i % 2 === 1) await tree.run("push", "-q", "origin", `:refs/heads/busy-${i}`);
          }
          isOver = true;
        })();
        let collected = 0;
        for (let rounds = 0; !isOver && rounds < 200; rounds++) {
          const both = [store, other].map((each) => each.collectGarbage("busy", { graceMs: 0 }));
          for (const { kind } of await Promise.all(both)) if (kind === "collected") collected++;
        }
        await pushing;
        expect(collected).toBeGreaterThan(0);
        await checked("busy");
      } finally {
        await other.close();
      }
    });
  },
);
