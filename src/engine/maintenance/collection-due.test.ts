/** When garbage is collected without anybody asking for it. */
import { expect, it } from "vitest";
import type { PackSurvey } from "../../storage/contracts/pack-maintenance.js";
import { collectionDue, type CollectionDue } from "./collection-due.js";

const MiB = 1024 * 1024;
const LIMITS = { packLimit: 50, graceMs: 1000 };
const WELL: PackSurvey = { newPacks: 3, newBytes: 1, bytes: 100, unreachableForMs: undefined };

it.each<[string, Partial<PackSurvey>, CollectionDue]>([
  ["when there is little new", {}, "not yet"],
  ["for many packs that are little beside the others", { newPacks: 51, newBytes: 33 }, "not yet"],
  ["for many packs", { newPacks: 51, newBytes: 34 }, "now"],
  ["for as many as may be", { newPacks: 50, newBytes: 34 }, "not yet"],
  ["for much in few packs", { newPacks: 1, newBytes: 16 * MiB, bytes: 48 * MiB }, "when quiet"],
  ["for much in many packs", { newPacks: 51, newBytes: 16 * MiB, bytes: 48 * MiB }, "now"],
  ["for a first push that is small", { newPacks: 1, newBytes: 16 * MiB - 1, bytes: 16 * MiB - 1 }, "not yet"],
  ["for much beside more", { newPacks: 1, newBytes: 16 * MiB, bytes: 49 * MiB }, "not yet"],
  ["when unreachable objects wait", { unreachableForMs: 999 }, "not yet"],
  ["when they have waited", { unreachableForMs: 1000 }, "now"],
])("%s", (_, survey, due) => {
  expect(collectionDue({ ...WELL, ...survey }, LIMITS)).toBe(due);
});
