/** Hooks for tests, and one that writes down how it was called: `RECORD` is its script, `readRecord` its notes. */
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import type { GitClient } from "./git-client.js";

export interface Recorded {
  readonly name: string;
  readonly args: string;
  readonly cwd: string;
  /** The lines of standard input, sorted: clients order refs as they like. */
  readonly input: string;
  /** The variables that git sets for hooks, paths made the same for all repositories. */
  readonly environment: readonly string[];
}

export function writeHook(
  repository: GitClient,
  name: string,
  script: string,
  mode = 0o755,
  interpreter = "#!/bin/sh",
): void {
  mkdirSync(`${repository.directory}/hooks`, { recursive: true });
  writeFileSync(`${repository.directory}/hooks/${name}`, `${interpreter}\n${script}\n`, { mode });
}

/** Ends each call with a line `end`; the hook's directory is the git directory. */
export const RECORD = `{
  echo "name $(basename "$0")"
  echo "args $*"
  echo "cwd $(pwd -P)"
  env | grep -E '^GIT_(DIR|WORK_TREE|QUARANTINE|OBJECT|ALTERNATE|PUSH)' | sed 's/^/env /'
  sed 's/^/input /'
  echo end
} >> record`;

/** @param clean applied to the whole of the notes first */
export function readRecord(
  repository: GitClient,
  clean: (text: string) => string = (text) => text,
): readonly Recorded[] {
  const file = `${repository.directory}/record`;
  if (!existsSync(file)) return [];
  const text = clean(readFileSync(file, "utf8"))
    .replaceAll(realpathSync(repository.directory), "REPOSITORY")
    .replaceAll(repository.directory, "REPOSITORY")
    .replaceAll("GIT_DIR=.\n", "GIT_DIR=REPOSITORY\n")
    .replaceAll("=./objects", "=REPOSITORY/objects")
    .replaceAll("REPOSITORY/./objects", "REPOSITORY/objects")
    .replaceAll(/(=REPOSITORY\/objects\/)[^\n]+/g, "$1QUARANTINE");
  return text
    .split("end\n")
    .slice(0, -1)
    .map((call) => {
      const values = (word: string): string[] =>
        call
          .split("\n")
          .filter((line) => line.startsWith(`${word} `))
          .map((line) => line.slice(word.length + 1))
          .toSorted();
      const [name = "", args = "", cwd = ""] = ["name", "args", "cwd"].map((word) => values(word)[0]);
      return { name, args, cwd, input: values("input").join("\n"), environment: values("env") };
    });
}
