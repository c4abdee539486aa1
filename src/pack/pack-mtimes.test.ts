/** The times of unreachable objects, as git writes and reads them. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PackIndex } from "./pack-index.js";
import { formatPackMtimes, packMtimesBytes, parsePackMtimes } from "./pack-mtimes.js";

const directory = mkdtempSync(join(tmpdir(), "gitwharf-mtimes-"));
const packs = join(directory, "objects/pack");
const git = (input: string, ...args: readonly string[]): string =>
  execFileSync("git", args, { cwd: directory, input, encoding: "utf8" }).trim();
const cruft = (): string => {
  const name = readdirSync(packs).find((each) => each.endsWith(".mtimes"));
  if (name === undefined) throw new Error("git has made no cruft pack");
  return join(packs, name.slice(0, -".mtimes".length));
};
const indexOf = (stem: string): PackIndex => {
  const bytes = readFileSync(`${stem}.idx`);
  const shared = new SharedArrayBuffer(bytes.length);
  bytes.copy(Buffer.from(shared));
  return PackIndex.parse(shared, "sha1");
};

beforeAll(() => {
  git("", "init", "-q", "--bare", ".");
  for (let i = 0; i < 5; i++) git(`blob ${i}`, "hash-object", "-w", "--stdin");
  git("", "repack", "-d", "--cruft", "-q");
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("times of unreachable objects", () => {
  it("are read as git has written them, and written so byte by byte", () => {
    const file = readFileSync(`${cruft()}.mtimes`);
    const index = indexOf(cruft());
    const seconds = parsePackMtimes(file, index);
    expect(seconds).toHaveLength(5);
    const now = Date.now() / 1000;
    for (const each of seconds) expect(Math.abs(each - now)).toBeLessThan(3600);
    expect(formatPackMtimes(index, seconds).equals(file)).toBe(true);
    expect(file).toHaveLength(packMtimesBytes(index));
  });

  it("are believed by git", () => {
    const index = indexOf(cruft());
    const seconds = Uint32Array.from({ length: 5 }, (_, i) => (i < 2 ? 1_000_000_000 : 2_000_000_000));
    const stem = cruft();
    rmSync(`${stem}.mtimes`);
    writeFileSync(`${stem}.mtimes`, formatPackMtimes(index, seconds));
    git("", "repack", "-d", "--cruft", "-q", "--cruft-expiration=2020-01-01");
    expect(indexOf(cruft()).objectCount).toBe(3);
  });

  it.each<[string, (file: Buffer) => Buffer]>([
    ["is too short", (file) => file.subarray(0, -1)],
    ["begins otherwise", (file) => Buffer.concat([Buffer.from("MTMX"), file.subarray(4)])],
    ["has another version", (file) => Buffer.concat([file.subarray(0, 7), Buffer.of(2), file.subarray(8)])],
    ["has another hash", (file) => Buffer.concat([file.subarray(0, 11), Buffer.of(2), file.subarray(12)])],
    ["has another time", (file) => Buffer.concat([file.subarray(0, 12), Buffer.of(1), file.subarray(13)])],
  ])("are not taken from a file that %s", (_, change) => {
    const file = readFileSync(`${cruft()}.mtimes`);
    expect(() => parsePackMtimes(change(file), indexOf(cruft()))).toThrow("cannot be used");
  });
});
