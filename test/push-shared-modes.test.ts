/**
 * `core.sharedRepository`: what a push makes has the modes that git gives to the same: directories and refs, logs,
 * packs and their indexes.
 */
import { readdirSync, statSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { join, relative } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type PushBesideGit, type Side, startPushBesideGit } from "./support/push-beside-git.js";

/** No shared repository's: of what was there before the push. */
const OLD = 0o500;

let pair: PushBesideGit;
let umask: number;
// Of both processes alike: git inherits it.
beforeAll(() => (umask = process.umask(0o077)));
afterAll(() => process.umask(umask));
afterEach(() => pair.close());

/** Modes of files and directories that match; names of packs, which may differ, are taken off. */
function modesOf({ repository }: Side, matches: RegExp): Record<string, string> {
  const root = repository.directory;
  const modes: Record<string, string> = {};
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = relative(root, path).replace(/pack-[0-9a-f]+/, "pack-");
    const mode = statSync(path).mode & 0o7777;
    if (mode !== OLD && matches.test(name)) modes[name] = mode.toString(8);
  }
  return modes;
}

describe("core.sharedRepository", () => {
  for (const [value, file, directory, pack] of [
    [undefined, "600", "700", "400"],
    ["umask", "600", "700", "400"],
    ["group", "660", "2770", "440"],
    ["true", "660", "2770", "440"],
    ["all", "664", "2775", "444"],
    ["0640", "640", "2750", "440"],
    ["0660", "660", "2770", "440"],
  ] as const) {
    it(`${value ?? "not set"}: refs ${file}, directories ${directory}, packs ${pack}`, async () => {
      pair = await startPushBesideGit();
      await pair.configure({
        "core.logAllRefUpdates": "true",
        "receive.unpackLimit": "1",
        ...(value === undefined ? {} : { "core.sharedRepository": value }),
      });
      // Those of the clone that the repository was made of.
      for (const { repository } of [pair.ours, pair.theirs]) {
        const packs = join(repository.directory, "objects/pack");
        for (const name of readdirSync(packs)) await chmod(join(packs, name), OLD);
      }
      await pair.push("two:main", "two:deep/er/branch");
      const made = /^(?:logs\/)?refs\/heads\/(?:main|deep(?:\/.*)?)$/;
      const ours = modesOf(pair.ours, made);
      expect(ours).toEqual(modesOf(pair.theirs, made));
      expect(ours["refs/heads/deep/er/branch"]).toBe(file);
      expect(ours["logs/refs/heads/deep/er/branch"]).toBe(file);
      expect(ours["refs/heads/deep/er"]).toBe(directory);
      const packs = modesOf(pair.ours, /^objects\/pack\/pack-\.(?:pack|idx)$/);
      expect(packs).toEqual({ "objects/pack/pack-.pack": pack, "objects/pack/pack-.idx": pack });
      expect(packs).toEqual(modesOf(pair.theirs, /^objects\/pack\/pack-\.(?:pack|idx)$/));
    });
  }

  it("holds for packed refs that a deletion writes anew", async () => {
    pair = await startPushBesideGit();
    await pair.configure({ "core.sharedRepository": "group" });
    await pair.push("two:gone", "two:stays");
    await pair.both("pack-refs", "--all");
    await pair.push(":gone");
    const ours = modesOf(pair.ours, /^packed-refs$/);
    expect(ours).toEqual({ "packed-refs": "660" });
    expect(ours).toEqual(modesOf(pair.theirs, /^packed-refs$/));
  });
});
