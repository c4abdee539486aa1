/** `gitwharf storage gc`: what servers of an object store do after pushes, now, for one of its repositories or for all. */
import { Command } from "commander";
import type { CollectionOutcome, CollectionProgress } from "../engine/maintenance/collect-garbage.js";
import type { ObjectStorage } from "../server/object-storage.js";
import { fail } from "./failure.js";
import {
  type ObjectStorageFlags,
  parseWhole,
  progressOf,
  stopSignal,
  withObjectStorage,
  withStorageOptions,
} from "./object-storage.js";

interface GarbageFlags extends ObjectStorageFlags {
  readonly grace?: number;
}

export function garbageCommand(): Command {
  return withStorageOptions(new Command("gc"))
    .description(
      "Put what refs lead to into packs of its own, and drop what has led nowhere for long enough. Safe while it is served.",
    )
    .argument("[repository]", "all of them, when none is named")
    .option("--grace <seconds>", "keep unreachable objects for so long  [default: a day]", parseWhole)
    .action(async (repository: string | undefined, flags: GarbageFlags) => {
      const signal = stopSignal();
      const outcomes = await withObjectStorage(flags, async (store) => {
        const done: ({ repository: string } & (CollectionOutcome | Failed))[] = [];
        for await (const name of repository === undefined ? store.list() : [repository]) {
          const outcome = await collect(store, name, flags, signal);
          if (flags.json !== true) process.stdout.write(`${name}: ${sentenceOf(outcome)}\n`);
          done.push({ repository: name, ...outcome });
          signal.throwIfAborted();
        }
        return done;
      });
      if (flags.json === true) process.stdout.write(`${JSON.stringify(outcomes, undefined, 2)}\n`);
      for (const outcome of outcomes)
        if (outcome.kind === "failed") fail(`${outcome.repository}: ${outcome.message}`);
    });
}

interface Failed {
  readonly kind: "failed";
  readonly message: string;
}

/** One that fails does not keep the others from being done. */
async function collect(
  store: ObjectStorage,
  name: string,
  { grace }: GarbageFlags,
  signal: AbortSignal,
): Promise<CollectionOutcome | Failed> {
  const progress = progressOf(`${name}: writing packs`);
  const onProgress = ({ step, doneBytes, totalBytes }: CollectionProgress): void => {
    if (step === "writing") progress?.(doneBytes, totalBytes);
  };
  try {
    const graceMs = grace === undefined ? undefined : grace * 1000;
    return await store.collectGarbage(name, { graceMs, signal, onProgress });
  } catch (error) {
    if (signal.aborted) throw error;
    return { kind: "failed", message: error instanceof Error ? error.message : String(error) };
  }
}

function sentenceOf(outcome: CollectionOutcome | Failed): string {
  switch (outcome.kind) {
    case "collected": {
      const { reachable, unreachable, dropped, packsBefore, packsAfter } = outcome;
      return (
        `${reachable} objects are reachable, ${dropped} others have gone, ${unreachable} stay for a while; ` +
        `${packsAfter} packs instead of ${packsBefore}`
      );
    }
    case "failed":
      return "it could not be done";
    default:
      return outcome.kind;
  }
}
