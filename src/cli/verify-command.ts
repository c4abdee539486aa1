/** `gitwharf verify NAME [--deep]`: is all of it there, byte for byte? Exits with 1 when it is not. */
import { Command } from "commander";
import type { Verification } from "../storage/object-store/verify-state.js";
import {
  type ObjectStorageFlags,
  progressOf,
  stopSignal,
  withObjectStorage,
  withStorageOptions,
} from "./object-storage.js";

interface VerifyFlags extends ObjectStorageFlags {
  readonly deep?: boolean;
}

export function verifyCommand(): Command {
  return withStorageOptions(new Command("verify"))
    .description(
      "Compare all that a repository's root names with its hash: nodes, packs, indexes. Exits with 1 when something is wrong.",
    )
    .argument("<name>", "the repository's name")
    .option("--deep", "read every object as well, and look whether all is there that refs lead to")
    .action(async (name: string, { deep, ...flags }: VerifyFlags) => {
      const seen = await withObjectStorage(flags, (store) =>
        store.verify(name, { deep, signal: stopSignal(), onProgress: progressOf("Reading the bucket") }),
      );
      if (flags.json === true) process.stdout.write(`${JSON.stringify(seen, undefined, 2)}\n`);
      else {
        for (const { what, message } of seen.findings) process.stdout.write(`${what}: ${message}\n`);
        process.stdout.write(`${summaryOf(seen)}\n`);
      }
      if (seen.findings.length > 0) process.exitCode = 1;
    });
}

function summaryOf(seen: Verification): string {
  const { findings, nodes, refs, packs, bucketObjects, bucketBytes, objects } = seen;
  const count = findings.length;
  const verdict = count === 0 ? "ok" : `${count} ${count === 1 ? "finding" : "findings"}`;
  const inside = objects === undefined ? "" : `, ${objects} objects of Git`;
  return (
    `${seen.repository}: ${verdict}: generation ${seen.generation}, root ${seen.root}\n` +
    `${nodes} nodes, ${refs} refs, ${packs} packs, ${bucketObjects} objects of the bucket with ${bucketBytes} bytes${inside}`
  );
}
