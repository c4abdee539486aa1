/** The block of resolved objects: bounded, what it finds is intact, what is held survives the next object. */
import { describe, expect, it } from "vitest";
import { ResolvedObjects } from "./resolved-objects.js";

const CAPACITY = 64 * 1024;
const SCRATCH = 1024;

function put(cache: ResolvedObjects, owner: number, offset: number, length: number): number {
  const at = cache.reserve(length);
  cache.memory.fill((owner * 31 + offset) & 0xff, at, at + length);
  return cache.add(owner, offset, 3, length);
}

function isIntact(cache: ResolvedObjects, slot: number, owner: number, offset: number): boolean {
  const start = cache.startAt(slot);
  const bytes = cache.memory.subarray(start, start + cache.lengthAt(slot));
  return bytes.every((byte) => byte === ((owner * 31 + offset) & 0xff));
}

describe("ResolvedObjects", () => {
  it("finds what was added, by pack and offset", () => {
    const cache = new ResolvedObjects(CAPACITY, SCRATCH);
    put(cache, 1, 12, 100);
    put(cache, 2, 12, 50);
    expect(cache.lengthAt(cache.find(1, 12))).toBe(100);
    expect(cache.lengthAt(cache.find(2, 12))).toBe(50);
    expect(cache.typeAt(cache.find(2, 12))).toBe(3);
    expect(cache.find(3, 12)).toBe(-1);
    expect(cache.find(1, 13)).toBe(-1);
    expect(cache.find(1, 12 + 2 ** 32)).toBe(-1);
  });

  it("takes no more memory than it was given, and gives back only intact objects", () => {
    const cache = new ResolvedObjects(CAPACITY, SCRATCH);
    const lengths = new Map<number, number>();
    let state = 1;
    let hits = 0;
    for (let i = 0; i < 20_000; i++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      const length = (state >>> 8) % (cache.objectBytesMax + 1);
      put(cache, 1, i, length);
      lengths.set(i, length);
      const older = i - ((state >>> 4) % 40);
      const slot = cache.find(1, older);
      if (slot < 0) continue;
      hits++;
      expect(cache.lengthAt(slot)).toBe(lengths.get(older));
      expect(isIntact(cache, slot, 1, older)).toBe(true);
    }
    expect(hits).toBeGreaterThan(1000);
    expect(cache.memory.length).toBe(CAPACITY + SCRATCH);
  });

  it("keeps what is held while the next object is made", () => {
    const cache = new ResolvedObjects(CAPACITY, SCRATCH);
    let held = 0;
    for (let i = 0; i < 5000; i++) {
      put(cache, 1, i, (i * 997) % (cache.objectBytesMax + 1));
      // The oldest that is still there is the one in danger.
      let oldest = i;
      while (oldest > 0 && cache.find(1, oldest - 1) >= 0) oldest--;
      const slot = cache.find(1, oldest);
      cache.hold(slot, cache.objectBytesMax);
      const made = cache.reserve(cache.objectBytesMax);
      cache.memory.fill(0xee, made, made + cache.objectBytesMax);
      if (((31 + oldest) & 0xff) !== 0xee) {
        held++;
        expect(isIntact(cache, slot, 1, oldest), `object ${oldest} after ${i}`).toBe(true);
      }
      cache.add(9, i, 1, cache.objectBytesMax);
    }
    expect(held).toBeGreaterThan(4000);
  });
});
