/** The worker's side of a fold. */
import { openByteRange } from "../../base/byte-range.js";
import { invariant } from "../../base/errors.js";
import { hashBytes } from "../../object/object-format.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import { formatPackIndex } from "../../pack/pack-index-writer.js";
import { formatReverseIndex } from "../../pack/reverse-index.js";
import { copyEntries } from "./copy-entries.js";
import { type FoldPlan, planFold } from "./fold-plan.js";
import type { FoldTask, IndexFoldAnswer, IndexFoldTask, PlanFoldTask } from "./fold-task.js";

export default function runFoldTask(task: FoldTask): FoldPlan | Uint8Array | IndexFoldAnswer {
  switch (task.do) {
    case "plan":
      return plan(task);
    case "copy": {
      const sources = new Map(
        task.sources.map(([number, bytes]) => [number, openByteRange(bytes, { blocking: true })]),
      );
      return copyEntries(task.plan, task.from, task.to, sources);
    }
    case "index":
      return makeIndex(task);
  }
}

function plan({ packs, objectFormat }: PlanFoldTask): FoldPlan {
  const opened = packs.map(
    ({ name, index, bytes }) =>
      new Pack({
        key: name,
        name,
        index: PackIndex.parse(index, objectFormat),
        bytes: openByteRange(bytes, { blocking: true }),
      }),
  );
  const made = planFold(opened, objectFormat);
  invariant(made !== undefined, "a fold leaves nothing out");
  return made;
}

function makeIndex({ plan: made, trailer, folded }: IndexFoldTask): IndexFoldAnswer {
  const { objectFormat, oids, offsets, crc32s, objectCount } = made;
  const h = hashBytes(objectFormat);
  const { bytes } = formatPackIndex({ objectFormat, oids, offsets, crc32s, packTrailer: trailer });
  const index = PackIndex.parse(bytes, objectFormat);
  const id = Buffer.alloc(h);
  // Before anything is removed, whatever the plan was: each of their objects is in the new pack.
  for (const shared of folded) {
    const old = PackIndex.parse(shared, objectFormat);
    for (let position = 0; position < old.objectCount; position++) {
      old.copyOid(position, id, 0);
      invariant(index.findBytes(id, 0) >= 0, "a fold lost an object");
    }
  }
  const sizeBytes = (offsets[objectCount] as number) + h;
  return { index: bytes, reverseIndex: formatReverseIndex(index, sizeBytes) };
}
