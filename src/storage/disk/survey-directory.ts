/** How a repository on disk stands: what its directories show, and what was noted of earlier work. */
import type { RefStore } from "../contracts/ref-store.js";
import type { UpkeepSurvey } from "../contracts/upkeep.js";
import { readMtimes } from "./disk-sweep.js";
import { readStamp } from "./file-stamp.js";
import { estimateLooseFiles, listLooseFiles } from "./loose-files.js";
import { maintenanceHolder } from "./maintenance-lock.js";
import { MULTI_PACK_INDEX } from "./multi-pack-index-file.js";
import type { ObjectDirectory } from "./object-directory.js";
import type { PackFile } from "./pack-file.js";
import { readUpkeepNotes, type UpkeepNotes } from "./upkeep-notes.js";

export interface SurveyDirectoryOptions {
  readonly commonDirectory: string;
  readonly objects: ObjectDirectory;
  readonly refs: RefStore;
}

export class SurveyDirectory {
  readonly #options: SurveyDirectoryOptions;
  /** Of packs of unreachable objects, by their open file: it is another when the pack is. */
  #oldest = new Map<PackFile, { readonly stampMs: number; readonly oldestMs: number }>();

  constructor(options: SurveyDirectoryOptions) {
    this.#options = options;
  }

  /** @param exact counts what else is estimated. @throws storage/io, storage/bad-ref */
  async survey(exact: boolean): Promise<UpkeepSurvey> {
    const { commonDirectory, objects, refs } = this.#options;
    await objects.refresh();
    const path = `${commonDirectory}/objects`;
    const { objectFormat } = objects.packs;
    const [notes, commitGraphMs, multiPackIndexMs, heldBy, counts, loose] = await Promise.all([
      readUpkeepNotes(commonDirectory),
      this.#commitGraphMs(),
      modifiedMs(`${path}/pack/${MULTI_PACK_INDEX}`),
      maintenanceHolder(commonDirectory),
      refs.counts?.(),
      exact
        ? listLooseFiles(path, objectFormat).then((oids) => oids.length)
        : estimateLooseFiles(path, objectFormat),
    ]);
    return {
      nowMs: Date.now(),
      packs: await this.#packs(notes, commitGraphMs),
      looseObjects: { count: loose, isExact: exact },
      refs: counts ?? { loose: 0, packed: 0 },
      bitmapMs: await this.#bitmapMs(),
      commitGraphMs,
      multiPackIndexMs,
      alternates: objects.alternatePaths.length,
      runs: notes.runs,
      heldBy,
    };
  }

  async #packs(notes: UpkeepNotes, graphMs: number | undefined): Promise<UpkeepSurvey["packs"]> {
    const { packs } = this.#options.objects;
    const { names } = packs;
    const sum = { count: 0, objects: 0, bytes: 0, kept: 0, newBytes: 0, objectsSinceGraph: 0 };
    const cruft = { count: 0, objects: 0, bytes: 0, oldestMs: undefined as number | undefined };
    let largest: UpkeepSurvey["packs"]["largest"];
    const known = new Map(this.#oldest);
    this.#oldest = new Map();
    for (const [name, file] of packs.filesByName()) {
      const { objectCount, bytes } = file.pack;
      sum.count++;
      sum.objects += objectCount;
      sum.bytes += bytes.sizeBytes;
      if (names.has(`${name}.keep`)) sum.kept++;
      if (names.has(`${name}.mtimes`)) {
        cruft.count++;
        cruft.objects += objectCount;
        cruft.bytes += bytes.sizeBytes;
        const oldestMs = await this.#oldestOf(`${packs.path}/${name}`, file, known);
        if (oldestMs !== undefined) cruft.oldestMs = Math.min(oldestMs, cruft.oldestMs ?? Infinity);
        continue;
      }
      if (!notes.swept.has(name)) sum.newBytes += bytes.sizeBytes;
      if (file.modifiedMs > (graphMs ?? 0)) sum.objectsSinceGraph += objectCount;
      if (objectCount > (largest?.objects ?? 0))
        largest = { name, objects: objectCount, hasBitmap: names.has(`${name}.bitmap`) };
    }
    return { ...sum, cruft, largest, broken: packs.broken };
  }

  /** The file may be written anew while the pack stays. */
  async #oldestOf(
    stem: string,
    file: PackFile,
    known: ReadonlyMap<PackFile, { readonly stampMs: number; readonly oldestMs: number }>,
  ): Promise<number | undefined> {
    const stampMs = await modifiedMs(`${stem}.mtimes`);
    if (stampMs === undefined) return undefined;
    let oldest = known.get(file);
    if (oldest?.stampMs !== stampMs) {
      const mtimes = await readMtimes(stem, file.pack);
      if (mtimes === undefined) return undefined;
      const seconds = mtimes.reduce((least, each) => Math.min(least, each), Infinity);
      oldest = { stampMs, oldestMs: seconds * 1000 };
    }
    this.#oldest.set(file, oldest);
    return oldest.oldestMs;
  }

  async #commitGraphMs(): Promise<number | undefined> {
    const info = `${this.#options.commonDirectory}/objects/info`;
    return (
      (await modifiedMs(`${info}/commit-graph`)) ??
      (await modifiedMs(`${info}/commit-graphs/commit-graph-chain`))
    );
  }

  async #bitmapMs(): Promise<number | undefined> {
    const { packs } = this.#options.objects;
    let last: number | undefined;
    for (const name of packs.names) {
      if (!name.endsWith(".bitmap")) continue;
      const ms = await modifiedMs(`${packs.path}/${name}`);
      if (ms !== undefined) last = Math.max(ms, last ?? 0);
    }
    return last;
  }
}

async function modifiedMs(path: string): Promise<number | undefined> {
  return (await readStamp(path))?.modifiedMs;
}
