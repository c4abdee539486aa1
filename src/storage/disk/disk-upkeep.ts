/** Looking after a repository on disk beside requests, and beside git: see `contracts/upkeep.ts`. */
import type { Snapshot } from "../contracts/repository.js";
import type { RefStore } from "../contracts/ref-store.js";
import type { Upkeep } from "../contracts/upkeep.js";
import { beginDiskLoosePacking } from "./disk-loose-packing.js";
import { beginDiskSweep, type DiskSweepOptions } from "./disk-sweep.js";
import { SurveyDirectory } from "./survey-directory.js";
import type { ObjectDirectory } from "./object-directory.js";
import { changeUpkeepNotes } from "./upkeep-notes.js";

export interface DiskUpkeepOptions extends Omit<DiskSweepOptions, "packs"> {
  readonly objects: ObjectDirectory;
  readonly refs: RefStore;
  readonly snapshot: () => Promise<Snapshot>;
  /** `gc.pruneExpire`. */
  readonly graceMs: () => Promise<number>;
}

/** Names of packs are remembered up to here; of more it is not known what the last sweep has seen. */
const SWEPT_MAX = 1000;

export function createDiskUpkeep(options: DiskUpkeepOptions): Upkeep {
  const { commonDirectory, objects, refs } = options;
  const { packs } = objects;
  const directory = new SurveyDirectory({ commonDirectory, objects, refs });
  return {
    survey: (wanted) => directory.survey(wanted?.exact === true),
    beginSweep: () => beginDiskSweep({ ...options, packs }),
    beginPackingLoose: () => beginDiskLoosePacking({ ...options, packs }),
    async noteRun(task, run) {
      const isSweep = task === "gc";
      let expiresMs: number | undefined;
      const swept = new Set<string>();
      if (isSweep) {
        try {
          const { oldestMs } = (await directory.survey(false)).packs.cruft;
          const graceMs = await options.graceMs();
          if (oldestMs !== undefined && Number.isFinite(graceMs)) expiresMs = oldestMs + graceMs;
          for (const [name] of packs.filesByName()) if (swept.size < SWEPT_MAX) swept.add(name);
        } catch {
          // It is noted as well as may be.
        }
      }
      await changeUpkeepNotes(commonDirectory, (notes) => ({
        runs: new Map([...notes.runs, [task, run]]),
        swept: isSweep ? swept : notes.swept,
        expiresMs: isSweep ? expiresMs : notes.expiresMs,
      }));
    },
  };
}
