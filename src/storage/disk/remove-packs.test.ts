/** Packs that are removed, and removals that were cut short. */
import fs, {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { removeLeftovers } from "./leftovers.js";
import { finishRemovals, removePacks } from "./remove-packs.js";

const HOUR_MS = 60 * 60 * 1000;
let objects: string;
let directory: string;

beforeEach(() => {
  objects = mkdtempSync(join(tmpdir(), "gitwharf-remove-packs-"));
  directory = join(objects, "pack");
  mkdirSync(directory);
});
afterEach(() => rmSync(objects, { recursive: true }));

const nameOf = (digit: string): string => `pack-${digit.repeat(40)}`;

function make(digit: string, ...endings: readonly string[]): string {
  for (const ending of endings) writeFileSync(join(directory, nameOf(digit) + ending), digit);
  return nameOf(digit);
}

function note(names: readonly string[], ageMs: number): void {
  const path = join(directory, "tmp_fold_0011223344556677");
  writeFileSync(path, `${names.join("\n")}\n`);
  const then = (Date.now() - ageMs) / 1000;
  utimesSync(path, then, then);
}

const left = (): string[] => readdirSync(directory).sort();

describe("removing packs", () => {
  it("removes all that belongs to them, and nothing else", async () => {
    const names = [make("a", ".pack", ".idx", ".rev"), make("b", ".pack", ".idx")];
    const kept = make("c", ".pack", ".idx", ".keep");
    make("d", ".pack", ".idx");
    await removePacks(directory, [...names, kept, nameOf("e")]);
    expect(left()).toEqual(
      [".idx", ".keep", ".pack"]
        .map((ending) => kept + ending)
        .concat([".idx", ".pack"].map((ending) => nameOf("d") + ending)),
    );
  });

  it("puts back what somebody keeps by now, who was killed or is at work", async () => {
    const name = make("a", ".keep", ".rev");
    writeFileSync(join(directory, `tmp_gone_${name}.pack`), "a");
    writeFileSync(join(directory, `tmp_gone_${name}.idx`), "a");
    note([name], 0);
    await finishRemovals(directory, { olderThanMs: 0 });
    expect(left()).toEqual([".idx", ".keep", ".pack", ".rev"].map((ending) => name + ending));
  });

  it("puts back what is whole, and leaves what has come anew", async () => {
    const whole = make("a", ".rev");
    const anew = make("b", ".pack", ".idx");
    for (const name of [whole, anew])
      for (const ending of [".pack", ".idx", ".mtimes"])
        writeFileSync(join(directory, `tmp_gone_${name}${ending}`), "");
    note([whole, anew], 0);
    await finishRemovals(directory, { olderThanMs: 0 });
    expect(left()).toEqual(
      [".idx", ".pack", ".rev"].map((ending) => whole + ending).concat([`${anew}.idx`, `${anew}.pack`]),
    );
    expect(readFileSync(join(directory, `${anew}.pack`), "utf8")).toBe("b");
  });

  it("gives its pack back to who has pushed it meanwhile and found the index gone", async () => {
    const name = make("a", ".idx");
    writeFileSync(join(directory, `tmp_gone_${name}.pack`), "a");
    writeFileSync(join(directory, `tmp_gone_${name}.idx`), "a");
    note([name], 0);
    await finishRemovals(directory, { olderThanMs: 0 });
    expect(left()).toEqual([`${name}.idx`, `${name}.pack`]);
  });

  it("removes what is aside and has no index any more", async () => {
    const name = nameOf("a");
    writeFileSync(join(directory, `tmp_gone_${name}.pack`), "a");
    note([name], 0);
    await finishRemovals(directory, { olderThanMs: 0 });
    expect(left()).toEqual([]);
  });

  it("leaves alone what is pushed while the old one goes", async () => {
    const name = make("a", ".pack", ".idx", ".rev", ".mtimes");
    const { unlink } = fs.promises;
    let isPushed = false;
    const pushFirst = async (path: string): Promise<void> => {
      // The last look for a `.keep` is over.
      if (!isPushed) make("a", ".keep", ".pack", ".rev", ".idx");
      isPushed = true;
      return unlink(path);
    };
    Reflect.set(fs.promises, "unlink", pushFirst);
    syncBuiltinESMExports();
    try {
      await removePacks(directory, [name]);
    } finally {
      Reflect.set(fs.promises, "unlink", unlink);
      syncBuiltinESMExports();
    }
    expect(isPushed).toBe(true);
    expect(left()).toEqual([".idx", ".keep", ".pack", ".rev"].map((ending) => name + ending));
  });

  it("does not mind that the repository has gone", async () => {
    await removePacks(join(directory, "gone"), [nameOf("a")]);
    await finishRemovals(join(directory, "gone"), { olderThanMs: 0 });
    expect(left()).toEqual([]);
  });
});

describe("removals that were cut short", () => {
  it("are finished where the index has gone, and only there", async () => {
    const names = [make("a", ".pack", ".rev"), make("b", ".pack", ".idx"), make("c", ".pack", ".keep")];
    make("d", ".pack");
    writeFileSync(join(directory, "precious"), "");
    note([...names, "../precious", "precious", `${nameOf("d")}.pack`, ""], 0);
    await finishRemovals(directory, { olderThanMs: 0 });
    expect(left()).toEqual(
      [`${nameOf("b")}.idx`, `${nameOf("b")}.pack`, `${nameOf("c")}.keep`, `${nameOf("c")}.pack`].concat([
        `${nameOf("d")}.pack`,
        "precious",
      ]),
    );
  });

  it("are left to who may be at work for a day, then swept when the repository is opened", async () => {
    const name = make("a", ".pack");
    note([name], 23 * HOUR_MS);
    await removeLeftovers(objects, { inUse: new Set() });
    expect(left()).toHaveLength(2);
    expect(readFileSync(join(directory, `${name}.pack`), "utf8")).toBe("a");
    note([name], 25 * HOUR_MS);
    await removeLeftovers(objects, { inUse: new Set() });
    expect(left()).toEqual([]);
  });
});
