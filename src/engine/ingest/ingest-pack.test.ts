/** Packs as real git makes them, into every backend, worked on here and in workers; git is the judge of what comes out. */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { closeWorkerPool } from "../../base/worker-pool.js";
import { formatEntry } from "../../pack/pack-writer.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { parseTree } from "../../object/tree.js";
import type { Repository, RepositoryStore } from "../../storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../../storage/disk/disk-repository-store.js";
import { createMemoryRepositoryStore } from "../../storage/memory/memory-repository-store.js";
import type { IngestResult } from "./ingest-pack.js";
import {
  blobId,
  createHistory,
  git,
  gitText,
  indexWithGit,
  makeDelta,
  makeDirectory,
  makePack,
  packRevisions,
  readObjects,
  takeIn,
} from "./ingest.test.support.js";
import { newObjectTest } from "./new-object-links.js";

const FSCK = { severities: new Map(), skipList: new Set<string>(), strict: true };
const ALL = ["main", "side", "v1"];
const WAYS = [
  ["here", {}],
  ["in workers", { inlineBytesMax: 0 }],
] as const;

afterAll(closeWorkerPool);

describe.each(["sha1", "sha256"] as const)("%s", (objectFormat) => {
  const directory = makeDirectory();
  const source = join(directory.path, "source.git");
  let ids: ObjectId[];
  let serial = 0;
  // Git packs and judges the same for every backend and every way.
  const packed = new Map<string, Buffer>();
  const indexed = new Map<string, ReturnType<typeof indexWithGit>>();
  let disk: RepositoryStore;
  let memory: RepositoryStore;

  beforeAll(() => {
    createHistory(source, objectFormat, 60);
    ids = gitText(source, ["rev-list", "--objects", "--all", "--no-object-names"]).split("\n").sort();
    disk = createDiskRepositoryStore({ directory: join(directory.path, "disk") });
    memory = createMemoryRepositoryStore();
  });
  afterAll(async () => {
    await disk.close();
    await memory.close();
    directory.remove();
  });

  const packOf = (revisions: readonly string[], ...options: readonly string[]): Buffer => {
    const key = [...revisions, "", ...options].join(" ");
    const pack = packed.get(key) ?? packRevisions(source, revisions, ...options);
    packed.set(key, pack);
    return pack;
  };
  const indexOf = (pack: Buffer, repository?: string): ReturnType<typeof indexWithGit> => {
    const key = createHash("sha256").update(pack).digest("hex");
    const index = indexed.get(key) ?? indexWithGit(objectFormat, pack, repository);
    indexed.set(key, index);
    return index;
  };

  const create = (backend: "disk" | "memory"): Promise<Repository> =>
    (backend === "disk" ? disk : memory).create(`r${serial++}`, { objectFormat });

  const packBytes = async ({ pack }: IngestResult): Promise<Buffer> =>
    pack === undefined ? Buffer.alloc(0) : Buffer.from(await pack.bytes.read(0, pack.bytes.sizeBytes));

  const oidsOf = ({ pack }: IngestResult): ObjectId[] =>
    Array.from({ length: pack?.objectCount ?? 0 }, (_, i) => pack?.index.oidAt(i) ?? "");

  describe.each(["disk", "memory"] as const)("%s", (backend) => {
    it("a thin pack, completed with a large base as the repository has it", async () => {
      const repository = await create(backend);
      const way = { inlineBytesMax: 0 };
      const base = Buffer.from(Array.from({ length: 20_000 }, (_, i) => `line ${i % 977}\n`).join(""));
      const oid = blobId(objectFormat, base);
      const entry = formatEntry("blob", base, 6);
      await takeIn(repository, makePack(objectFormat, [{ raw: entry }]), way);
      const delta = makeDelta(base.length, [[0, base.length], "more"]);
      const result = await takeIn(repository, makePack(objectFormat, [{ base: oid, delta }]), way);
      expect(result.links.added).toEqual([oid]);
      expect((await packBytes(result)).includes(entry)).toBe(true);
      // What is a delta there is no entry by itself.
      const more = Buffer.concat([base, Buffer.from("more")]);
      const again = makeDelta(more.length, [[0, more.length], "again"]);
      const thin = makePack(objectFormat, [{ base: blobId(objectFormat, more), delta: again }]);
      const next = await takeIn(repository, thin, way);
      expect(next.links.added).toEqual([blobId(objectFormat, more)]);
      const { index } = indexOf(await packBytes(next));
      expect(Buffer.from(next.pack?.index.bytes ?? new SharedArrayBuffer(0))).toEqual(index);
    });

    describe.each(WAYS)("%s", (_, way) => {
      it.each([
        ["offset deltas", ["--delta-base-offset"]],
        ["deltas by id", []],
        ["no deltas", ["--no-reuse-delta", "--window=0"]],
        ["new deltas", ["--delta-base-offset", "--no-reuse-delta", "--depth=50"]],
      ])("a whole history with %s", async (__, options) => {
        const repository = await create(backend);
        const sent = packOf(ALL, ...options);
        const texts: string[] = [];
        const result = await takeIn(repository, sent, {
          ...way,
          fsck: FSCK,
          onProgress: (text) => texts.push(text),
        });
        expect(result.objectCount).toBe(ids.length);
        expect(result.warnings).toEqual([]);
        expect(oidsOf(result)).toEqual(ids);
        expect(await packBytes(result)).toEqual(sent);
        const { index, reverseIndex } = indexOf(sent);
        expect(Buffer.from(result.pack?.index.bytes ?? new SharedArrayBuffer(0))).toEqual(index);
        expect(result.links.external.kinds.length).toBe(0);
        const deltas = options.includes("--window=0")
          ? /^Unpacking objects: 100% \((\d+)\/\1\), done\.\n$/
          : /^Resolving deltas: 100% \((\d+)\/\1\), done\.\n$/;
        expect(texts.at(-1)).toMatch(deltas);
        if (repository.gitDirectory === undefined) return;
        const files = readdirSync(join(repository.gitDirectory, "objects/pack"));
        const reverse = files.find((name) => name.endsWith(".rev"));
        if (reverse !== undefined)
          expect(readFileSync(join(repository.gitDirectory, "objects/pack", reverse))).toEqual(reverseIndex);
        git(repository.gitDirectory, ["fsck", "--full", "--strict", "--no-dangling"]);
        expect(files.some((name) => name.startsWith("tmp"))).toBe(false);
      });

      it("a thin pack, completed with the bases it needs", async () => {
        const repository = await create(backend);
        await takeIn(repository, packOf(["main~9"], "--delta-base-offset"), way);
        for (const options of [["--delta-base-offset"], []]) {
          const sent = packOf([...ALL, "^main~9"], "--thin", ...options);
          let isNew: (oid: ObjectId) => boolean = () => false;
          const texts: string[] = [];
          const result = await takeIn(repository, sent, {
            ...way,
            fsck: FSCK,
            onProgress: (text) => texts.push(text),
            then: async ({ result: { links }, quarantine }) => {
              isNew = newObjectTest(links, quarantine.objects);
              for (const oid of ids) expect(await quarantine.objects.has(oid)).toBe(true);
              expect(quarantine.packs.length).toBe(1);
            },
          });
          const added = (result.pack?.objectCount ?? 0) - result.objectCount;
          expect(added).toBeGreaterThan(0);
          expect(result.links.added.length).toBe(added);
          for (const oid of result.links.added) expect(isNew(oid)).toBe(false);
          expect(oidsOf(result).filter((oid) => isNew(oid)).length).toBe(result.objectCount);
          expect(texts.at(-1)).toMatch(
            /^Resolving deltas: 100% \(\d+\/\d+\), completed with \d+ local objects?\.\n$/,
          );
          const { index } = indexOf(await packBytes(result), source);
          expect(Buffer.from(result.pack?.index.bytes ?? new SharedArrayBuffer(0))).toEqual(index);
          expect(externalIds(result)).toEqual(expectedExternal(source, objectFormat, result, isNew));
        }
      });

      it("published, git reads what was pushed in two steps", async () => {
        const repository = await create(backend);
        await takeIn(repository, packOf(["main~20"], "--delta-base-offset"), way);
        await takeIn(repository, packOf([...ALL, "^main~20"], "--thin", "--delta-base-offset"), way);
        const snapshot = await repository.snapshot();
        for (const oid of ids) expect(await snapshot.objects.has(oid)).toBe(true);
        snapshot.release();
        if (repository.gitDirectory === undefined) return;
        git(repository.gitDirectory, ["fsck", "--full", "--strict", "--no-dangling"]);
        expect(
          gitText(repository.gitDirectory, [
            "log",
            "--oneline",
            ids.length > 0 ? gitText(source, ["rev-parse", "main"]) : "",
          ]),
        ).toBe(gitText(source, ["log", "--oneline", "main"]));
      });

      it("the same pack twice: what exists already is compared and accepted", async () => {
        const repository = await create(backend);
        const sent = packOf(["main~3"], "--delta-base-offset");
        await takeIn(repository, sent, way);
        const again = packOf(["main~3"], "--delta-base-offset", "--no-reuse-delta", "--depth=3");
        expect((await takeIn(repository, again, way)).pack?.objectCount).toBe(
          (await takeIn(repository, sent, way)).pack?.objectCount,
        );
      });

      it("an empty pack", async () => {
        const repository = await create(backend);
        const result = await takeIn(repository, packOf(["main", "^main"]), way);
        expect(result).toMatchObject({ pack: undefined, objectCount: 0, warnings: [] });
      });

      it.each([[[1]], [[7, 1, 4000]], [[65_536]]])("in pieces of %j", async (sizes) => {
        const repository = await create(backend);
        const sent = packOf(["main~50"], "--delta-base-offset");
        expect((await packBytes(await takeIn(repository, sent, { ...way, sizes }))).equals(sent)).toBe(true);
      });
    });
  });
});

function externalIds({ links, pack }: IngestResult): ObjectId[] {
  const h = hashBytes(pack?.objectFormat ?? "sha1");
  const bytes = Buffer.from(links.external.oids);
  return Array.from(links.external.kinds, (_, i) => bytes.toString("hex", i * h, (i + 1) * h)).sort();
}

/** Everything that the new objects name and that is not new, and the bases. */
function expectedExternal(
  source: string,
  format: ObjectFormat,
  result: IngestResult,
  isNew: (oid: ObjectId) => boolean,
): ObjectId[] {
  const found = new Set<ObjectId>(result.links.added);
  const { pack } = result;
  const oids = Array.from({ length: pack?.objectCount ?? 0 }, (_, i) => pack?.index.oidAt(i) ?? "").filter(
    (oid) => isNew(oid),
  );
  for (const { type, data } of readObjects(source, oids)) {
    const links =
      type === "tree"
        ? parseTree(data, format).map((entry) => entry.oid)
        : type === "blob"
          ? []
          : [...data.toString("latin1").matchAll(/^(?:tree|parent|object) ([0-9a-f]+)$/gm)].map(
              (match) => match[1] ?? "",
            );
    for (const link of links) if (!isNew(link)) found.add(link);
  }
  return [...found].sort();
}
