/** `gitwharf history NAME`: the states that a repository was in, newest first. */
import { Command } from "commander";
import type { Generation } from "../storage/object-store/past-states.js";
import {
  type ObjectStorageFlags,
  parseWhole,
  withObjectStorage,
  withStorageOptions,
} from "./object-storage.js";
import { printList, timeText } from "./print-list.js";

interface HistoryFlags extends ObjectStorageFlags {
  readonly before?: number;
  readonly limit: number;
}

const ROOT_CHARACTERS = 12;

export function historyCommand(): Command {
  return withStorageOptions(new Command("history"))
    .description("The states that a repository in the object store was in, newest first.")
    .argument("<name>", "the repository's name")
    .option("--before <generation>", "only those before this one", parseWhole)
    .option("-n, --limit <number>", "at most so many", parseWhole, 100)
    .action(async (name: string, { before, limit, ...flags }: HistoryFlags) => {
      const generations = await withObjectStorage(flags, (store) =>
        store.history(name, { limit, ...(before === undefined ? {} : { before }) }),
      );
      const isJson = flags.json === true;
      printList(
        generations.map((generation) => ({
          ...generation,
          time: timeText(generation.timeMs),
          ...(isJson ? {} : { root: generation.root.slice(0, ROOT_CHARACTERS), what: textOf(generation) }),
        })),
        { json: isJson, columns: ["generation", "time", "root", "kind", "what"] },
      );
    });
}

function textOf({ about }: Generation): string | undefined {
  const { who, refs = [], otherRefs, restored } = about;
  const words = [
    ...(restored === undefined ? [] : [`generation ${restored}`]),
    ...refs,
    ...(otherRefs === undefined ? [] : [`and ${otherRefs} more`]),
    ...(who === undefined ? [] : [`by ${who}`]),
  ];
  return words.length === 0 ? undefined : words.join(" ");
}
