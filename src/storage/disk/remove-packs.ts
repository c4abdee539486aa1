/**
 * Removing packs whose objects all stand in another one, or are needed by nobody. The index goes first: without it a pack does not
 * count, and no reader finds an index whose pack has gone.
 *
 * Somebody may be pushing the very same pack just now: he makes a `.keep`, sees that pack and index stand there, and is content. So
 * all of it is first moved aside, then a `.keep` is looked for, and where there is one it comes back. What stands under the
 * pack's own name after that is somebody's new one, and is never removed.
 *
 * Who is killed in between leaves packs without an index, which nobody would ever remove. So what is about to go is
 * written down first, in a file that git's `prune` takes for a temporary one, and the next to come goes on
 * (`finishRemovals`): by putting back what is whole, since he cannot know who has pushed it meanwhile, without a `.keep` by now.
 *
 *     tmp_fold_XXXXXXXX: one name a line, `pack-<hex>`
 */
import { randomBytes } from "node:crypto";
import { readdir, rename, unlink, writeFile } from "node:fs/promises";
import { readSmallFile } from "./cached-file.js";
import { ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { leaveMultiPackIndex } from "./write-multi-pack-index.js";

const NOTE_PREFIX = "tmp_fold_";
const NOTE_BYTES_MAX = 16 * 1024 * 1024;
const PACK_NAME = /^pack-[0-9a-f]{40,64}$/;
/** In this order they go; in the other one they come back. */
const ASIDE = [".idx", ".pack", ".bitmap", ".rev", ".mtimes"];

/**
 * @param directory `objects/pack`
 * @param names `pack-<hex>`; one with a `.keep` stays, and all do while another program writes a multi-pack-index
 * @throws storage/io
 */
export async function removePacks(directory: string, names: readonly string[]): Promise<void> {
  if (names.length === 0 || !(await leaveMultiPackIndex(directory, names))) return;
  const note = `${directory}/${NOTE_PREFIX}${randomBytes(8).toString("hex")}`;
  try {
    await writeNote(note, names);
    for (const name of names) {
      if (await isThere(`${directory}/${name}.keep`)) continue;
      await moveAside(directory, name);
      await settle(directory, name);
    }
    // Where something failed it stays: the next one goes on by it.
    await unlinkIfThere(note);
  } catch (cause) {
    // The whole repository was removed meanwhile.
    if (isAbsent(cause)) return;
    throw ioError("removing folded packs in", directory, cause);
  }
}

async function writeNote(path: string, names: readonly string[]): Promise<void> {
  try {
    await writeFile(path, `${names.join("\n")}\n`, { flag: "wx" });
  } catch (error) {
    await unlink(path).catch(() => undefined);
    throw error;
  }
}

/**
 * Goes on where somebody was killed. Never throws: what stays costs space, not objects.
 * @param options.olderThanMs notes that are younger may be those of one who is at work. 0: nobody else can be
 */
export async function finishRemovals(
  directory: string,
  options: { readonly olderThanMs: number; readonly nowMs?: number },
): Promise<void> {
  const { olderThanMs, nowMs = Date.now() } = options;
  try {
    for (const file of await readdir(directory)) {
      if (!file.startsWith(NOTE_PREFIX)) continue;
      const note = `${directory}/${file}`;
      const stamp = await readStamp(note);
      if (stamp === undefined || nowMs - stamp.modifiedMs < olderThanMs) continue;
      await finishOne(directory, note);
    }
  } catch {
    // The next one tries again.
  }
}

async function finishOne(directory: string, note: string): Promise<void> {
  const text = (await readSmallFile(note, NOTE_BYTES_MAX))?.toString("latin1") ?? "";
  for (const name of text.split("\n")) {
    if (!PACK_NAME.test(name)) continue;
    const hasIndex =
      (await isThere(asideOf(directory, name, ".idx"))) || (await isThere(`${directory}/${name}.idx`));
    if (hasIndex) await putBack(directory, name);
    else if (!(await isThere(`${directory}/${name}.keep`))) await moveAside(directory, name);
    await settle(directory, name);
  }
  await unlinkIfThere(note);
}

async function moveAside(directory: string, name: string): Promise<void> {
  for (const ending of ASIDE)
    await renameIfThere(`${directory}/${name}${ending}`, asideOf(directory, name, ending));
}

/** All but times of unreachable objects: somebody may need them again. */
async function putBack(directory: string, name: string): Promise<void> {
  for (const ending of ASIDE.toReversed()) {
    const path = `${directory}/${name}${ending}`;
    if (ending !== ".mtimes" && !(await isThere(path)))
      await renameIfThere(asideOf(directory, name, ending), path);
  }
}

/** Ends what was begun: puts back what is kept by now, and removes what is aside otherwise. */
async function settle(directory: string, name: string): Promise<void> {
  if (await isThere(`${directory}/${name}.keep`)) await putBack(directory, name);
  for (const ending of ASIDE) await unlinkIfThere(asideOf(directory, name, ending));
}

async function isThere(path: string): Promise<boolean> {
  return (await readStamp(path)) !== undefined;
}

function asideOf(directory: string, name: string, ending: string): string {
  return `${directory}/tmp_gone_${name}${ending}`;
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (cause) {
    if (!isAbsent(cause)) throw cause;
  }
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (!isAbsent(cause)) throw cause;
  }
}
