/** `gitwharf storage janitor`: what servers of an object store do in the background, now and for all of its repositories. */
import { Command } from "commander";
import {
  type ObjectStorageFlags,
  stopSignal,
  withObjectStorage,
  withStorageOptions,
} from "./object-storage.js";
import { fail } from "./failure.js";

export function storageCommand(): Command {
  const janitor = withStorageOptions(new Command("janitor"))
    .description(
      "Remove what no repository of the object store needs any more, as servers do in the background. Safe while it is served.",
    )
    .action(async (flags: ObjectStorageFlags) => {
      const {
        failures,
        next: _next,
        ...counts
      } = await withObjectStorage(flags, (store) => store.clean({ signal: stopSignal() }));
      const failed = failures.map(
        ({ what, error }) => `${what}: ${error instanceof Error ? error.message : String(error)}`,
      );
      if (flags.json === true)
        process.stdout.write(`${JSON.stringify({ ...counts, failures: failed }, undefined, 2)}\n`);
      else
        for (const [name, count] of Object.entries(counts))
          process.stdout.write(`${labelOf(name)}: ${count}\n`);
      for (const text of failed) fail(text);
    });
  return new Command("storage").description("Look after the object store.").addCommand(janitor);
}

/** `packsDropped`: "packs dropped" */
function labelOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
