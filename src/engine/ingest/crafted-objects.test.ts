/**
 * Objects with half of a SHA-1 collision in them. No such Git object is known: an object's header stands before its
 * content, and the only attacks that are public were computed without one. So the detector looks at the content by
 * itself as well. All around it is as it is shipped.
 */
import { afterAll, describe, expect, it, vi } from "vitest";
import { closeWorkerPool } from "../../base/worker-pool.js";
import type * as detection from "../../object/collision-detection.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { looksTwice } from "../../object/looks-twice.test.support.js";
import { SHATTERED_PREFIX } from "../../object/shattered.test.support.js";
import { createDiskRepositoryStore } from "../../storage/disk/disk-repository-store.js";
import {
  blobId,
  type HandMadeEntry,
  makeDelta,
  makeDirectory,
  makePack,
  takeIn,
} from "./ingest.test.support.js";
import { createObjectHasher } from "./object-hasher.js";

vi.mock("../../object/collision-detection.js", async (importOriginal) => {
  const original = await importOriginal<typeof detection>();
  return { createCollisionDetector: () => looksTwice(original.createCollisionDetector()) };
});

afterAll(closeWorkerPool);

const BLOB = 3;
const crafted = Buffer.concat([SHATTERED_PREFIX, Buffer.from("and more\n")]);
const honest = Buffer.from(crafted).fill("x", 200, 201);
const refusal = (format: ObjectFormat): object => ({
  code: "pack/collision",
  message: `object ${blobId(format, crafted)} of the pack shows signs of a SHA-1 collision attack; the push is refused`,
});

describe("the hasher of new objects", () => {
  const target = Buffer.alloc(40);
  const idAt = (at: number): string => target.toString("hex", at, at + 20);

  it("refuses a crafted object by its id, and goes on", () => {
    const hasher = createObjectHasher("sha1", true);
    expect(() => hasher.hash(BLOB, crafted, target, 0)).toThrow(expect.objectContaining(refusal("sha1")));
    hasher.hash(BLOB, honest, target, 20);
    expect(idAt(20)).toBe(blobId("sha1", honest));
  });

  it("refuses one that comes in pieces", () => {
    const hasher = createObjectHasher("sha1", true);
    const [one, other] = [hasher.open(BLOB, crafted.length), hasher.open(BLOB, honest.length)];
    for (let at = 0; at < crafted.length; at += 100) {
      one.update(crafted.subarray(at, at + 100));
      other.update(honest.subarray(at, at + 100));
    }
    expect(() => one.digest(target, 0)).toThrow(expect.objectContaining(refusal("sha1")));
    other.digest(target, 20);
    expect(idAt(20)).toBe(blobId("sha1", honest));
  });

  it("takes it when it is told not to look", () => {
    createObjectHasher("sha1", false).hash(BLOB, crafted, target, 0);
    expect(idAt(0)).toBe(blobId("sha1", crafted));
  });
});

describe("a pack with a crafted object", () => {
  const base = crafted.subarray(0, 300);
  const rest = crafted.subarray(300).toString("latin1");
  const ways: [string, HandMadeEntry[]][] = [
    ["as it is", [{ type: "blob", data: crafted }]],
    [
      "made by a delta",
      [
        { type: "blob", data: base },
        { base: 0, delta: makeDelta(base.length, [[0, base.length], rest]) },
      ],
    ],
  ];

  it.each(ways)("is refused and leaves nothing: %s", async (_, entries) => {
    const directory = makeDirectory();
    const store = createDiskRepositoryStore({ directory: directory.path });
    try {
      const repository = await store.create("r");
      const pack = makePack("sha1", entries);
      await expect(takeIn(repository, pack)).rejects.toMatchObject(refusal("sha1"));
      const snapshot = await repository.snapshot();
      expect(await snapshot.objects.read(blobId("sha1", crafted))).toBeUndefined();
      snapshot.release();
      expect((await takeIn(repository, pack, { collisionDetection: false })).objectCount).toBe(
        entries.length,
      );
    } finally {
      await store.close();
      directory.remove();
    }
  });

  it.each(ways)("is taken by a repository of SHA-256: %s", async (_, entries) => {
    const directory = makeDirectory();
    const store = createDiskRepositoryStore({ directory: directory.path });
    try {
      const repository = await store.create("r", { objectFormat: "sha256" });
      expect((await takeIn(repository, makePack("sha256", entries))).objectCount).toBe(entries.length);
    } finally {
      await store.close();
      directory.remove();
    }
  });
});
