/** Packs that no honest client sends: each is refused with its own clear error, here and in workers, and leaves nothing. */
import { mkdirSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync, deflateSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { isGitwharfError } from "../../base/errors.js";
import { DEFAULT_LIMITS, type Limits } from "../../base/limits.js";
import { closeWorkerPool } from "../../base/worker-pool.js";
import { hashObject } from "../../object/object-id.js";
import { formatEntryHeader } from "../../pack/entry-header.js";
import type { Repository, RepositoryStore } from "../../storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../../storage/disk/disk-repository-store.js";
import type { IngestRequest } from "./ingest-pack.js";
import {
  blobId,
  createRandom,
  type HandMadeEntry,
  inPieces,
  makeDelta,
  makeDirectory,
  makePack,
  seal,
  takeIn,
  varint,
} from "./ingest.test.support.js";

const FSCK = { severities: new Map(), skipList: new Set<string>(), strict: true };
const SHA1 = "sha1";
const nobody = "Ada <ada@example.org> 1700000000 +0100";

afterAll(closeWorkerPool);

/** Files under a directory that this process holds open. */
function openFiles(directory: string): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const file = readlinkSync(`/proc/self/fd/${fd}`);
      return file.startsWith(directory) ? [file] : [];
    } catch {
      return [];
    }
  });
}

describe.each([
  ["here", {}],
  ["in workers", { inlineBytesMax: 0 }],
])("%s", (_, way) => {
  const directory = makeDirectory();
  let store: RepositoryStore;
  let repository: Repository;
  let serial = 0;

  beforeEach(async () => {
    store = createDiskRepositoryStore({ directory: directory.path });
    repository = await store.create(`r${serial++}`);
  });
  afterEach(async () => {
    const objects = join(repository.gitDirectory ?? "", "objects");
    expect(readdirSync(objects).filter((name) => name.startsWith("tmp"))).toEqual([]);
    await store.close();
  });
  afterAll(() => directory.remove());

  const take = (bytes: Buffer, options: Partial<IngestRequest> & { sizes?: readonly number[] } = {}) =>
    takeIn(repository, bytes, { ...way, ...options });

  const refuses = async (
    bytes: Buffer,
    code: string,
    message: RegExp,
    options: Partial<IngestRequest> = {},
  ): Promise<void> => {
    for (const sizes of [[1 << 20], [11, 1]]) {
      const error: unknown = await take(bytes, { ...options, sizes }).catch((e: unknown) => e);
      expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
      expect(isGitwharfError(error) && error.kind).toBe("peer");
    }
    expect(openFiles(repository.gitDirectory ?? "").filter((name) => name.includes("incoming"))).toEqual([]);
    const pack = readdirSync(join(repository.gitDirectory ?? "", "objects/pack"));
    expect(pack).toEqual([]);
  };

  const blob: HandMadeEntry = { type: "blob", data: "one blob\n" };
  const good = makePack(SHA1, [blob, { type: "blob", data: "another\n" }]);

  it("takes what is right", async () => {
    expect((await take(good)).objectCount).toBe(2);
    expect(
      (await take(makePack(SHA1, [blob], { head: Buffer.from("5041434b0000000300000001", "hex") })))
        .objectCount,
    ).toBe(1);
  });

  it("counts what only a delta stands on among what nothing refers to", async () => {
    const whole = "a whole object, of which others are made\n";
    const held = `${whole}it is held already\n`;
    const last = `${held}and this is not\n`;
    await take(makePack(SHA1, [{ type: "blob", data: held }]));
    const { sent, links } = await take(
      makePack(SHA1, [
        { type: "blob", data: whole },
        { base: 0, delta: makeDelta(whole.length, [[0, whole.length], held.slice(whole.length)]) },
        {
          base: blobId(SHA1, held),
          delta: makeDelta(held.length, [[0, held.length], last.slice(held.length)]),
        },
      ]),
    );
    expect(links.added).toEqual([]);
    expect(sent?.roots?.toSorted()).toEqual([whole, held, last].map((data) => blobId(SHA1, data)).toSorted());
  });

  it("refuses a pack that ends at any byte", async () => {
    for (let length = 0; length < good.length; length++) {
      const error: unknown = await take(good.subarray(0, length)).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: "base/truncated" });
    }
    await refuses(good.subarray(0, 5), "base/truncated", /^the pack ends after 5 bytes, in its head$/);
    await refuses(good.subarray(0, 16), "base/truncated", /^the pack ends after 16 bytes, in object 1 of 2$/);
    await refuses(good.subarray(0, -3), "base/truncated", /in its trailer$/);
  });

  it("refuses any byte changed", async () => {
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ 0x15;
      const error: unknown = await take(bad).catch((e: unknown) => e);
      expect(isGitwharfError(error) && error.kind).toBe("peer");
    }
  });

  it("refuses bytes behind the trailer, another trailer, another head", async () => {
    // Only junk that comes with the pack is seen: a stream that stays open is left when the pack is whole.
    const junk = Buffer.concat([good, Buffer.from("x")]);
    await expect(take(junk)).rejects.toMatchObject({
      code: "pack/bad-pack",
      message: expect.stringMatching(/bytes follow its trailer/),
    });
    const wrong = Buffer.from(good);
    wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1;
    await refuses(wrong, "pack/checksum-mismatch", /trailer does not fit/);
    await refuses(seal(SHA1, Buffer.from("PUCK00000000")), "pack/bad-pack", /does not begin with 'PACK'/);
    await refuses(
      makePack(SHA1, [blob], { head: Buffer.from("5041434b0000000400000001", "hex") }),
      "pack/bad-pack",
      /version 4/,
    );
  });

  it("refuses a count that is too high or too low", async () => {
    // The trailer is then read as an entry, and does not make one.
    const tooMany: unknown = await take(makePack(SHA1, [blob], { count: 2 })).catch((e: unknown) => e);
    expect(
      isGitwharfError(tooMany, "pack/bad-pack", "pack/bad-zlib", "base/truncated", "base/limit-exceeded"),
    ).toBe(true);
    const bytes = makePack(SHA1, [blob, blob], { count: 1 });
    const error: unknown = await take(bytes).catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: "pack/bad-pack",
      message: expect.stringMatching(/bytes follow its trailer/),
    });
    await refuses(
      makePack(SHA1, [], { count: 0xffffffff }),
      "base/limit-exceeded",
      /more than 10000000 objects/,
    );
  });

  it("refuses types that do not exist", async () => {
    for (const type of [0, 5]) {
      const raw = Buffer.concat([Buffer.from([(type << 4) | 1]), deflateSync(Buffer.from("x"))]);
      await refuses(makePack(SHA1, [{ raw }]), "pack/bad-pack", new RegExp(`type ${type}`));
    }
  });

  it("refuses sizes that lie, and streams that are no zlib", async () => {
    const data = Buffer.from("some bytes");
    const entry = (size: number, packed: Buffer): HandMadeEntry => ({
      raw: Buffer.concat([formatEntryHeader(3, size), packed]),
    });
    await refuses(makePack(SHA1, [entry(9, deflateSync(data))]), "pack/bad-zlib", /at offset 12/);
    await refuses(makePack(SHA1, [entry(11, deflateSync(data))]), "pack/bad-zlib", /at offset 12/);
    await refuses(makePack(SHA1, [entry(10, deflateRawSync(data))]), "pack/bad-zlib", /at offset 12/);
    const damaged = deflateSync(data);
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    await refuses(makePack(SHA1, [entry(10, damaged)]), "pack/bad-zlib", /at offset 12/);
    const large = Buffer.alloc(5_000_000, 1);
    await refuses(
      makePack(SHA1, [entry(large.length - 1, deflateSync(large))]),
      "pack/bad-zlib",
      /at offset 12/,
    );
    await refuses(
      makePack(SHA1, [entry(large.length + 1, deflateSync(large))]),
      "pack/bad-zlib",
      /at offset 12/,
    );
  });

  it("refuses a stream padded with empty blocks", async () => {
    const empty = Buffer.from([0, 0, 0, 0xff, 0xff]);
    const packed = Buffer.concat([
      Buffer.from([0x78, 0x9c]),
      ...Array.from({ length: 40_000 }, () => empty),
      deflateRawSync(Buffer.from("x")),
    ]);
    const raw = Buffer.concat([formatEntryHeader(3, 1), packed, Buffer.from([0, 0x79, 0, 0x79])]);
    await refuses(makePack(SHA1, [{ raw }]), "pack/bad-zlib", /more compressed than inflated/);
  });

  it("refuses deltas whose base is nowhere", async () => {
    const delta = makeDelta(9, [[0, 9], "x"]);
    await refuses(
      makePack(SHA1, [blob, { base: "ab".repeat(20), delta }]),
      "pack/missing-base",
      /^pack has 1 unresolved delta; object abab/,
    );
    const outside = { raw: Buffer.concat([formatEntryHeader(6, delta.length, 5000), deflateSync(delta)]) };
    await refuses(makePack(SHA1, [blob, outside]), "pack/bad-pack", /base outside/);
    const inside = { raw: Buffer.concat([formatEntryHeader(6, delta.length, 3), deflateSync(delta)]) };
    await refuses(makePack(SHA1, [blob, inside]), "pack/missing-base", /where no entry begins/);
    const self = { raw: Buffer.concat([formatEntryHeader(6, delta.length, 0), deflateSync(delta)]) };
    await refuses(makePack(SHA1, [blob, self]), "pack/bad-pack", /base outside/);
  });

  it("refuses deltas that build on each other in a circle", async () => {
    const a = blobId(SHA1, "one blob\nx");
    const b = blobId(SHA1, "one blob\ny");
    const entries: HandMadeEntry[] = [
      { base: b, delta: makeDelta(10, [[0, 9], "x"]) },
      { base: a, delta: makeDelta(10, [[0, 9], "y"]) },
    ];
    await refuses(makePack(SHA1, entries), "pack/missing-base", /^pack has 2 unresolved deltas/);
    // With one of them in the repository all can be resolved; what would be stored could never be read.
    await takeIn(repository, makePack(SHA1, [{ type: "blob", data: "one blob\nx" }]), {
      ...way,
      then: async ({ quarantine }) => {
        await quarantine.publish();
      },
    });
    const error: unknown = await take(makePack(SHA1, entries)).catch((e: unknown) => e);
    expect(isGitwharfError(error) && error.kind).toBe("peer");
    expect(error).toMatchObject({ message: expect.stringMatching(/circle|appears twice/) });
  });

  it("refuses deltas that copy from nowhere or make another size", async () => {
    const cases: [Buffer, RegExp][] = [
      [makeDelta(8, [[0, 8]]), /base of 8 bytes, not 9/],
      [makeDelta(9, [[5, 5]]), /past an end/],
      [makeDelta(9, [[0xfffffff0, 0x20]]), /past an end/],
      [Buffer.concat([Buffer.from([9, 4]), Buffer.from([0x90, 3])]), /makes 3 bytes instead of 4/],
      [Buffer.from([9, 2, 5, 0x41]), /past an end/],
      [Buffer.from([9, 1, 0]), /does not exist/],
      [Buffer.from([9]), /sizes are not whole/],
      [Buffer.from([...varint(9), ...varint(0x7fffffff), 1, 0x41]), /more than 536870912 bytes|makes 1/],
    ];
    for (const [delta, message] of cases) {
      await refuses(
        makePack(SHA1, [blob, { base: 0, delta }]),
        delta.length > 6 && delta[1] === 0xff ? "base/limit-exceeded" : "pack/bad-delta",
        message,
      );
    }
  });

  it("refuses the same object twice", async () => {
    const pack = makePack(SHA1, [blob, { type: "blob", data: "another\n" }, blob]);
    await refuses(
      pack,
      "pack/bad-pack",
      new RegExp(`^The same object ${blobId(SHA1, "one blob\n")} appears twice in the pack$`),
    );
    const asDelta = makePack(SHA1, [blob, { base: 0, delta: makeDelta(9, [[0, 9]]) }]);
    await refuses(asDelta, "pack/bad-pack", /appears twice/);
  });

  it("refuses objects that are malformed, with fsck in fsck's words", async () => {
    const badTree = {
      type: "tree",
      data: Buffer.concat([
        Buffer.from("100644 b\0"),
        Buffer.alloc(20, 1),
        Buffer.from("100644 a\0"),
        Buffer.alloc(20, 1),
      ]),
    } as const;
    const id = hashObject(SHA1, "tree", badTree.data);
    await refuses(
      makePack(SHA1, [badTree]),
      "object/malformed",
      new RegExp(`^index-pack: ${id}: treeNotSorted: `),
      { fsck: FSCK },
    );
    await take(makePack(SHA1, [badTree]));
    const cut = { type: "tree", data: Buffer.from("100644 b") } as const;
    const cutId = hashObject(SHA1, "tree", cut.data);
    const fresh = await store.create(`fresh${serial++}`);
    for (const fsck of [FSCK, undefined]) {
      const error: unknown = await takeIn(fresh, makePack(SHA1, [cut]), { ...way, fsck }).catch(
        (e: unknown) => e,
      );
      expect(error).toMatchObject({
        code: "object/malformed",
        message: expect.stringMatching(
          fsck === undefined ? `^object ${cutId}: ` : `^index-pack: ${cutId}: badTree: `,
        ),
      });
    }
  });

  it("keeps warnings, and obeys severities and the skip list", async () => {
    const data = Buffer.concat([Buffer.from("0100644 b\0"), Buffer.alloc(20, 1)]);
    const pack = makePack(SHA1, [{ type: "tree", data }]);
    const id = hashObject(SHA1, "tree", data);
    await refuses(pack, "object/malformed", /zeroPaddedFilemode/, { fsck: FSCK });
    const warn = { ...FSCK, severities: new Map([["zeropaddedfilemode", "warn" as const]]) };
    expect((await take(pack, { fsck: warn })).warnings).toEqual([
      `${id}: zeroPaddedFilemode: contains zero-padded file modes`,
    ]);
    expect((await take(pack, { fsck: { ...FSCK, skipList: new Set([id]) } })).warnings).toEqual([]);
  });

  it("refuses a harmful .gitmodules, wherever it stands", async () => {
    const modules = '[submodule "a"]\n\turl = -u./payload\n\tpath = a\n';
    const tree = {
      type: "tree",
      data: Buffer.concat([Buffer.from("100644 .gitmodules\0"), Buffer.from(blobId(SHA1, modules), "hex")]),
    } as const;
    for (const entries of [
      [tree, { type: "blob", data: modules } as const],
      [{ type: "blob", data: modules } as const, tree],
    ]) {
      const error: unknown = await take(makePack(SHA1, entries), { fsck: FSCK }).catch((e: unknown) => e);
      expect(error).toMatchObject({
        code: "object/malformed",
        message: expect.stringMatching(/^index-pack: [0-9a-f]{40}: gitmodulesUrl/),
      });
    }
    await take(makePack(SHA1, [{ type: "blob", data: modules }]), { fsck: FSCK });
  });

  it("refuses an object that is referred to as something else", async () => {
    const file = blobId(SHA1, "one blob\n");
    const commit = `tree ${file}\nauthor ${nobody}\ncommitter ${nobody}\n\nx\n`;
    await refuses(
      makePack(SHA1, [blob, { type: "commit", data: commit }]),
      "object/malformed",
      new RegExp(`object ${file} is a blob, but another object refers to it as a tree`),
    );
    const both = Buffer.concat([
      Buffer.from("100644 a\0"),
      Buffer.alloc(20, 7),
      Buffer.from("40000 b\0"),
      Buffer.alloc(20, 7),
    ]);
    await refuses(
      makePack(SHA1, [{ type: "tree", data: both }]),
      "object/malformed",
      /referred to as tree and as blob/,
    );
  });

  it("compares with what the repository has", async () => {
    await take(makePack(SHA1, [blob]));
    expect((await take(makePack(SHA1, [blob, { type: "blob", data: "new\n" }]))).objectCount).toBe(2);
  });

  it.each([
    ["a small blob", "another one\n"],
    ["a blob that comes in pieces", "z".repeat(5_000_000)],
  ])("refuses %s that differs from its namesake, whole or made by a delta", async (__, data) => {
    const oid = blobId(SHA1, data);
    const other = `${data.slice(0, -1)}!`;
    const shard = join(repository.gitDirectory ?? "", "objects", oid.slice(0, 2));
    mkdirSync(shard, { recursive: true });
    writeFileSync(join(shard, oid.slice(2)), deflateSync(`blob ${other.length}\0${other}`));
    const base = data.slice(0, -2);
    const delta = makeDelta(base.length, [[0, base.length], data.slice(-2)]);
    for (const entries of [
      [{ type: "blob", data }],
      [
        { type: "blob", data: base },
        { base: 0, delta },
      ],
    ] as HandMadeEntry[][]) {
      await refuses(
        makePack(SHA1, entries),
        "pack/collision",
        new RegExp(`^object ${oid} .*hash collision$`),
      );
    }
  });

  describe("limits, at each and one past it", () => {
    const limits = (some: Partial<Limits>): { limits: Limits } => ({
      limits: { ...DEFAULT_LIMITS, ...some },
    });
    const past = async (bytes: Buffer, some: Partial<Limits>, limit: keyof Limits): Promise<void> => {
      const max = some[limit] ?? 0;
      await refuses(bytes, "base/limit-exceeded", new RegExp(`${limit}`), limits({ [limit]: max - 1 }));
      await take(bytes, limits(some));
    };

    it("bytes of the pack", () => past(good, { packSizeBytesMax: good.length }, "packSizeBytesMax"));
    it("objects", () => past(good, { packObjectsMax: 2 }, "packObjectsMax"));
    it("bytes of an object", () => past(good, { objectSizeBytesMax: 9 }, "objectSizeBytesMax"));
    it("bytes of an object made by a delta", () =>
      past(
        makePack(SHA1, [
          { type: "blob", data: "x".repeat(80) },
          {
            base: 0,
            delta: makeDelta(80, [
              [0, 80],
              [0, 80],
            ]),
          },
        ]),
        { objectSizeBytesMax: 160 },
        "objectSizeBytesMax",
      ));
    it("bytes of a large object", async () => {
      const bytes = makePack(SHA1, [{ type: "blob", data: Buffer.alloc(5_000_000, 1) }]);
      await past(bytes, { objectSizeBytesMax: 5_000_000 }, "objectSizeBytesMax");
    });
    it("inflated bytes of all objects", () =>
      past(
        makePack(SHA1, [blob, { base: 0, delta: makeDelta(9, [[0, 9], "x"]) }]),
        { inflatedTotalBytesMax: 19 },
        "inflatedTotalBytesMax",
      ));
    it("depth of deltas", async () => {
      const chain: HandMadeEntry[] = [blob];
      for (let i = 0; i < 5; i++) chain.push({ base: i, delta: makeDelta(9 + i, [[0, 9 + i], "x"]) });
      await past(makePack(SHA1, chain), { deltaDepthMax: 5 }, "deltaDepthMax");
    });
    it("receive.maxInputSize", async () => {
      await refuses(good, "base/limit-exceeded", /^pack exceeds maximum allowed size/, {
        maxInputSizeBytes: good.length - 1,
      });
      await take(good, { maxInputSizeBytes: good.length });
    });
  });

  it("resolves very deep and very bushy deltas", async () => {
    const random = createRandom(1);
    const deep: HandMadeEntry[] = [{ type: "blob", data: "x" }];
    for (let i = 1; i <= 4000; i++) deep.push({ base: i - 1, delta: makeDelta(i, [[0, i], "x"]) });
    expect((await take(makePack(SHA1, deep))).objectCount).toBe(4001);
    const bushy: HandMadeEntry[] = [{ type: "blob", data: "base" }];
    const sizes = [4];
    for (let i = 1; i <= 2000; i++) {
      const base = random(i);
      const text = `.${i}`;
      bushy.push({ base, delta: makeDelta(sizes[base] ?? 0, [[0, sizes[base] ?? 0], text]) });
      sizes.push((sizes[base] ?? 0) + text.length);
    }
    expect((await take(makePack(SHA1, bushy))).objectCount).toBe(2001);
  });

  it("resolves deltas by id in any order", async () => {
    const texts = Array.from({ length: 30 }, (_unused, i) => `text ${"x".repeat(i)}`);
    const entries = texts.map(
      (text, i): HandMadeEntry =>
        i === 0
          ? { type: "blob", data: text }
          : {
              base: blobId(SHA1, texts[i - 1] ?? ""),
              delta: makeDelta(text.length - 1, [[0, text.length - 1], "x"]),
            },
    );
    for (const order of [entries, entries.toReversed()]) {
      const result = await takeIn(repository, makePack(SHA1, order), { ...way, then: async () => undefined });
      for (const text of texts) expect(result.pack?.index.find(blobId(SHA1, text))).toBeGreaterThanOrEqual(0);
    }
  });

  it("only peer errors escape, and nothing hangs, whatever the bytes", async () => {
    const deltas = makePack(SHA1, [
      blob,
      { base: 0, delta: makeDelta(9, [[0, 9], "x"]) },
      { base: blobId(SHA1, "one blob\n"), delta: makeDelta(9, ["y", [0, 9]]) },
    ]);
    const bytes = fc.record({
      at: fc.nat(deltas.length - 21),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
      reseal: fc.boolean(),
      sizes: fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(bytes, async ({ at, bytes: noise, reseal, sizes }) => {
        const body = Buffer.from(deltas.subarray(0, -20));
        body.set(noise.subarray(0, body.length - at), at);
        const changed = reseal ? seal(SHA1, body) : Buffer.concat([body, deltas.subarray(-20)]);
        const outcome: unknown = await takeIn(repository, changed, {
          ...way,
          sizes,
          then: async () => undefined,
        }).catch((e: unknown) => e);
        if (outcome instanceof Error) expect(isGitwharfError(outcome) && outcome.kind).toBe("peer");
      }),
      { numRuns: "inlineBytesMax" in way ? 40 : 300 },
    );
  });

  it("needs no end of the stream, and leaves with the client", async () => {
    async function* open(bytes: Buffer) {
      yield* inPieces(bytes, [40]);
      await new Promise(() => undefined);
    }
    expect((await takeIn(repository, open(good), way)).objectCount).toBe(2);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 60);
    const waiting = takeIn(repository, open(good.subarray(0, -1)), { ...way, signal: controller.signal });
    await expect(waiting).rejects.toMatchObject({ code: "base/aborted" });
    async function* broken() {
      yield* inPieces(good.subarray(0, 30), [10]);
      throw new Error("connection reset");
    }
    await expect(takeIn(repository, broken(), way)).rejects.toThrow("connection reset");
  });
});
