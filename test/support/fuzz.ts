/** Damaged seeds for codecs: the same ones in every run. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";

const SEEDS = new URL("../../../test/fuzz-seeds/", import.meta.url);

export type Random = (below: number) => number;

/** Numbers that depend on nothing but the seed (xorshift32). */
export function createRandom(seed: number): Random {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

export function readSeeds(codec: string): readonly Buffer[] {
  return readdirSync(new URL(`${codec}/`, SEEDS))
    .toSorted()
    .map((name) => readFileSync(new URL(`${codec}/${name}`, SEEDS)));
}

export function listSeedFolders(): readonly string[] {
  return readdirSync(SEEDS, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted();
}

const WORDS = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
const TEXTS = [
  "0000",
  "0001",
  "ffff",
  "\n",
  "\r\n",
  "\0",
  " ",
  "-1",
  "99999999999999999999",
  "../",
  "%00",
  "\u202e",
  "ÿ",
];

/** One to four changes; now and then with a right SHA-1 at the end, so that a checksum does not hide what is behind it. */
export function mutate(seeds: readonly Buffer[], random: Random): Buffer {
  let bytes = Buffer.from(seeds[random(seeds.length)] as Buffer);
  for (let changes = 1 + random(4); changes > 0; changes--) bytes = change(bytes, seeds, random);
  if (bytes.length > 20 && random(2) === 0) {
    const digest = createHash("sha1").update(bytes.subarray(0, -20)).digest();
    digest.copy(bytes, bytes.length - 20);
  }
  return bytes;
}

function change(bytes: Buffer<ArrayBuffer>, seeds: readonly Buffer[], random: Random): Buffer<ArrayBuffer> {
  const at = random(bytes.length + 1);
  const length = random(Math.min(bytes.length - at, 64) + 1);
  const before = bytes.subarray(0, at);
  switch (random(9)) {
    case 0:
      if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random(8));
      return bytes;
    case 1:
      if (at < bytes.length) bytes[at] = random(256);
      return bytes;
    case 2:
      if (at + 4 <= bytes.length) bytes.writeUInt32BE(WORDS[random(WORDS.length)] as number, at);
      return bytes;
    case 3:
      return Buffer.from(before);
    case 4:
      return Buffer.concat([before, bytes.subarray(at + length)]);
    case 5:
      return Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
    case 6:
      return Buffer.concat([before, Buffer.from(TEXTS[random(TEXTS.length)] as string), bytes.subarray(at)]);
    case 7:
      return Buffer.concat([
        before,
        Buffer.from(Array.from({ length }, () => random(256))),
        bytes.subarray(at),
      ]);
    default: {
      const other = seeds[random(seeds.length)] as Buffer;
      return Buffer.concat([before, other.subarray(random(other.length + 1))]);
    }
  }
}
