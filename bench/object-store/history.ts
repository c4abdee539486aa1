/** The generated history that is pushed, cloned and fetched, and the packs in which a client would send it. */
import { join } from "node:path";
import { git, makeGeneratedRepository, makePack } from "../data.js";

export interface History {
  /** Of the bare repository that it is made in. */
  readonly path: string;
  readonly objectCount: number;
  readonly tip: string;
  /** One commit before. */
  readonly before: string;
  /** All but the last commit, and that one. */
  readonly firstPack: Buffer;
  readonly lastPack: Buffer;
}

export type HistorySize = "small" | "large";

/** About 1,000 and 100,000 objects. */
const COMMITS: Readonly<Record<HistorySize, number>> = { small: 96, large: 9200 };

export function makeHistory(work: string, size: HistorySize): History {
  const path = join(work, "generated.git");
  makeGeneratedRepository(path, COMMITS[size]);
  const tip = git(path, "rev-parse", "main");
  const before = git(path, "rev-parse", "main~1");
  return {
    path,
    objectCount: Number(git(path, "rev-list", "--objects", "--count", "--all")),
    tip,
    before,
    firstPack: makePack(path, before, undefined),
    lastPack: makePack(path, tip, before),
  };
}
