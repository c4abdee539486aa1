/**
 * Removing packs whose objects all stand in another one, or are needed by nobody. The index goes first: without it a pack does not
 * count, and no reader finds an index whose pack has gone.
 *
 * Somebody may be pushing the very same pack just now: he makes a `.keep`, sees that pack and index stand there, and is content. So
 * both are first moved aside, then a `.keep` is looked for, and where there is one they come back.
 *
 * Who is killed in between leaves packs without an index, which nobody would ever remove. So what is about to go is
 * written down first, in a file that git's `prune` takes for a temporary one, and the next to come goes on
 * (`finishRemovals`).
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
/** In this order. */
const ASIDE = [".idx", ".pack"];
const ENDINGS = [".bitmap", ".rev", ".mtimes", ".pack"];

/**
 * @param directory `objects/pack`
 * @param names `pack-<hex>`; one with a `.keep` stays, and all do while another program writes a multi-pack-index
 * @throws storage/io
 */
export async function removePacks(directory: string, names: readonly string[]): Promise<void> {
  if (names.length === 0 || !(await leaveMultiPackIndex(directory, names))) return;
  const note = `${directory}/${NOTE_PREFIX}${randomBytes(8).toString("hex")}`;
  try {
    await writeFile(note, `${names.join("\n")}\n`, { flag: "wx" });
    for (const name of names) {
      const stem = `${directory}/${name}`;
      if ((await readStamp(`${stem}.keep`)) !== undefined) continue;
      for (const ending of ASIDE) await renameIfThere(stem + ending, asideOf(directory, name, ending));
      await settle(directory, name);
    }
  } catch (cause) {
    // The whole repository was removed meanwhile.
    if (isAbsent(cause)) return;
    throw ioError("removing folded packs in", directory, cause);
  } finally {
    await unlink(note).catch(() => undefined);
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
    await settle(directory, name);
  }
  await unlinkIfThere(note);
}

/** Ends what was begun: puts pack and index back where the pack is kept by now, removes all of it otherwise. */
async function settle(directory: string, name: string): Promise<void> {
  const stem = `${directory}/${name}`;
  if ((await readStamp(`${stem}.keep`)) !== undefined) {
    for (const ending of ASIDE.toReversed())
      if ((await readStamp(stem + ending)) === undefined)
        await renameIfThere(asideOf(directory, name, ending), stem + ending);
  } else if ((await readStamp(`${stem}.idx`)) === undefined) {
    // One that has its index still, or again, counts: it is not ours to remove any more.
    for (const ending of ENDINGS) await unlinkIfThere(stem + ending);
  }
  for (const ending of ASIDE) await unlinkIfThere(asideOf(directory, name, ending));
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
