/** Where scripts are written: each for itself, also when many are wanted at once or somebody tidies them away. */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type CheckedScript, checkScript, createScriptDirectory, type ScriptDirectory } from "./script.js";

const WORDS = ["one", "two", "three"];
const scripts = WORDS.map((word) => checkScript(`#!/bin/sh\necho ${word}\n`, word));
let directory: ScriptDirectory;

beforeEach(() => void (directory = createScriptDirectory()));
afterEach(() => directory.close());

const pathOf = async (script: CheckedScript): Promise<string> =>
  (await directory.programOf(script, "update")).args.at(-1) ?? "";
const textsOf = (paths: readonly string[]): readonly string[] =>
  paths.map((path) => readFileSync(path, "utf8"));
const WANTED = WORDS.map((word) => `#!/bin/sh\necho ${word}\n`);

it("scripts of one name that are wanted at once do not write over one another", async () => {
  expect(textsOf(await Promise.all(scripts.map(pathOf)))).toEqual(WANTED);
});

it("what was tidied away is written anew, once, and nothing of it stays", async () => {
  const before = await Promise.all(scripts.map(pathOf));
  const parent = dirname(dirname(before[0] ?? ""));
  rmSync(parent, { recursive: true });
  const after = await Promise.all([...scripts, ...scripts].map(pathOf));
  expect(textsOf(after)).toEqual([...WANTED, ...WANTED]);
  const now = dirname(dirname(after[0] ?? ""));
  expect(readdirSync(now)).toHaveLength(WORDS.length);
  rmSync(after[1] ?? "");
  expect(textsOf(await Promise.all(scripts.map(pathOf)))).toEqual(WANTED);
  await directory.close();
  const left = readdirSync(dirname(now)).map((name) => `${dirname(now)}/${name}`);
  expect(left).not.toContain(now);
  expect(left).not.toContain(parent);
});
