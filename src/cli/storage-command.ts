/**
 * `gitwharf storage …`: what servers of an object store do in the background (`janitor`, `gc`, `witness`), now and for all of its repositories; and a
 * lost database made again (`rebuild`).
 */
import { Command } from "commander";
import type { RebuildReport } from "../storage/object-store/witnesses/rebuild.js";
import { auditedChange, type AuditFlags, withAuditOption } from "./audited-change.js";
import { fail } from "./failure.js";
import {
  locateObjectStorage,
  type ObjectStorageFlags,
  progressOf,
  stopSignal,
  withObjectStorage,
  withStorageOptions,
} from "./object-storage.js";
import { garbageCommand } from "./storage-gc-command.js";

export function storageCommand(): Command {
  return new Command("storage")
    .description("Look after the object store.")
    .addCommand(janitorCommand())
    .addCommand(garbageCommand())
    .addCommand(witnessCommand())
    .addCommand(rebuildCommand());
}

function janitorCommand(): Command {
  return withStorageOptions(new Command("janitor"))
    .description(
      "Remove what no repository of the object store needs any more, as servers do in the background. Safe while it is served.",
    )
    .action(async (flags: ObjectStorageFlags) => {
      const {
        failures,
        next: _next,
        ...counts
      } = await withObjectStorage(flags, (store) => store.clean({ signal: stopSignal() }));
      print(flags, counts, failures);
    });
}

function witnessCommand(): Command {
  return withStorageOptions(new Command("witness"))
    .description(
      "Write into the bucket what has changed in the database, as servers do in the background. Safe while it is served.",
    )
    .action(async (flags: ObjectStorageFlags) => {
      const { failures, ...counts } = await withObjectStorage(flags, (store) =>
        store.writeWitnesses({ signal: stopSignal() }),
      );
      print(flags, counts, failures);
    });
}

function print(
  { json }: ObjectStorageFlags,
  counts: Readonly<Record<string, number>>,
  failures: readonly { readonly what: string; readonly error: unknown }[],
): void {
  const failed = failures.map(
    ({ what, error }) => `${what}: ${error instanceof Error ? error.message : String(error)}`,
  );
  if (json === true)
    process.stdout.write(`${JSON.stringify({ ...counts, failures: failed }, undefined, 2)}\n`);
  else printCounts(counts);
  for (const text of failed) fail(text);
}

interface RebuildFlags extends ObjectStorageFlags, AuditFlags {
  readonly deep?: boolean;
}

function rebuildCommand(): Command {
  return withAuditOption(withStorageOptions(new Command("rebuild")))
    .description(
      "Make a lost database again from what the bucket tells of it: into an empty one, while no server runs. Exits with 1 when something could not be restored.",
    )
    .option("--deep", "read and hash all packs, too")
    .action(async ({ deep, ...flags }: RebuildFlags) => {
      const { rebuildObjectStorage } = await import("../server/object-storage.js");
      const { options, place } = await locateObjectStorage(flags);
      const report = await auditedChange<RebuildReport>(flags, {
        entry: { event: "storage-rebuild", details: { bucket: place } },
        make: () =>
          rebuildObjectStorage({
            ...options,
            deep,
            signal: stopSignal("stopped: begin it again, and it goes on"),
            onProgress: (what, done, total) => progressOf(what)?.(done, total),
          }),
      });
      const { findings, ...counts } = report;
      if (flags.json === true) process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
      else {
        for (const { kind, repository, message } of findings)
          process.stdout.write(`${kind}: ${repository}: ${message}\n`);
        printCounts(counts);
      }
      if (findings.some(({ kind }) => kind === "loss")) process.exitCode = 1;
    });
}

function printCounts(counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) process.stdout.write(`${labelOf(name)}: ${count}\n`);
}

/** `packsDropped`: "packs dropped" */
function labelOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
