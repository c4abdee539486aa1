/**
 * What a server does for its repositories by itself: after a push, folds packs when there are too many, collects garbage when enough
 * was pushed, and looks after all else that is due where git works on the same files (`upkeep-due.ts`); makes bundles where it is
 * to. Never on the way of a request, one repository at a time, and a failure is told to the log only.
 */
import { isGitwharfError } from "../../base/errors.js";
import type { PackMaintenance } from "../../storage/contracts/pack-maintenance.js";
import type { Repository, RepositoryStore } from "../../storage/contracts/repository.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";
import { collectGarbage } from "./collect-garbage.js";
import { collectionDue } from "./collection-due.js";
import { foldPacks } from "./fold-packs.js";
import { runUpkeepTask } from "./run-upkeep.js";
import { dueTasks, type UpkeepTask, UPKEEP_TASKS } from "./upkeep-due.js";

export interface BackgroundMaintenance {
  /** Somebody has pushed: looks after the repository soon. Never throws, never waits. */
  afterPush(name: string): void;
  /** Resolves when nothing is left to do but what waits until nobody pushes. */
  settled(): Promise<void>;
  /** Begins nothing any more, ends what runs at its next step and waits for that. Idempotent. */
  close(): Promise<void>;
}

export interface BackgroundMaintenanceOptions {
  readonly store: Pick<RepositoryStore, "open" | "unattended">;
  /** About so often those are looked after that nobody pushes to, if the store knows of any. @default 1 hour */
  readonly everyMs?: number;
  /** What can wait until it is quiet is collected when nobody has pushed here for so long. @default 1 minute */
  readonly quietMs?: number;
  readonly settingsOf: (repository: Repository) => Promise<RepositorySettings>;
  readonly onFolded?: (about: {
    readonly name: string;
    readonly packCount: number;
    readonly objectCount: number;
  }) => void;
  readonly onCollected?: (about: {
    readonly name: string;
    readonly reachable: number;
    readonly dropped: number;
  }) => void;
  /** Something else was done. @param about.text one line */
  readonly onUpkeep?: (about: {
    readonly name: string;
    readonly task: UpkeepTask;
    readonly text: string;
  }) => void;
  /** How a repository stands is looked at no more often. @default a minute */
  readonly surveyEveryMs?: number;
  readonly onFailure: (name: string, error: unknown) => void;
  /** @default none are made */
  readonly makeBundle?:
    | ((repository: Repository, settings: RepositorySettings, signal: AbortSignal) => Promise<unknown>)
    | undefined;
}

/** Where it failed it is left alone for so long: a full disk does not mend itself. */
const PAUSE_MS = 10 * 60 * 1000;
const PAUSED_MAX = 1000;
const EVERY_MS = 60 * 60 * 1000;
const SURVEY_EVERY_MS = 60 * 1000;
/** With `gc.pruneExpire = now`: others write objects that their refs do not name yet, and nobody has asked for this moment. */
const GRACE_MIN_MS = 60 * 60 * 1000;
const SURVEYED_MAX = 1000;
const QUIET_MS = 60 * 1000;
/** Repositories that are waited for at once. Where there are more, the next push to them looks again. */
const PUT_OFF_MAX = 1000;

export function createBackgroundMaintenance(options: BackgroundMaintenanceOptions): BackgroundMaintenance {
  /** And whether nobody has pushed to them for a while. */
  const waiting = new Map<string, boolean>();
  /** Until when, on the clock of `performance.now()`. */
  const paused = new Map<string, number>();
  const putOff = new Map<string, NodeJS.Timeout>();
  const { store, everyMs = EVERY_MS, quietMs = QUIET_MS } = options;
  const closing = new AbortController();
  let running: Promise<void> | undefined;

  /** When how they stand was looked at last, on the same clock. */
  const surveyed = new Map<string, number>();

  const pause = (name: string): void => {
    remember(paused, name, performance.now() + PAUSE_MS, PAUSED_MAX);
  };

  const lookWhenQuiet = (name: string): void => {
    clearTimeout(putOff.get(name));
    putOff.delete(name);
    if (closing.signal.aborted || putOff.size >= PUT_OFF_MAX) return;
    const quiet = setTimeout(() => {
      putOff.delete(name);
      lookAfterSoon(name, true);
    }, quietMs);
    quiet.unref();
    putOff.set(name, quiet);
  };

  const lookAfterPacks = async (
    name: string,
    isQuiet: boolean,
    repository: Repository,
    settings: RepositorySettings,
  ): Promise<void> => {
    const packs = repository.packMaintenance;
    if (packs === undefined) return;
    const limit = packLimitOf(settings);
    if (limit === Number.POSITIVE_INFINITY) return;
    const { garbage } = packs;
    const limits = { packLimit: limit, graceMs: garbage?.graceMs ?? 0 };
    const due = garbage === undefined ? "not yet" : collectionDue(await garbage.survey(), limits);
    if (due === "when quiet" && !isQuiet) lookWhenQuiet(name);
    else if (garbage !== undefined && due !== "not yet") {
      const outcome = await collectGarbage(garbage, { signal: closing.signal });
      if (outcome.kind === "collected") options.onCollected?.({ name, ...outcome });
      return;
    }
    if ((await packs.countFoldable()) > limit) await fold(name, packs);
  };

  const fold = async (name: string, packs: PackMaintenance): Promise<void> => {
    const outcome = await foldPacks(packs, { signal: closing.signal });
    if (outcome.kind !== "folded") return;
    for (const error of outcome.damage) options.onFailure(name, error);
    options.onFolded?.({ name, ...outcome });
  };

  /** Where git works on the same files. */
  const lookAfterFiles = async (
    name: string,
    repository: Repository,
    settings: RepositorySettings,
  ): Promise<void> => {
    const { upkeep, packMaintenance: packs } = repository;
    if (upkeep === undefined || packs === undefined) return;
    if (packLimitOf(settings) === Number.POSITIVE_INFINITY) return;
    const look = async (): Promise<ReadonlySet<UpkeepTask>> => {
      const survey = await upkeep.survey();
      return new Set(dueTasks(survey, settings, await packs.countFoldable()).map(({ task }) => task));
    };
    const now = performance.now();
    const isRecent = now - (surveyed.get(name) ?? -Infinity) < (options.surveyEveryMs ?? SURVEY_EVERY_MS);
    if (isRecent && (await packs.countFoldable()) <= settings.gc.autoPackLimit) return;
    remember(surveyed, name, now, SURVEYED_MAX);
    let due = await look();
    for (const task of UPKEEP_TASKS) {
      if (!due.has(task)) continue;
      try {
        if (task === "fold") {
          await fold(name, packs);
          continue;
        }
        const { kind, text, damage } = await runUpkeepTask(task, repository, {
          signal: closing.signal,
          graceMinMs: GRACE_MIN_MS,
        });
        for (const error of damage) options.onFailure(name, error);
        if (kind !== "done") continue;
        options.onUpkeep?.({ name, task, text });
      } catch (error) {
        if (closing.signal.aborted || isGitwharfError(error, "storage/not-found")) throw error;
        // Where garbage cannot be collected, since an object is missing, packs are to be folded all the same.
        pause(name);
        options.onFailure(name, error);
        continue;
      }
      due = await look();
    }
  };

  const lookAfter = async (name: string, isQuiet: boolean): Promise<void> => {
    let repository: Repository | undefined;
    try {
      repository = await options.store.open(name);
      if (repository === undefined) return;
      const settings = await options.settingsOf(repository);
      if (repository.upkeep === undefined) await lookAfterPacks(name, isQuiet, repository, settings);
      else await lookAfterFiles(name, repository, settings);
      await options.makeBundle?.(repository, settings, closing.signal);
    } catch (error) {
      if (closing.signal.aborted) return;
      // It was deleted meanwhile: nobody's trouble.
      if (isGitwharfError(error, "storage/not-found")) return;
      pause(name);
      options.onFailure(name, error);
    } finally {
      await repository?.close().catch(() => undefined);
    }
  };

  const run = async (): Promise<void> => {
    // The push's own request ends first.
    await new Promise((resolve) => setImmediate(resolve));
    for (const [name, isQuiet] of waiting) {
      waiting.delete(name);
      if (closing.signal.aborted) break;
      await lookAfter(name, isQuiet);
    }
    running = undefined;
  };

  const lookAfterSoon = (name: string, isQuiet = false): void => {
    if (closing.signal.aborted || (paused.get(name) ?? 0) > performance.now()) return;
    waiting.set(name, isQuiet && waiting.get(name) !== false);
    running ??= run();
  };

  let timer: NodeJS.Timeout | undefined;
  let asking: Promise<void> | undefined;
  const askForUnattended = async (): Promise<void> => {
    try {
      for await (const name of store.unattended?.() ?? []) {
        if (closing.signal.aborted) return;
        lookAfterSoon(name);
      }
    } catch {
      // The database is away, which others tell of: they are asked for again.
    }
  };
  const wait = (): void => {
    // At random, so that servers which were started together do not ask together.
    timer = setTimeout(
      () => {
        asking = askForUnattended().then(() => {
          if (!closing.signal.aborted) wait();
        });
      },
      everyMs * (0.8 + Math.random() * 0.4),
    );
    timer.unref();
  };
  if (store.unattended !== undefined) wait();

  return {
    afterPush: (name) => lookAfterSoon(name),
    async settled() {
      while (running !== undefined) await running;
    },
    async close() {
      closing.abort();
      clearTimeout(timer);
      for (const quiet of putOff.values()) clearTimeout(quiet);
      putOff.clear();
      await asking;
      waiting.clear();
      await running;
    },
  };
}

function remember(times: Map<string, number>, name: string, time: number, countMax: number): void {
  times.delete(name);
  times.set(name, time);
  for (const oldest of times.keys()) {
    if (times.size <= countMax) break;
    times.delete(oldest);
  }
}

/** More packs than this are folded. */
function packLimitOf({ gc, receive }: RepositorySettings): number {
  const isOff = !receive.autoGc || gc.auto <= 0 || gc.autoPackLimit <= 0;
  return isOff ? Number.POSITIVE_INFINITY : gc.autoPackLimit;
}
