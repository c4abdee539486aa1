/** What every `Repository`, its snapshots, quarantines and object readers must keep. */
import assert from "node:assert/strict";
import { Worker } from "node:worker_threads";
import type { ObjectFormat } from "../../../object/object-format.js";
import { nullObjectId } from "../../../object/object-id.js";
import type { ObjectReader } from "../object-reader.js";
import type { Quarantine } from "../quarantine.js";
import type { Repository, Snapshot } from "../repository.js";
import type { ReadObjectsAnswer, ReadObjectsTask } from "./read-objects-worker.js";
import { rejects } from "./repository-store-suite.js";
import {
  finishPack,
  formatSamplePack,
  sampleCommit,
  type SampleObject,
  sampleObject,
} from "./sample-objects.js";
import { type OpenedStore, type StoreBackend, type SuiteRunner, withStore } from "./suite-runner.js";

export interface RepositorySuiteOptions {
  /** @default "sha1" */
  readonly objectFormat?: ObjectFormat;
}

export function repositorySuite(
  runner: SuiteRunner,
  backend: StoreBackend,
  options: RepositorySuiteOptions = {},
): void {
  const { describe, it } = runner;
  const format = options.objectFormat ?? "sha1";

  const withRepository = (
    body: (repository: Repository, opened: OpenedStore) => Promise<void>,
  ): Promise<void> =>
    withStore(backend, async (opened) => {
      const repository = await opened.store.create("app", { objectFormat: format });
      try {
        await body(repository, opened);
      } finally {
        await repository.close();
      }
    });

  const commitTo = async (
    repository: Repository,
    label: string,
    name = "refs/heads/main",
  ): Promise<SampleObject> => {
    const parent = (await withSnapshot(repository, async ({ refs }) => refs.get(name)?.oid)) ?? null;
    const { commit, objects } = sampleCommit(format, label, parent === null ? [] : [parent]);
    await push(repository, format, objects);
    const [result] = await repository.refs.transact({
      updates: [{ name, oldOid: parent, newOid: commit.oid }],
      atomic: true,
    });
    assert.deepEqual(result, { name, ok: true });
    return commit;
  };

  describe(`repository: ${backend.name}, ${format}`, () => {
    describe("quarantine", () => {
      it("shows its objects to its owner alone until it is published", () =>
        withRepository(async (repository) => {
          const { commit, objects } = sampleCommit(format, "first");
          const quarantine = await repository.openQuarantine();
          const pack = await finishPack(await quarantine.createPack(), format, objects);
          assert.deepEqual(quarantine.packs, [pack]);
          for (const object of objects) await expectObject(quarantine.objects, object);
          await withSnapshot(repository, async (snapshot) => {
            assert.equal(await snapshot.objects.has(commit.oid), false);
            assert.equal(await snapshot.objects.read(commit.oid), undefined);
          });
          await quarantine.publish();
          await withSnapshot(repository, async (snapshot) => {
            for (const object of objects) await expectObject(snapshot.objects, object);
          });
          await quarantine.discard();
          await withSnapshot(repository, async (snapshot) => {
            for (const object of objects) await expectObject(snapshot.objects, object);
          });
        }));

      it("has no directory once it is published, with objects or without", () =>
        withRepository(async (repository) => {
          for (const label of ["first", undefined]) {
            await withQuarantine(repository, async (quarantine) => {
              const sink = await quarantine.createPack();
              if (label === undefined) await sink.abort();
              else await finishPack(sink, format, sampleCommit(format, label).objects);
              await quarantine.publish();
              assert.equal(quarantine.directory, undefined);
            });
          }
        }));

      it("has the repository's own objects behind it", () =>
        withRepository(async (repository) => {
          const commit = await commitTo(repository, "first");
          await withQuarantine(repository, async (quarantine) => {
            await expectObject(quarantine.objects, commit);
            assert.equal(quarantine.objects.packs.length, 1);
            assert.deepEqual(quarantine.packs, []);
          });
        }));

      it("leaves nothing when it is discarded", () =>
        withRepository(async (repository, { reopen }) => {
          const { commit, objects } = sampleCommit(format, "refused");
          const quarantine = await repository.openQuarantine();
          await finishPack(await quarantine.createPack(), format, objects);
          await (await quarantine.createPack()).append(Buffer.from("never finished"));
          await quarantine.discard();
          await quarantine.discard();
          await withSnapshot(repository, async (snapshot) => {
            assert.equal(await snapshot.objects.has(commit.oid), false);
            assert.deepEqual(snapshot.objects.packs, []);
          });
          const other = await (await reopen()).open("app");
          assert.ok(other !== undefined);
          await withSnapshot(other, async (snapshot) =>
            assert.equal(await snapshot.objects.has(commit.oid), false),
          );
          await other.close();
        }));

      it("publishes an identical pack twice without harm", () =>
        withRepository(async (repository) => {
          const { objects } = sampleCommit(format, "same");
          const both = await Promise.all([repository.openQuarantine(), repository.openQuarantine()]);
          for (const quarantine of both) await finishPack(await quarantine.createPack(), format, objects);
          await Promise.all(both.map((quarantine) => quarantine.publish()));
          await Promise.all(both.map((quarantine) => quarantine.discard()));
          await push(repository, format, objects);
          await withSnapshot(repository, async (snapshot) => {
            for (const object of objects) await expectObject(snapshot.objects, object);
          });
        }));

      it("publishes several packs at once", () =>
        withRepository(async (repository) => {
          const samples = ["one", "two", "three"].map((label) => sampleCommit(format, label));
          const quarantine = await repository.openQuarantine();
          for (const { objects } of samples) await finishPack(await quarantine.createPack(), format, objects);
          await quarantine.publish();
          await quarantine.discard();
          await withSnapshot(repository, async (snapshot) => {
            assert.equal(snapshot.objects.packs.length, 3);
            for (const { objects } of samples)
              for (const object of objects) await expectObject(snapshot.objects, object);
          });
        }));

      it("adds shallow commits on publishing, not before", () =>
        withRepository(async (repository) => {
          const { commit, objects } = sampleCommit(format, "shallow", [
            sampleObject(format, "blob", Buffer.from("x")).oid,
          ]);
          const quarantine = await repository.openQuarantine();
          await finishPack(await quarantine.createPack(), format, objects);
          quarantine.addShallow([commit.oid]);
          const before = await repository.snapshot();
          await quarantine.publish();
          await quarantine.discard();
          const after = await repository.snapshot();
          assert.deepEqual([...before.shallow], []);
          assert.deepEqual([...after.shallow], [commit.oid]);
          assert.notEqual(after.version, before.version);
          before.release();
          after.release();
        }));

      it("takes shallow commits off on publishing, not before", () =>
        withRepository(async (repository) => {
          const parent = sampleObject(format, "blob", Buffer.from("x")).oid;
          const one = sampleCommit(format, "one", [parent]).commit.oid;
          const two = sampleCommit(format, "two", [parent]).commit.oid;
          const change = async (work: (quarantine: Quarantine) => void): Promise<readonly string[]> => {
            const quarantine = await repository.openQuarantine();
            work(quarantine);
            const before = await repository.snapshot();
            await quarantine.publish();
            await quarantine.discard();
            const after = await repository.snapshot();
            assert.notEqual(after.version, before.version);
            before.release();
            after.release();
            return [...after.shallow].toSorted();
          };
          const both = [one, two].toSorted();
          assert.deepEqual(await change((quarantine) => quarantine.addShallow([one, two])), both);
          assert.deepEqual(await change((quarantine) => quarantine.removeShallow([one])), [two]);
          // What was said last counts.
          const left = await change((quarantine) => {
            quarantine.addShallow([one]);
            quarantine.removeShallow([one, two]);
            quarantine.addShallow([one]);
          });
          assert.deepEqual(left, [one]);
          assert.deepEqual(await change((quarantine) => quarantine.removeShallow([one])), []);
        }));

      it("goes with a repository that is deleted meanwhile", () =>
        withRepository(async (repository, { store }) => {
          const quarantine = await repository.openQuarantine();
          await finishPack(await quarantine.createPack(), format, sampleCommit(format, "late").objects);
          await store.delete("app");
          await rejects(quarantine.publish(), "storage/not-found");
          await quarantine.discard();
          const anew = await store.create("app", { objectFormat: format });
          await withSnapshot(anew, async (snapshot) => assert.deepEqual(snapshot.objects.packs, []));
          await anew.close();
        }));
    });

    describe("pack sink", () => {
      for (const [title, sizeBytes, chunkBytes] of [
        ["in one piece", 1000, 1 << 30],
        ["byte by byte", 300, 1],
        ["larger than what is kept in memory", 3_000_000, 65_536],
      ] as const) {
        it(`takes a pack ${title}`, () =>
          withRepository(async (repository) => {
            const blob = sampleObject(format, "blob", noise(sizeBytes));
            await withQuarantine(repository, async (quarantine) => {
              const sink = await quarantine.createPack();
              const pack = await finishPack(sink, format, [blob], { chunkBytes });
              await expectObject(quarantine.objects, blob);
              await quarantine.publish();
              assert.equal(pack.name, `pack-${pack.index.packTrailer}`);
            });
            await withSnapshot(repository, (snapshot) => expectObject(snapshot.objects, blob));
          }));
      }

      for (const sizeBytes of [1000, 3_000_000]) {
        it(`reads, overwrites and cuts ${sizeBytes} bytes`, () =>
          withRepository(async (repository) => {
            await withQuarantine(repository, async (quarantine) => {
              const sink = await quarantine.createPack();
              const expected = noise(sizeBytes);
              const half = sizeBytes / 2;
              // Overlapping appends: each has its place from the moment of the call.
              await Promise.all([
                sink.append(expected.subarray(0, half)),
                sink.append(expected.subarray(half)),
              ]);
              assert.equal(sink.sizeBytes, sizeBytes);
              assert.deepEqual(await sink.range().read(0, sizeBytes), expected);
              await sink.overwrite(4, Buffer.from("overwritten"));
              expected.write("overwritten", 4);
              assert.deepEqual(await sink.range().read(0, 100), expected.subarray(0, 100));
              await sink.truncate(half);
              assert.equal(sink.range().sizeBytes, half);
              await sink.append(Buffer.from("tail"));
              assert.deepEqual(
                await sink.range().read(half - 4, 100),
                Buffer.concat([expected.subarray(half - 4, half), Buffer.from("tail")]),
              );
              assert.equal((await sink.range().read(half + 4, 10)).length, 0);
              await sink.abort();
              await sink.abort();
              assert.deepEqual(quarantine.packs, []);
            });
          }));
      }

      it("completes a pack: cut, appended to, its head rewritten", () =>
        withRepository(async (repository) => {
          const { objects, commit } = sampleCommit(format, "completed");
          const short = formatSamplePack(format, objects.slice(0, 1));
          const whole = formatSamplePack(format, objects);
          await withQuarantine(repository, async (quarantine) => {
            const sink = await quarantine.createPack();
            const trailerBytes = short.trailer.length / 2;
            await sink.append(short.bytes);
            await sink.truncate(short.bytes.length - trailerBytes);
            await sink.append(whole.bytes.subarray(short.bytes.length - trailerBytes));
            await sink.overwrite(0, whole.bytes.subarray(0, 12));
            await sink.finish({ trailer: whole.trailer, index: whole.index });
            await quarantine.publish();
          });
          await withSnapshot(repository, (snapshot) => expectObject(snapshot.objects, commit));
        }));
    });

    describe("snapshot", () => {
      it("holds refs and objects of one instant", () =>
        withRepository(async (repository) => {
          const first = await commitTo(repository, "first");
          const before = await repository.snapshot();
          const second = await commitTo(repository, "second");
          const after = await repository.snapshot();
          assert.equal(before.refs.get("refs/heads/main")?.oid, first.oid);
          assert.equal(before.head.oid, first.oid);
          assert.equal(after.refs.get("refs/heads/main")?.oid, second.oid);
          assert.notEqual(after.version, before.version);
          await expectObject(before.objects, first);
          await expectObject(after.objects, first);
          await expectObject(after.objects, second);
          before.release();
          before.release();
          await expectObject(after.objects, first);
          after.release();
        }));

      it("has its objects still when it was taken for its refs", () =>
        withRepository(async (repository) => {
          const first = await commitTo(repository, "first");
          const snapshot = await repository.snapshot({ onlyRefs: true });
          await commitTo(repository, "second");
          assert.equal(snapshot.refs.get("refs/heads/main")?.oid, first.oid);
          assert.equal(snapshot.head.oid, first.oid);
          await expectObject(snapshot.objects, first);
          const { commit: absent } = sampleCommit(format, "never pushed");
          assert.equal(await snapshot.objects.has(absent.oid), false);
          assert.equal(await snapshot.objects.read(absent.oid), undefined);
          snapshot.release();
          snapshot.release();
        }));

      it("has the same version while nothing changes", () =>
        withRepository(async (repository, { store }) => {
          await commitTo(repository, "first");
          const other = await store.open("app");
          assert.ok(other !== undefined);
          const versions = await Promise.all(
            [repository, other, repository].map((r) => withSnapshot(r, async (s) => s.version)),
          );
          assert.equal(new Set(versions).size, 1);
          await other.close();
        }));

      it("always finds what its refs name, while others push", () =>
        withRepository(async (repository, { reopen }) => {
          const other = await (await reopen()).open("app");
          assert.ok(other !== undefined);
          let pushing = true;
          const pushes = (async () => {
            for (let i = 0; i < 15; i++) await commitTo(i % 2 === 0 ? repository : other, `commit ${i}`);
            pushing = false;
          })();
          while (pushing) {
            await withSnapshot(repository, async (snapshot) => {
              const { oid } = snapshot.head;
              if (oid !== undefined) assert.equal((await snapshot.objects.read(oid))?.type, "commit");
            });
            // A backend may answer all of this without waiting for anything.
            await new Promise((resolve) => setImmediate(resolve));
          }
          await pushes;
          await other.close();
        }));

      it("outlives the closing of its repository", () =>
        withRepository(async (repository, { store }) => {
          const commit = await commitTo(repository, "first");
          const other = await store.open("app");
          const snapshot = await other?.snapshot();
          assert.ok(snapshot !== undefined);
          await other?.close();
          await expectObject(snapshot.objects, commit);
          snapshot.release();
        }));
    });

    describe("object reader", () => {
      it("answers undefined for what is absent", () =>
        withRepository(async (repository) => {
          await commitTo(repository, "first");
          await withSnapshot(repository, async ({ objects }) => {
            for (const oid of [nullObjectId(format), "f".repeat(nullObjectId(format).length)]) {
              assert.equal(await objects.read(oid), undefined);
              assert.equal(await objects.readHeader(oid), undefined);
              assert.equal(await objects.has(oid), false);
              assert.equal(objects.locate(oid), undefined);
            }
          });
        }));

      it("finds objects in many packs", () =>
        withRepository(async (repository) => {
          const blobs: SampleObject[] = [];
          const quarantine = await repository.openQuarantine();
          for (let i = 0; i < 60; i++) {
            const own = [0, 1, 2].map((k) => sampleObject(format, "blob", Buffer.from(`blob ${i} ${k}`)));
            await finishPack(await quarantine.createPack(), format, own);
            blobs.push(...own);
          }
          await quarantine.publish();
          await quarantine.discard();
          await withSnapshot(repository, async ({ objects }) => {
            assert.equal(objects.packs.length, 60);
            for (const blob of blobs) await expectObject(objects, blob);
            assert.equal(objects.locate(sampleObject(format, "blob", Buffer.from("none")).oid), undefined);
          });
          const more = sampleObject(format, "blob", Buffer.from("one more"));
          await push(repository, format, [more]);
          await withSnapshot(repository, async ({ objects }) => {
            await expectObject(objects, more);
            for (const blob of blobs) await expectObject(objects, blob);
          });
        }));

      it("lists the packs most recently written first", () =>
        withRepository(async (repository) => {
          const first = await commitTo(repository, "first");
          await new Promise((resolve) => setTimeout(resolve, 20));
          const second = await commitTo(repository, "second");
          await withSnapshot(repository, async ({ objects }) => {
            const [newest, oldest] = objects.packs;
            assert.ok(newest !== undefined && oldest !== undefined && objects.packs.length === 2);
            assert.notEqual(newest.index.find(second.oid), -1);
            assert.notEqual(oldest.index.find(first.oid), -1);
          });
        }));

      it("is opened in a worker thread from its description", () =>
        withRepository(async (repository) => {
          const published = await commitTo(repository, "published");
          const large = sampleObject(format, "blob", noise(2_000_000));
          await withQuarantine(repository, async (quarantine) => {
            await finishPack(await quarantine.createPack(), format, [large]);
            const absent = "f".repeat(published.oid.length);
            const answer = await readInWorker({
              descriptor: quarantine.objects.describe(),
              oids: [published.oid, large.oid, absent],
            });
            assert.deepEqual(answer, [
              {
                type: "commit",
                content: published.data.toString("latin1"),
                sizeBytes: published.data.length,
              },
              { type: "blob", content: large.data.toString("latin1"), sizeBytes: large.data.length },
              "absent",
            ]);
          });
        }));
    });

    it("serves files to dumb clients, where it does", () =>
      withRepository(async (repository) => {
        if (repository.openFile === undefined) return;
        const read = async (path: string): Promise<Buffer | undefined> => {
          const file = await repository.openFile?.(path);
          if (file === undefined) return undefined;
          const chunks: Uint8Array[] = [];
          for await (const chunk of file.read({ start: 0, end: file.sizeBytes })) chunks.push(chunk);
          await file.close();
          return Buffer.concat(chunks);
        };
        const { objects } = sampleCommit(format, "served");
        const { bytes, index, trailer } = formatSamplePack(format, objects);
        await push(repository, format, objects);
        assert.equal(String(await read("HEAD")), "ref: refs/heads/main\n");
        assert.equal(String(await read("objects/info/packs")), `P pack-${trailer}.pack\n\n`);
        assert.deepEqual(await read(`objects/pack/pack-${trailer}.pack`), bytes);
        assert.deepEqual(await read(`objects/pack/pack-${trailer}.idx`), Buffer.from(index));
        for (const path of [
          "config",
          "objects/pack/../../config",
          "objects/pack/pack-00.pack",
          "objects/info/alternates",
        ]) {
          assert.equal(await read(path), undefined, path);
        }
      }));

    it("has settings", () =>
      withRepository(async (repository) => {
        const settings = await repository.settings();
        assert.equal(settings.uploadPack.keepAliveSeconds, 5);
        assert.equal(settings.receive.denyCurrentBranch, "refuse");
        assert.equal(settings.core.bare, true);
      }));

    it("has no branch checked out in a work tree", () =>
      withRepository(async (repository) => {
        for (const use of (await repository.checkedOutBranches()).values()) assert.equal(use.bare, true);
      }));
  });
}

async function push(
  repository: Repository,
  format: ObjectFormat,
  objects: readonly SampleObject[],
): Promise<void> {
  await withQuarantine(repository, async (quarantine) => {
    await finishPack(await quarantine.createPack(), format, objects);
    await quarantine.publish();
  });
}

async function withSnapshot<T>(repository: Repository, body: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  const snapshot = await repository.snapshot();
  try {
    return await body(snapshot);
  } finally {
    snapshot.release();
  }
}

async function withQuarantine(
  repository: Repository,
  body: (quarantine: Quarantine) => Promise<void>,
): Promise<void> {
  const quarantine = await repository.openQuarantine();
  try {
    await body(quarantine);
  } finally {
    await quarantine.discard();
  }
}

async function expectObject(reader: ObjectReader, expected: SampleObject): Promise<void> {
  const { oid, type, data } = expected;
  const object = await reader.read(oid);
  assert.ok(object !== undefined, `${type} ${oid} is absent`);
  assert.equal(object.type, type);
  assert.ok(object.data.equals(data), `${type} ${oid} reads otherwise`);
  assert.deepEqual(await reader.readHeader(oid), { type, sizeBytes: data.length });
  assert.equal(await reader.has(oid), true);
}

function readInWorker(task: ReadObjectsTask): Promise<ReadObjectsAnswer> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./read-objects-worker.js", import.meta.url), { workerData: task });
    worker.once("message", (answer: ReadObjectsAnswer) => resolve(answer));
    worker.once("error", reject);
  });
}

/** Bytes that do not compress, the same each time. */
function noise(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = 0x2545f491;
  for (let i = 0; i < sizeBytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
