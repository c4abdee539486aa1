/** That a push is told apart from one that another came before; with the real client it is shown in test/deploy-dyno.test.ts. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Build } from "../../database/build-store.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { keepBase, whatCameBetween } from "./push-base.js";

const [NULL, OLD, NEW, OTHER] = ["0", "1", "2", "3"].map((digit) => digit.repeat(40)) as [
  string,
  string,
  string,
  string,
];
const MAIN = "refs/heads/main";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** @param ended of the builds before, the newest first: `ID COMMIT` of those that succeeded */
const buildsOf = (...ended: readonly string[]) => ({
  list: async () =>
    ended.map((each) => {
      const [id, commit, status = "succeeded"] = each.split(" ");
      return { id, commit, status } as Build;
    }),
});

async function cameBetween(about: {
  readonly oldOid: string;
  readonly before?: readonly string[];
  readonly after: readonly string[];
  readonly now?: string;
}): Promise<string | undefined> {
  const { oldOid, before = [], after, now } = about;
  await keepBase({ builds: buildsOf(...before), app: "app", oldOid }, directory);
  const refs = { get: (name: string) => (name === MAIN && now !== undefined ? { oid: now } : undefined) };
  const build = { id: "ours", app: "app", commit: NEW, refName: MAIN } as Build;
  return whatCameBetween(
    { builds: buildsOf(...after), build, snapshot: { refs } as unknown as Pick<Snapshot, "refs"> },
    directory,
  );
}

describe("between a push and its build", () => {
  it.each([
    ["a ref that is made", { oldOid: NULL, after: [] }],
    ["a ref that moves", { oldOid: OLD, before: [`a ${OLD}`], after: [`a ${OLD}`], now: OLD }],
    ["a build that failed", { oldOid: OLD, after: [`b ${OTHER} failed`], now: OLD }],
    [
      "what was built and not taken before",
      { oldOid: OLD, before: [`a ${OTHER}`], after: [`a ${OTHER}`], now: OLD },
    ],
    [
      "the same, built again",
      { oldOid: OLD, before: [`a ${OLD}`], after: [`b ${OLD}`, `a ${OLD}`], now: OLD },
    ],
  ])("nothing comes with %s", async (_what, about) => {
    expect(await cameBetween(about)).toBeUndefined();
  });

  it.each([
    ["a ref that has moved", { oldOid: OLD, before: [`a ${OTHER}`], after: [`a ${OTHER}`], now: OTHER }],
    ["a ref that was made", { oldOid: NULL, after: [], now: OTHER }],
    ["a build whose ref is about to move", { oldOid: OLD, after: [`b ${OTHER}`], now: OLD }],
    ["such a build of a ref that is made", { oldOid: NULL, after: [`b ${OTHER}`] }],
  ])("somebody comes with %s", async (_what, about) => {
    expect(await cameBetween(about)).toBe(OTHER);
  });

  it("nothing is known where nothing was kept; what cannot be read is told", async () => {
    const build = { id: "ours", app: "app", commit: NEW, refName: MAIN } as Build;
    const refs = { get: () => ({ oid: OTHER }) };
    const snapshot = { refs } as unknown as Pick<Snapshot, "refs">;
    const about = { builds: buildsOf(`b ${OTHER}`), build, snapshot };
    expect(await whatCameBetween(about, directory)).toBeUndefined();
    mkdirSync(join(directory, "base"));
    await expect(whatCameBetween(about, directory)).rejects.toMatchObject({ code: "EISDIR" });
  });
});
