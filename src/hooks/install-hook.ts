/**
 * Puts scripts into the `hooks/` of a repository, where git itself runs them, too: also for pushes that come past this
 * server. What a person has put there stays, and runs after ours.
 *
 *     hooks/NAME                 ours: runs the others; its second line says so
 *     hooks/NAME.gitwharf/LABEL  the scripts, in the order of their labels
 *     hooks/NAME.own             what stood in hooks/NAME before; it goes back there with the last of ours
 *
 * At no moment a hook that was there is not run, or is in two places under one name. Specification: githooks.
 */
import { randomUUID } from "node:crypto";
import { link, lstat, mkdir, open, readdir, rename, rmdir, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GitwharfError } from "../base/errors.js";
import { findCommonDirectory } from "./hook-caller.js";

/** Those of which several can run. */
export const INSTALLABLE_HOOKS = [
  "pre-receive",
  "update",
  "reference-transaction",
  "post-receive",
  "post-update",
] as const;
export type InstallableHook = (typeof INSTALLABLE_HOOKS)[number];

export interface InstalledHook {
  readonly hook: InstallableHook;
  /** In the order in which they run. */
  readonly labels: readonly string[];
  /** Also one of a person's: beside ours, or alone. */
  readonly hasOwn: boolean;
}

export interface HookPlace {
  readonly gitDirectory: string;
  readonly hook: InstallableHook;
  readonly label: string;
}

const MARK = "# Made by `gitwharf hook install`";
const HEAD_BYTES = 256;

/**
 * What was installed under the same label is replaced.
 * @throws server/bad-configuration for a label that is no file name; storage/exists, storage/io
 */
export async function installHook(
  place: HookPlace,
  script: string | Uint8Array,
): Promise<"installed" | "replaced"> {
  const paths = await pathsOf(place);
  return telling(paths.hook, async () => {
    await makeDirectory(dirname(paths.hook));
    // Before anything is written: what cannot be installed leaves nothing.
    await mustKeepOwn(paths);
    await makeDirectory(paths.scripts);
    const was = (await kindOf(paths.script)) === "absent" ? "installed" : "replaced";
    // First the script, then what runs it.
    await writeWhole(paths.script, script);
    await keepOwn(paths);
    await writeWhole(paths.hook, dispatcherOf(place.hook));
    return was;
  });
}

/** @throws storage/io */
export async function removeHook(place: HookPlace): Promise<"removed" | "absent"> {
  const paths = await pathsOf(place);
  return telling(paths.hook, async () => {
    const was = (await kindOf(paths.script)) === "file" ? "removed" : "absent";
    if (was === "removed") await unlink(paths.script);
    if ((await kindOf(paths.scripts)) !== "directory" || (await readdir(paths.scripts)).length > 0)
      return was;
    // A hook that a person has put over ours is theirs, and stays.
    if (await isOurs(paths.hook)) {
      if ((await kindOf(paths.own)) === "absent") await unlink(paths.hook);
      else await rename(paths.own, paths.hook);
    } else if (await isSameFile(paths.hook, paths.own)) {
      // An installation broke off: it has two names.
      await unlink(paths.own);
    }
    await rmdir(paths.scripts);
    return was;
  });
}

/** What is installed, and what a person has put there. @throws storage/io */
export async function listHooks(gitDirectory: string): Promise<readonly InstalledHook[]> {
  const found: InstalledHook[] = [];
  for (const hook of INSTALLABLE_HOOKS) {
    const paths = await pathsOf({ gitDirectory, hook, label: "any" });
    const labels = await readdir(paths.scripts).catch((): string[] => []);
    const kind = await kindOf(paths.hook);
    const own = (await isOurs(paths.hook)) ? await kindOf(paths.own) : kind;
    const hasOwn = own !== "absent" && own !== "directory";
    if (labels.length > 0 || hasOwn) found.push({ hook, labels: labels.toSorted(), hasOwn });
  }
  return found;
}

interface HookPaths {
  readonly hook: string;
  readonly own: string;
  readonly scripts: string;
  readonly script: string;
}

async function pathsOf({ gitDirectory, hook, label }: HookPlace): Promise<HookPaths> {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(label)) {
    throw new GitwharfError(
      "server/bad-configuration",
      `'${label}' cannot name a hook's script: letters, digits, '.', '_' and '-' can, at most 100`,
    );
  }
  const path = join(await findCommonDirectory(gitDirectory), "hooks", hook);
  return {
    hook: path,
    own: `${path}.own`,
    scripts: `${path}.gitwharf`,
    script: join(`${path}.gitwharf`, label),
  };
}

/** A person's hook gets a second name before ours takes the first, and never the name of another one. */
async function keepOwn(paths: HookPaths): Promise<void> {
  if (await mustKeepOwn(paths)) await link(paths.hook, paths.own);
}

/** Is there a person's hook that has no second name so far? @throws storage/exists when it cannot have one */
async function mustKeepOwn({ hook, own, scripts }: HookPaths): Promise<boolean> {
  const kind = await kindOf(hook);
  if (kind === "absent" && (await kindOf(own)) !== "absent" && (await kindOf(scripts)) === "absent")
    throw new GitwharfError("storage/exists", `${own} is there, and would be run: move it away`);
  if (kind === "absent" || (kind === "file" && (await isOurs(hook)))) return false;
  if (kind === "directory") throw new GitwharfError("storage/exists", `${hook} is a directory: move it away`);
  if ((await kindOf(own)) === "absent") return true;
  // Whoever installed before came no further than this.
  if (await isSameFile(hook, own)) return false;
  throw new GitwharfError("storage/exists", `both ${hook} and ${own} are there: move one of them away`);
}

async function isSameFile(one: string, other: string): Promise<boolean> {
  const [first, second] = await Promise.all([one, other].map((path) => lstat(path).catch(() => undefined)));
  return first !== undefined && first.ino === second?.ino && first.dev === second.dev;
}

async function isOurs(path: string): Promise<boolean> {
  if ((await kindOf(path)) !== "file") return false;
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.toString("latin1", 0, bytesRead).split("\n")[1]?.startsWith(MARK) === true;
  } finally {
    await file.close();
  }
}

/** "link": whatever it leads to, it is a person's. */
async function kindOf(path: string): Promise<"absent" | "file" | "directory" | "link"> {
  try {
    const stats = await lstat(path);
    return stats.isSymbolicLink() ? "link" : stats.isDirectory() ? "directory" : "file";
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "absent";
    throw error;
  }
}

/** Not through a link: it would be written wherever that leads. */
async function makeDirectory(path: string): Promise<void> {
  await mkdir(path).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  });
  if ((await kindOf(path)) === "directory") return;
  throw new GitwharfError("storage/exists", `${path} is no directory: install where it leads to`);
}

async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = join(dirname(dirname(path)), `gitwharf-${randomUUID()}`);
  try {
    await writeFile(temporary, content, { mode: 0o755, flag: "wx" });
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

async function telling<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof GitwharfError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new GitwharfError("storage/io", `the hook ${path} cannot be changed: ${why}`, { cause: error });
  }
}

/** Each script gets the whole input. Where a hook may refuse, the first that does is the last to run. */
function dispatcherOf(hook: InstallableHook): string {
  const takesInput = hook !== "update" && hook !== "post-update";
  const run = takesInput
    ? `printf '%s\\n' "$input" 2>/dev/null | "$script" "$@" || status=$?`
    : `"$script" "$@" </dev/null || status=$?`;
  const refuses =
    hook === "reference-transaction"
      ? `[ "$status" = 0 ] || [ "$1" = committed ] || [ "$1" = aborted ] || exit "$status"`
      : hook.startsWith("post-")
        ? ":"
        : `[ "$status" = 0 ] || exit "$status"`;
  return `#!/bin/sh
${MARK}: runs ${hook}.gitwharf/*, then ${hook}.own. Changes are lost.
${takesInput ? "input=$(cat)\n" : ""}status=0
for script in "$0".gitwharf/* "$0.own"; do
  [ -f "$script" ] && [ -x "$script" ] || continue
  ${run}
  ${refuses}
done
exit "$status"
`;
}
