/**
 * Parting with objects that nothing leads to, on a disk that git works on as well: what may go, and how it goes.
 *
 *     gc.pid ──► list packs and loose objects ──► read refs and all else that leads to objects ──► (the engine plans and writes)
 *       ──► new packs synced and visible ──► does anything lead to what goes? ──► multi-pack-index, indexes, packs, loose files
 *
 * What came after the lists were made is in none of them and is not touched. Objects that a push brings are in a pack with a `.keep`
 * until its refs have moved, or loose: unreachable ones move into a pack of such, and go only when they have waited there. So whoever
 * uses an object while all this happens finds it, unless for two weeks nothing has led to it; and that is asked once more.
 *
 * Never touched: packs with a `.keep` or a name that is not their checksum, packs of alternates. Nothing at all is done with
 * promisor packs, precious objects, grafts, damaged packs or refs, a multi-pack-index that is not understood.
 */
import { readdir, unlink } from "node:fs/promises";
import { isGitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import { parsePackMtimes } from "../../pack/pack-mtimes.js";
import type { PackSink } from "../contracts/quarantine.js";
import type { RefFormat, Snapshot } from "../contracts/repository.js";
import type {
  SweepBeginning,
  SweepChange,
  SweepPack,
  SweepReplacement,
  SweepWork,
} from "../contracts/upkeep.js";
import { readSmallFile } from "./cached-file.js";
import { type DiskQuarantine, QUARANTINE_PREFIX } from "./disk-quarantine.js";
import { dropCommitGraph } from "./drop-commit-graph.js";
import { ioError, isAbsent } from "./file-errors.js";
import { readStamp } from "./file-stamp.js";
import { listLooseFiles, removeLooseFiles } from "./loose-files.js";
import { lockMaintenance } from "./maintenance-lock.js";
import { MULTI_PACK_INDEX } from "./multi-pack-index-file.js";
import type { PackDirectory } from "./pack-directory.js";
import { readLooseRef } from "./refs/loose-ref.js";
import { finishRemovals, removePacks } from "./remove-packs.js";
import type { SharedRepository } from "./shared-mode.js";
import { readSweepRoots, type SweepRoots } from "./sweep-roots.js";
import { isMultiPackIndexBeingWritten, leaveMultiPackIndex } from "./write-multi-pack-index.js";
import { writeBesidePack } from "./write-side-file.js";

export interface DiskSweepOptions {
  readonly commonDirectory: string;
  readonly refFormat: RefFormat;
  readonly packs: PackDirectory;
  readonly sync: boolean;
  readonly shared: () => Promise<SharedRepository>;
  readonly isPrecious: () => Promise<boolean>;
  readonly snapshot: () => Promise<Snapshot>;
  readonly openQuarantine: () => Promise<DiskQuarantine>;
  /** The name of a repository that borrows from this one; undefined: nobody can know. */
  readonly findBorrower: (() => Promise<string | undefined>) | undefined;
}

const MTIMES_BYTES_MAX = 2 ** 31 - 1;
/** A push that takes longer has been killed (`leftovers.ts`). */
const PUSH_MS_MAX = 24 * 60 * 60 * 1000;

/** @throws storage/io, storage/not-found */
export async function beginDiskSweep(options: DiskSweepOptions): Promise<SweepBeginning> {
  const { commonDirectory, packs } = options;
  if (await options.isPrecious())
    return { kind: "impossible", why: "extensions.preciousObjects says that no object may go" };
  // It may name any pack.
  if (await isMultiPackIndexBeingWritten(packs.path)) return { kind: "left to others" };
  const unlock = await lockMaintenance(commonDirectory, { shared: await options.shared() });
  if (unlock === undefined) return { kind: "left to others" };
  const taken: (() => Promise<void> | void)[] = [unlock];
  try {
    await finishRemovals(packs.path, { olderThanMs: 0 });
    await packs.refresh();
    const why = await findHindrance(options);
    if (why !== undefined) return { kind: "impossible", why };
    const names = await freeNames(packs);
    // In this order: what the lists have, refs that are read later lead to, or nobody's.
    const { objectFormat } = packs;
    const loose = await listLooseFiles(`${commonDirectory}/objects`, objectFormat);
    const snapshot = await options.snapshot();
    taken.unshift(() => snapshot.release());
    const broken = brokenRef(options, snapshot);
    if (broken !== undefined) return { kind: "impossible", why: `the ref ${broken} is broken` };
    const roots = await readSweepRoots({ ...options, objectFormat });
    const quarantine = await options.openQuarantine();
    taken.unshift(() => quarantine.discard());
    const swept = await sweepPacks(packs, names, snapshot);
    const work = new DiskSweep(options, {
      packs: swept,
      held: heldPacks(packs, swept, snapshot),
      modifiedMs: new Map(swept.map(({ pack }) => [pack, names.get(pack.name) as number])),
      loose,
      snapshot,
      roots,
      quarantine,
      taken: [...taken],
    });
    taken.length = 0;
    return { kind: "begun", work };
  } finally {
    await giveBackAll(taken);
  }
}

/** All of it, in order, whatever fails. @throws the first error */
async function giveBackAll(taken: readonly (() => Promise<void> | void)[]): Promise<void> {
  const [first, ...rest] = taken;
  try {
    await first?.();
  } finally {
    if (rest.length > 0) await giveBackAll(rest);
  }
}

async function findHindrance({ commonDirectory, packs }: DiskSweepOptions): Promise<string | undefined> {
  for (const name of packs.names)
    if (name.endsWith(".promisor"))
      return "it has objects from a promisor, and others that only that one has";
  const [damaged] = packs.broken;
  if (damaged !== undefined) return `the pack ${damaged[0]} cannot be used: ${damaged[1]}`;
  if (packs.brokenMultiPackIndex !== undefined || packs.names.has(`${MULTI_PACK_INDEX}.d`))
    return "its multi-pack-index is not understood";
  if ((await readStamp(`${commonDirectory}/info/grafts`)) !== undefined)
    return "grafts change what commits say";
  return undefined;
}

/** A symbolic ref that leads nowhere is no harm: nothing is lost by it. */
function brokenRef({ commonDirectory }: DiskSweepOptions, { refs, objects }: Snapshot): string | undefined {
  return refs.broken.find((name) => {
    const value = readLooseRef(`${commonDirectory}/${name}`, name, objects.objectFormat);
    return value === undefined || value === "directory" || value.kind !== "symbolic";
  });
}

/** Packs that may go, by name, and when each was written or made young. */
async function freeNames(directory: PackDirectory): Promise<ReadonlyMap<string, number>> {
  const { names } = directory;
  const free = new Map<string, number>();
  for (const [name, { pack }] of directory.filesByName()) {
    if (name !== `pack-${pack.index.packTrailer}` || pack.index.version !== 2) continue;
    const stamp = names.has(`${name}.keep`) ? undefined : await readStamp(`${directory.path}/${name}.pack`);
    if (stamp !== undefined) free.set(name, stamp.modifiedMs);
  }
  return free;
}

/** As they are open in the snapshot. */
async function sweepPacks(
  directory: PackDirectory,
  names: ReadonlyMap<string, number>,
  { objects }: Snapshot,
): Promise<SweepPack[]> {
  const open = new Set(objects.packs);
  const found: SweepPack[] = [];
  for (const [name, { pack }] of directory.filesByName())
    if (names.has(name) && open.has(pack))
      found.push({ pack, mtimes: await readMtimes(`${directory.path}/${name}`, pack) });
  return found;
}

function heldPacks(directory: PackDirectory, swept: readonly SweepPack[], { objects }: Snapshot): Pack[] {
  const free = new Set(swept.map(({ pack }) => pack));
  const own = new Set(directory.files.map(({ pack }) => pack));
  return objects.packs.filter((pack) => own.has(pack) && !free.has(pack));
}

/** @param stem its path without ending. undefined: it is none of unreachable objects, or nobody knows since when they are that */
export async function readMtimes(stem: string, pack: Pack): Promise<Uint32Array | undefined> {
  const bytes = await readSmallFile(`${stem}.mtimes`, MTIMES_BYTES_MAX);
  if (bytes === undefined) return undefined;
  try {
    return parsePackMtimes(bytes, pack.index);
  } catch (error) {
    if (!isGitwharfError(error, "pack/bad-index")) throw error;
    return undefined;
  }
}

interface SweepParts {
  readonly packs: readonly SweepPack[];
  readonly held: readonly Pack[];
  /** When each was written or made young, as it was found. */
  readonly modifiedMs: ReadonlyMap<Pack, number>;
  readonly loose: readonly ObjectId[];
  /** Taken over. */
  readonly snapshot: Snapshot;
  readonly roots: SweepRoots;
  /** Taken over. */
  readonly quarantine: DiskQuarantine;
  /** What is given back at the end, in this order: the two above and the lock. */
  readonly taken: readonly (() => Promise<void> | void)[];
}

class DiskSweep implements SweepWork {
  readonly nowMs = Date.now();
  readonly #options: DiskSweepOptions;
  readonly #parts: SweepParts;
  #releasing: Promise<void> | undefined;

  constructor(options: DiskSweepOptions, parts: SweepParts) {
    this.#options = options;
    this.#parts = parts;
  }

  get snapshot(): Snapshot {
    return this.#parts.snapshot;
  }

  get packs(): readonly SweepPack[] {
    return this.#parts.packs;
  }

  get held(): readonly Pack[] {
    return this.#parts.held;
  }

  get loose(): readonly ObjectId[] {
    return this.#parts.loose;
  }

  get roots(): readonly ObjectId[] {
    return this.#parts.roots.roots;
  }

  get rawRoots(): readonly Uint8Array[] {
    return this.#parts.roots.rawRoots;
  }

  async whyKept(): Promise<string | undefined> {
    const { findBorrower } = this.#options;
    if (findBorrower === undefined) return "nobody knows who borrows objects from it";
    const name = await findBorrower();
    return name === undefined ? undefined : `'${name}' borrows objects from it`;
  }

  createPack(): Promise<PackSink> {
    return this.#parts.quarantine.createPack();
  }

  async replace(change: SweepChange): Promise<SweepReplacement> {
    const { packs: directory, commonDirectory } = this.#options;
    const stand = [change.needed, change.unneeded?.pack, ...change.removed].filter((pack) =>
      this.packs.some((each) => each.pack === pack),
    );
    for (const pack of stand) if (pack !== undefined && !(await this.#isThere(pack))) return "changed";
    const { quarantine } = this.#parts;
    await quarantine.publish();
    const own = quarantine.publishedNames;
    // (Where another file stood under its name, a new one has got another and is what it shall be.)
    const isHere = (pack: Pack): boolean => own.has(pack.name) || stand.includes(pack);
    const { needed, unneeded } = change;
    if (needed !== undefined && isHere(needed))
      await unlinkIfThere(`${directory.path}/${needed.name}.mtimes`);
    if (unneeded !== undefined && isHere(unneeded.pack)) await this.#mark(unneeded.pack, unneeded.mtimes);
    await directory.refresh();
    const mayDrop = change.dropping === undefined || (await this.#mayStillDrop(change));
    const going = change.removed
      .filter((pack) => mayDrop || change.dropping?.has(pack) !== true)
      .map(({ name }) => name)
      .filter((name) => !own.has(name) && !directory.names.has(`${name}.keep`));
    if (going.length > 0 && !(await leaveMultiPackIndex(directory.path, going))) return "changed";
    await removePacks(directory.path, going);
    if (mayDrop) await removeLooseFiles(`${commonDirectory}/objects`, change.removedLoose);
    await directory.refresh();
    return mayDrop ? "replaced" : "kept";
  }

  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<void> {
    await giveBackAll(this.#parts.taken);
  }

  async #isThere({ name }: Pack): Promise<boolean> {
    for (const ending of [".pack", ".idx"])
      if ((await readStamp(`${this.#options.packs.path}/${name}${ending}`)) === undefined) return false;
    return true;
  }

  async #mayStillDrop({ dropping, mayStillDrop }: SweepChange): Promise<boolean> {
    const { packs: directory, commonDirectory, snapshot: take } = this.#options;
    // Who is to write an object that stands in a pack makes the pack young instead.
    for (const pack of dropping ?? []) {
      const stamp = await readStamp(`${directory.path}/${pack.name}.pack`);
      if (stamp === undefined || stamp.modifiedMs !== this.#parts.modifiedMs.get(pack)) return false;
    }
    // Before refs are read: what has ended by then shows in them.
    if (this.#hasNewKeep() || (await isPushUnderWay(`${commonDirectory}/objects`))) return false;
    const snapshot = await take();
    try {
      if (brokenRef(this.#options, snapshot) !== undefined) return false;
      const { objectFormat } = directory;
      const { roots, rawRoots } = await readSweepRoots({ ...this.#options, objectFormat });
      // What stands in them was looked for in the plan.
      if (!sameBytes(rawRoots, this.rawRoots)) return false;
      if (!(await mayStillDrop({ snapshot, roots }))) return false;
    } finally {
      snapshot.release();
    }
    // Commits that it knows may go.
    return dropCommitGraph(`${commonDirectory}/objects`);
  }

  /** A push that has come since the lists were made, whose refs have not moved yet. */
  #hasNewKeep(): boolean {
    const { packs: directory } = this.#options;
    const known = new Set([...this.held.map(({ name }) => name), ...this.#parts.quarantine.publishedNames]);
    for (const [name] of directory.filesByName())
      if (directory.names.has(`${name}.keep`) && !known.has(name)) return true;
    return false;
  }

  /** One of unreachable objects: without a bitmap, which is for others. */
  async #mark({ name }: Pack, mtimes: Uint8Array): Promise<void> {
    const { packs: directory, sync } = this.#options;
    const stem = `${directory.path}/${name}`;
    await unlinkIfThere(`${stem}.bitmap`);
    const known = await readSmallFile(`${stem}.mtimes`, MTIMES_BYTES_MAX);
    if (known?.equals(mtimes) === true) return;
    await writeBesidePack(stem, ".mtimes", mtimes, { sync, shared: await this.#options.shared() });
  }
}

/**
 * Ours or git's. What it has found to be there it may hold open still, and its refs move later, when its hooks have ended: an object
 * that goes meanwhile would be missing.
 */
async function isPushUnderWay(objectsDirectory: string): Promise<boolean> {
  try {
    for (const name of await readdir(objectsDirectory)) {
      if (!name.startsWith(QUARANTINE_PREFIX)) continue;
      const stamp = await readStamp(`${objectsDirectory}/${name}`);
      if (stamp !== undefined && Date.now() - stamp.modifiedMs < PUSH_MS_MAX) return true;
    }
    return false;
  } catch (cause) {
    throw ioError("listing", objectsDirectory, cause);
  }
}

function sameBytes(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((bytes, i) => Buffer.compare(bytes, b[i] as Uint8Array) === 0);
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    if (!isAbsent(cause)) throw ioError("removing", path, cause);
  }
}
