/** Packs as real git writes them: read whole. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryRange } from "../base/byte-range.js";
import { isGitwharfError } from "../base/errors.js";
import { hashBytes } from "../object/object-format.js";
import { PackBitmap } from "./bitmap.js";
import { CommitGraph } from "./commit-graph.js";
import { applyDelta } from "./delta.js";
import { createDeltaIndex, encodeDelta } from "./delta-encode.js";
import { formatEntryHeader, parseEntryHeader } from "./entry-header.js";
import { canStreamInflate } from "./inflate.js";
import { Pack } from "./pack.js";
import { PackIndex } from "./pack-index.js";

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

describe.each(["sha1", "sha256"] as const)("a pack of git's, %s", (format) => {
  let directory: string;
  let packBytes: Buffer;
  let index: PackIndex;
  let pack: Pack;
  const file = (ending: string): Buffer => {
    const name =
      readdirSync(join(directory, "objects/pack")).find((entry) => entry.endsWith(ending)) ?? ending;
    return readFileSync(join(directory, "objects/pack", name));
  };
  const git = (input: string, ...args: string[]): Buffer =>
    execFileSync("git", ["-C", directory, ...args], { input, maxBuffer: 1 << 28 });

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-pack-"));
    execFileSync("git", ["init", "-q", "--bare", `--object-format=${format}`, directory]);
    const lines: string[] = [];
    for (let i = 0; i < 120; i++) {
      const text = Array.from({ length: 60 }, (_, k) => `line ${k} ${k === i % 60 ? i : 0}`).join("\n");
      lines.push(`commit refs/heads/main\ncommitter A <a@b> ${1_600_000_000 + i} +0000\ndata 1\nm`);
      lines.push(`M 100644 inline d${i % 7}/file\ndata ${text.length}\n${text}`);
      if (i === 5) lines.push(`M 100755 inline big\ndata 3000000\n${"0123456789".repeat(300_000)}`);
    }
    lines.push("tag v1\nfrom refs/heads/main\ntagger A <a@b> 1600000000 +0000\ndata 1\nt\n");
    git(lines.join("\n"), "fast-import", "--quiet");
    git("", "-c", "pack.writeReverseIndex=true", "repack", "-adfbq", "--depth=20");
    git("", "commit-graph", "write", "--reachable");
    packBytes = file(".pack");
    index = PackIndex.parse(shared(file(".idx")), format);
    pack = new Pack({ key: "test", index, bytes: new MemoryRange(shared(packBytes)) });
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("gives every object as cat-file does", async () => {
    for (let position = 0; position < index.objectCount; position++) {
      const oid = index.oidAt(position);
      const object = await pack.readObject(position);
      expect(object.type).toBe(git("", "cat-file", "-t", oid).toString().trim());
      expect(object.data.equals(git("", "cat-file", object.type, oid))).toBe(true);
      expect(await pack.readObjectHeader(position)).toEqual({
        type: object.type,
        sizeBytes: object.data.length,
      });
      expect(index.find(oid)).toBe(position);
      expect(index.findBytes(Buffer.from(oid, "hex"), 0)).toBe(position);
      if (position > 60) position += 20;
    }
    expect(index.find("0".repeat(hashBytes(format) * 2))).toBe(-1);
    expect(index.verifyChecksum()).toBe(true);
  });

  it("has a bitmap that reaches what rev-list reaches", () => {
    const bitmap = PackBitmap.parse(file(".bitmap"), index);
    const head = git("", "rev-parse", "main").toString().trim();
    const reached = bitmap.bitmapOf(head);
    const expected = git("", "rev-list", "--objects", "main").toString().trim().split("\n").length;
    expect(reached?.count()).toBe(expected);
    expect(bitmap.types.commit.count()).toBe(120);
    expect(bitmap.types.tag.count()).toBe(1);
  });

  it("has a commit-graph that agrees with the commits", () => {
    const graph = CommitGraph.parse(
      [shared(readFileSync(join(directory, "objects/info/commit-graph")))],
      format,
    );
    const head = git("", "rev-parse", "main").toString().trim();
    const position = graph.find(head);
    expect(graph.commitCount).toBe(120);
    expect(graph.treeAt(position)).toBe(git("", "rev-parse", "main^{tree}").toString().trim());
    expect(graph.parentsAt(position).map((p) => graph.oidAt(p))).toEqual([
      git("", "rev-parse", "main^").toString().trim(),
    ]);
    expect(graph.generationAt(position)).toBe(1_600_000_119);
    expect(graph.dateSecondsAt(position)).toBe(1_600_000_119);
  });
});

describe("deltas", () => {
  it("make the target out of the base again", () => {
    const text = fc.array(
      fc.constantFrom("alpha ", "beta ", "gamma\n", "delta delta delta delta\n", "\0\xff"),
      { maxLength: 400 },
    );
    fc.assert(
      fc.property(text, text, (a, b) => {
        const base = Buffer.from(`${"a base of some length ".repeat(3)}${a.join("")}`);
        const target = Buffer.from(b.join(""));
        const index = createDeltaIndex(base);
        const delta = index === undefined ? undefined : encodeDelta(index, target, Infinity);
        expect(delta && applyDelta(base, delta).equals(target)).toBe(true);
      }),
    );
  });

  it("are given up when they do not pay", () => {
    const index = createDeltaIndex(Buffer.from("0123456789abcdef".repeat(10)));
    expect(
      index && encodeDelta(index, Buffer.from("nothing in common at all, not a bit"), 10),
    ).toBeUndefined();
  });

  it("never let anything but pack/bad-delta escape", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        // The result size is what the caller checks against its limits: keep it small here.
        const delta = Buffer.concat([Buffer.from([16, 40]), Buffer.from(bytes)]);
        try {
          applyDelta(Buffer.alloc(16), delta);
        } catch (error) {
          expect(isGitwharfError(error, "pack/bad-delta")).toBe(true);
        }
      }),
    );
  });
});

describe("entry heads", () => {
  it("are read as they were written", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1 as const, 2 as const, 3 as const, 4 as const),
        fc.maxSafeNat(),
        (type, sizeBytes) => {
          const bytes = formatEntryHeader(type, sizeBytes);
          expect(parseEntryHeader(bytes, 0, "sha1")).toEqual({ type, sizeBytes, headerLength: bytes.length });
        },
      ),
    );
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(), (distance, sizeBytes) => {
        const bytes = formatEntryHeader(6, sizeBytes, distance);
        expect(parseEntryHeader(bytes, 0, "sha1")).toMatchObject({
          type: 6,
          sizeBytes,
          baseOffsetDistance: distance,
        });
      }),
    );
  });
});

describe("the private zlib handle", () => {
  it("passes its self-test on this Node, or the fallback would be all there is", () => {
    expect(canStreamInflate).toBe(true);
  });
});
