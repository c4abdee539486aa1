import { randomFillSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compileWasm, instantiateWasm } from "../../src/base/web-assembly.js";
import { DISTURBANCE_VECTORS, rotateLeft } from "./disturbance-vectors.js";
import { conditionGroups, conditions } from "./unavoidable-conditions.js";

function expanded(block: Buffer): Uint32Array {
  const words = new Uint32Array(80);
  const at = (t: number): number => words[t] ?? 0;
  for (let t = 0; t < 16; t++) words[t] = block.readUInt32BE(4 * t);
  for (let t = 16; t < 80; t++) words[t] = rotateLeft(at(t - 3) ^ at(t - 8) ^ at(t - 14) ^ at(t - 16), 1);
  return words;
}

const bitOf = (words: Uint32Array, step: number, bit: number): boolean =>
  (((words[step] ?? 0) >>> bit) & 1) === 1;

/** By the definition: in each group every bit is as the first one, or the opposite. */
function vectorsMet(words: Uint32Array): number {
  let met = 0;
  for (const [v, vector] of DISTURBANCE_VECTORS.entries()) {
    const holds = conditionGroups(vector).every((group) => {
      const values = group.map(({ step, bit, inverted }) => bitOf(words, step, bit) !== inverted);
      return values.every((value) => value === values[0]);
    });
    if (holds) met |= 1 << v;
  }
  return met >>> 0;
}

function roundFunction(step: number, b: number, c: number, d: number): number {
  return step >= 40 && step < 60 ? (b & c) | (d & (b | c)) : b ^ c ^ d;
}

/** Rounds without their constants, which do not matter for differences. */
function rounds(step: number, state: readonly number[], words: readonly number[]): readonly number[] {
  let [a = 0, b = 0, c = 0, d = 0, e = 0] = state;
  for (const [i, word] of words.entries()) {
    const sum = (rotateLeft(a, 5) + roundFunction(step + i, b, c, d) + e + word) >>> 0;
    [a, b, c, d, e] = [sum, a, rotateLeft(b, 30), c, d];
  }
  return [a, b, c, d, e];
}

describe("the unavoidable conditions", () => {
  it("hold in every local collision that comes out even and starts without a carry", () => {
    // The bits after the first are against it, in between only where the function is majority; bit 31 has no sign.
    for (const step of [30, 46]) {
      for (const bit of [0, 1, 2]) {
        const places = [bit, bit + 5, bit, bit + 30, bit + 30, bit + 30].map((place) => place % 32);
        const seen = places.map(() => new Set<boolean>());
        for (let tries = 0; tries < 10_000; tries++) {
          const random = [...randomFillSync(new Uint32Array(11))];
          const [state, words] = [random.slice(0, 5), random.slice(5)];
          const others = words.map((word, i) => (word ^ (1 << (places[i] ?? 0))) >>> 0);
          const [before = 0] = rounds(step, state, words.slice(0, 1));
          const [after = 0] = rounds(step, state, others.slice(0, 1));
          if ((before ^ after) >>> 0 !== 2 ** bit) continue;
          if (rounds(step, state, words).join() !== rounds(step, state, others).join()) continue;
          const bits = words.map((word, i) => ((word >>> (places[i] ?? 0)) & 1) === 1);
          for (const [i, value] of bits.entries()) seen[i]?.add(value === bits[0]);
        }
        const expected = places.map((place, i) => {
          const open = place === 31 || (step === 30 && i >= 2 && i <= 4);
          return open ? "either" : i === 0 ? "equal" : "opposite";
        });
        expect(
          seen.map((values) => (values.size === 2 ? "either" : values.has(true) ? "equal" : "opposite")),
        ).toEqual(expected);
      }
    }
  });

  it("spare at least nine blocks of ten, and are few", () => {
    const chance = DISTURBANCE_VECTORS.reduce((product, vector) => {
      const needed = conditionGroups(vector).reduce((sum, group) => sum + group.length - 1, 0);
      expect(needed).toBeGreaterThanOrEqual(7);
      return product * (1 - 2 ** -needed);
    }, 1);
    expect(1 - chance).toBeLessThan(0.06);
    expect(conditions().length).toBeLessThan(160);
  });

  it("are what the compiled module applies, in each of its four lanes", () => {
    const wasm = new URL("../../src/object/collision-detection.wasm", import.meta.url);
    const { memory, begin, absorb } = instantiateWasm(compileWasm(readFileSync(wasm)));
    if (memory === undefined || !("buffer" in memory)) throw new Error("no memory");
    if (typeof begin !== "function" || typeof absorb !== "function") throw new Error("no functions");
    const alive = new Uint32Array(memory.buffer, 18_944, 4);
    const blocks = Buffer.from(memory.buffer, 65_536, 256);
    let metSome = 0;
    for (let tries = 0; tries < 500; tries++) {
      randomFillSync(blocks);
      begin();
      absorb(4);
      const met = [0, 64, 128, 192].map((at) => vectorsMet(expanded(blocks.subarray(at, at + 64))));
      expect([...alive]).toEqual(met);
      metSome += met.filter((mask) => mask !== 0).length;
    }
    expect(metSome).toBeGreaterThan(20);
  });
});
