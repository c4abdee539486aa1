import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { SHATTERED_BLOCKS_AT, SHATTERED_PREFIX } from "../../src/object/shattered.test.support.js";
import {
  DISTURBANCE_VECTORS,
  disturbances,
  messageDifferences,
  resumeStep,
  rotateLeft,
} from "./disturbance-vectors.js";

const sha1 = (bytes: Uint8Array): string => createHash("sha1").update(bytes).digest("hex");

describe("the disturbance vectors", () => {
  it("are 32, each once", () => {
    expect(new Set(DISTURBANCE_VECTORS.map((vector) => JSON.stringify(vector))).size).toBe(32);
  });

  it("have differences that follow the message expansion", () => {
    for (const vector of DISTURBANCE_VECTORS) {
      const words = messageDifferences(vector);
      const at = (step: number): number => words[step] ?? Number.NaN;
      for (let t = 16; t < 80; t++)
        expect(at(t)).toBe(rotateLeft(at(t - 3) ^ at(t - 8) ^ at(t - 14) ^ at(t - 16), 1));
    }
  });

  it("have no local collision under way where a block is resumed", () => {
    for (const vector of DISTURBANCE_VECTORS) {
      const at = disturbances(vector);
      const resume = resumeStep(vector);
      expect([1, 2, 3, 4, 5].map((back) => at(resume - back))).toEqual([0, 0, 0, 0, 0]);
    }
  });

  it("turn one file of the SHAttered collision into the other, by II(52,0)", () => {
    const differences = messageDifferences({ type: 2, k: 52, b: 0 });
    const other = Buffer.from(SHATTERED_PREFIX);
    for (const at of SHATTERED_BLOCKS_AT)
      for (let i = 0; i < 16; i++)
        other.writeUInt32BE((other.readUInt32BE(at + 4 * i) ^ (differences[i] ?? 0)) >>> 0, at + 4 * i);
    expect(other.equals(SHATTERED_PREFIX)).toBe(false);
    expect(sha1(other)).toBe(sha1(SHATTERED_PREFIX));
  });
});
