/**
 * Removing packs whose objects all stand in another one. The index goes first: without it a pack does not count, and
 * no reader finds an index whose pack has gone.
 *
 * Who is killed in between leaves packs without an index, which nobody would ever remove. So what is about to go is
 * written down first, in a file that git's `prune` takes for a temporary one, and the next to come goes on
 * (`finishRemovals`).
 *
 *     tmp_fold_XXXXXXXX: one name a line, `pack-<hex>`
 */
import { randomBytes } from "node:crypto";
import { readdir, unlink, writeFile } from "node:fs/promises";
import { readSmallFile } from "./cached-file.js";
import { ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { leaveMultiPackIndex } from "./write-multi-pack-index.js";

const NOTE_PREFIX = "tmp_fold_";
const NOTE_BYTES_MAX = 16 * 1024 * 1024;
const PACK_NAME = /^pack-[0-9a-f]{40,64}$/;
/** After the index, in this order. */
const ENDINGS = [".bitmap", ".rev", ".pack"];

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
      await unlinkIfThere(`${stem}.idx`);
      for (const ending of ENDINGS) await unlinkIfThere(stem + ending);
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
    const stem = `${directory}/${name}`;
    // One that has its index still, or again, counts: it is not ours to remove any more.
    if ((await readStamp(`${stem}.idx`)) !== undefined) continue;
    if ((await readStamp(`${stem}.keep`)) !== undefined) continue;
    for (const ending of ENDINGS) await unlinkIfThere(stem + ending);
  }
  await unlinkIfThere(note);
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (!isAbsent(cause)) throw cause;
  }
}
