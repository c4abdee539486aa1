import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createCollisionDetector } from "./collision-detection.js";
import { SHATTERED_BLOCKS_AT, SHATTERED_PREFIX } from "./shattered.test.support.js";

const EMPTY = new Uint8Array(0);
const ALL_VECTORS = 0xffff_ffff;
const detector = createCollisionDetector();

const sha1 = (message: Uint8Array): string => createHash("sha1").update(message).digest("hex");

function detect(
  message: Uint8Array,
  by = detector,
): { readonly digest: string; readonly collision: boolean } {
  const target = Buffer.alloc(24);
  const collision = by.hash(EMPTY, message, target, 2);
  expect([target.readUInt16BE(0), target.readUInt16BE(22)]).toEqual([0, 0]);
  return { digest: target.toString("hex", 2, 22), collision };
}

describe("SHA-1 with collision detection", () => {
  it.each([
    ["", "da39a3ee5e6b4b0d3255bfef95601890afd80709"],
    ["abc", "a9993e364706816aba3e25717850c26c9cd0d89d"],
    ["abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1"],
    ["a".repeat(1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"],
  ])("gives the digests of FIPS 180 (%#)", (text, digest) => {
    expect(detect(Buffer.from(text))).toEqual({ digest, collision: false });
  });

  it("agrees with OpenSSL at every length around the blocks' and the machine's edges", () => {
    const bytes = Buffer.alloc(140_000, "All your bits are belong to us. ");
    const lengths = [
      ...Array(520).keys(),
      ...[65_536, 131_072].flatMap((n) => [n - 64, n - 9, n - 1, n, n + 1]),
    ];
    for (const length of lengths) {
      const message = bytes.subarray(0, length);
      expect([length, detect(message)]).toEqual([length, { digest: sha1(message), collision: false }]);
    }
  });

  it("agrees with OpenSSL on any head and body", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 2000 }), (head, body) => {
        const target = Buffer.alloc(20);
        const collision = detector.hash(head, body, target, 0);
        expect([target.toString("hex"), collision]).toEqual([sha1(Buffer.concat([head, body])), false]);
      }),
    );
  });

  it("takes pieces of any size, of two messages by turns", () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 });
    fc.assert(
      fc.property(pieces, pieces, (one, other) => {
        const [a, b] = [detector.open(), detector.open()];
        for (let i = 0; i < Math.max(one.length, other.length); i++) {
          a.update(one[i] ?? EMPTY);
          b.update(other[i] ?? EMPTY);
        }
        const target = Buffer.alloc(40);
        expect([a.digest(target, 0), b.digest(target, 20)]).toEqual([false, false]);
        expect(target.toString("hex")).toBe(sha1(Buffer.concat(one)) + sha1(Buffer.concat(other)));
      }),
    );
  });
});

describe("a file of the SHAttered collision", () => {
  const longer = Buffer.concat([SHATTERED_PREFIX, Buffer.alloc(200_000, "and so on")]);

  it("is found, with the digest that SHA-1 gives", () => {
    for (const message of [SHATTERED_PREFIX, longer])
      expect(detect(message)).toEqual({ digest: sha1(message), collision: true });
  });

  it("is found in pieces, and the mark stays with its own message", () => {
    const [attack, other] = [detector.open(), detector.open()];
    for (let at = 0; at < longer.length; at += 97) {
      attack.update(longer.subarray(at, at + 97));
      other.update(longer.subarray(at + 1, at + 98));
    }
    const target = Buffer.alloc(20);
    expect(other.digest(target, 0)).toBe(false);
    expect(attack.digest(target, 0)).toBe(true);
    expect(target.toString("hex")).toBe(sha1(longer));
    expect(detect(Buffer.from("the next one")).collision).toBe(false);
  });

  it("is found by the recomputation alone, without the conditions that spare it", () => {
    const unfiltered = createCollisionDetector(ALL_VECTORS);
    expect(detect(longer, unfiltered)).toEqual({ digest: sha1(longer), collision: true });
    expect(detect(longer.subarray(64), unfiltered).collision).toBe(false);
  });

  it("is harmless before its second near-collision block, changed, or behind another prefix", () => {
    expect(detect(SHATTERED_PREFIX.subarray(0, SHATTERED_BLOCKS_AT[1])).collision).toBe(false);
    for (let at = 0; at < SHATTERED_PREFIX.length; at++) {
      const changed = Buffer.from(SHATTERED_PREFIX);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect([at, detect(changed).collision]).toEqual([at, false]);
    }
    const asBlob = Buffer.concat([Buffer.from(`blob ${SHATTERED_PREFIX.length}\0`), SHATTERED_PREFIX]);
    expect(detect(asBlob).collision).toBe(false);
  });
});
