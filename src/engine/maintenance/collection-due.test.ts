/** When garbage is collected without anybody asking for it. */
import { expect, it } from "vitest";
import type { PackSurvey } from "../../storage/contracts/pack-maintenance.js";
import { isCollectionDue } from "./collection-due.js";

const MiB = 1024 * 1024;
const LIMITS = { packLimit: 50, graceMs: 1000 };
const WELL: PackSurvey = { newPacks: 3, newBytes: 1, bytes: 100, unreachableForMs: undefined };

it.each<[string, Partial<PackSurvey>, boolean]>([
  ["when there is little new", {}, false],
  ["for many packs that are little beside the others", { newPacks: 51, newBytes: 33 }, false],
  ["for many packs", { newPacks: 51, newBytes: 34 }, true],
  ["for as many as may be", { newPacks: 50, newBytes: 34 }, false],
  ["for much in few packs", { newPacks: 1, newBytes: 16 * MiB, bytes: 48 * MiB }, true],
  ["for much beside more", { newPacks: 1, newBytes: 16 * MiB, bytes: 49 * MiB }, false],
  ["when unreachable objects wait", { unreachableForMs: 999 }, false],
  ["when they have waited", { unreachableForMs: 1000 }, true],
])("%s", (_, survey, isDue) => {
  expect(isCollectionDue({ ...WELL, ...survey }, LIMITS)).toBe(isDue);
});
