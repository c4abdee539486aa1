/** What a repository must keep that lets its packs be replaced (`PackMaintenance`). One that does not passes. */
import assert from "node:assert/strict";
import type { ObjectFormat } from "../../../object/object-format.js";
import type { PackMaintenance, PackReplacement } from "../pack-maintenance.js";
import type { Repository, Snapshot } from "../repository.js";
import { finishPack, sampleCommit, type SampleObject } from "./sample-objects.js";
import { type OpenedStore, type StoreBackend, type SuiteRunner, withStore } from "./suite-runner.js";

const PACKS = 4;

interface Prepared {
  readonly repository: Repository;
  readonly maintenance: PackMaintenance;
  /** Of all packs together. */
  readonly objects: readonly SampleObject[];
  readonly opened: OpenedStore;
}

export function packMaintenanceSuite(
  runner: SuiteRunner,
  backend: StoreBackend,
  options: { readonly objectFormat?: ObjectFormat } = {},
): void {
  const { describe, it } = runner;
  const format = options.objectFormat ?? "sha1";

  const withPacks = (body: (prepared: Prepared) => Promise<void>): Promise<void> =>
    withStore(backend, async (opened) => {
      const repository = await opened.store.create("app", { objectFormat: format });
      try {
        const { packMaintenance: maintenance } = repository;
        if (maintenance === undefined) return;
        const objects: SampleObject[] = [];
        for (let i = 0; i < PACKS; i++) {
          const sample = sampleCommit(format, `commit ${i}`);
          objects.push(...sample.objects);
          await push(repository, format, sample.objects);
        }
        await body({ repository, maintenance, objects, opened });
      } finally {
        await repository.close();
      }
    });

  describe(`pack maintenance: ${backend.name}, ${format}`, () => {
    it("puts one pack in the place of several", () =>
      withPacks(async ({ repository, maintenance, objects }) => {
        assert.equal(await maintenance.countFoldable(), PACKS);
        const before = await repository.snapshot();
        const replacement = await begin(maintenance);
        assert.equal(replacement.packs.length, PACKS);
        await finishPack(await replacement.createPack(), format, objects);
        await withSnapshot(repository, async (snapshot) =>
          assert.equal(snapshot.objects.packs.length, PACKS, "a pack was seen before it took its place"),
        );
        assert.equal(await replacement.replace(replacement.packs), true);
        await replacement.release();
        await replacement.release();
        assert.equal(await maintenance.countFoldable(), 1);
        await withSnapshot(repository, async (snapshot) => {
          assert.equal(snapshot.objects.packs.length, 1);
          await expectAll(snapshot, objects);
        });
        await expectAll(before, objects);
        before.release();
      }));

    it("replaces only what it is told to", () =>
      withPacks(async ({ repository, maintenance, objects }) => {
        const replacement = await begin(maintenance);
        // Most recently written first: the last three pushes.
        const packs = replacement.packs.filter(({ index }) => index.find(objects[0]?.oid ?? "") < 0);
        assert.equal(packs.length, PACKS - 1);
        await finishPack(await replacement.createPack(), format, objects.slice(3));
        assert.equal(await replacement.replace(packs), true);
        await replacement.release();
        await withSnapshot(repository, async (snapshot) => {
          assert.equal(snapshot.objects.packs.length, 2);
          await expectAll(snapshot, objects);
        });
      }));

    it("leaves everything as it was when it is released before", () =>
      withPacks(async ({ repository, maintenance, objects }) => {
        const replacement = await begin(maintenance);
        await finishPack(await replacement.createPack(), format, objects);
        await replacement.release();
        assert.equal(await maintenance.countFoldable(), PACKS);
        await withSnapshot(repository, (snapshot) => expectAll(snapshot, objects));
      }));

    it("keeps its packs when the new one is one of them", () =>
      withPacks(async ({ repository, maintenance, objects }) => {
        await push(repository, format, objects);
        const replacement = await begin(maintenance);
        await finishPack(await replacement.createPack(), format, objects);
        assert.equal(await replacement.replace(replacement.packs), true);
        await replacement.release();
        await withSnapshot(repository, async (snapshot) => {
          assert.equal(snapshot.objects.packs.length, 1);
          await expectAll(snapshot, objects);
        });
      }));

    it("is done by one at a time, in other stores too", () =>
      withPacks(async ({ maintenance, opened }) => {
        const replacement = await begin(maintenance);
        assert.equal(await maintenance.begin(), undefined);
        const other = await (await opened.reopen()).open("app");
        assert.equal(await other?.packMaintenance?.begin(), undefined);
        await replacement.release();
        const next = await other?.packMaintenance?.begin();
        assert.ok(next !== undefined);
        await next.release();
        await other?.close();
      }));

    it("leaves alone what was pushed meanwhile", () =>
      withPacks(async ({ repository, maintenance, objects }) => {
        const replacement = await begin(maintenance);
        const late = sampleCommit(format, "late");
        await push(repository, format, late.objects);
        await finishPack(await replacement.createPack(), format, objects);
        assert.equal(await replacement.replace(replacement.packs), true);
        await replacement.release();
        await withSnapshot(repository, async (snapshot) => {
          assert.equal(snapshot.objects.packs.length, 2);
          await expectAll(snapshot, [...objects, ...late.objects]);
        });
      }));

    it("gives way when another one has taken the packs' objects elsewhere", () =>
      withPacks(async ({ repository, maintenance, objects }) => {
        const first = await begin(maintenance);
        await finishPack(await first.createPack(), format, objects);
        const { packs } = first;
        assert.equal(await first.replace(packs), true);
        // Once more, with what has gone.
        assert.equal(await first.replace(packs).catch(() => false), false);
        await first.release();
        await withSnapshot(repository, (snapshot) => expectAll(snapshot, objects));
      }));
  });
}

async function begin(maintenance: PackMaintenance): Promise<PackReplacement> {
  const replacement = await maintenance.begin();
  assert.ok(replacement !== undefined, "somebody else is at work");
  return replacement;
}

async function push(
  repository: Repository,
  format: ObjectFormat,
  objects: readonly SampleObject[],
): Promise<void> {
  const quarantine = await repository.openQuarantine();
  try {
    await finishPack(await quarantine.createPack(), format, objects);
    await quarantine.publish();
  } finally {
    await quarantine.discard();
  }
}

async function withSnapshot(
  repository: Repository,
  body: (snapshot: Snapshot) => Promise<void>,
): Promise<void> {
  const snapshot = await repository.snapshot();
  try {
    await body(snapshot);
  } finally {
    snapshot.release();
  }
}

async function expectAll(snapshot: Snapshot, objects: readonly SampleObject[]): Promise<void> {
  for (const { oid, data } of objects) {
    const object = await snapshot.objects.read(oid);
    assert.ok(object?.data.equals(data), `${oid} is absent or reads otherwise`);
  }
}
