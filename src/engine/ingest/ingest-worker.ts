/** The worker's side of an ingest: opens what a task names, does it, answers. */
import { GitwharfError } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { hashBytes } from "../../object/object-format.js";
import { objectIdAt } from "../../object/object-id.js";
import type { GitObject, ObjectReader } from "../../storage/contracts/object-reader.js";
import { openObjectReader } from "../../storage/object-database.js";
import { buildForest } from "./delta-forest.js";
import { encodeBases, missingBase } from "./encode-bases.js";
import { ExistingObjects } from "./existing-objects.js";
import { FamilyResolver, NEXT_ROOT } from "./family-resolver.js";
import { indexPack } from "./index-pack.js";
import type {
  EncodeAnswer,
  ForestAnswer,
  ForestTask,
  IndexAnswer,
  IngestTask,
  ResolveAnswer,
  ResolveTask,
  ScanAnswer,
  ScanTask,
  SettleAnswer,
  TrailerAnswer,
} from "./ingest-task.js";
import { ObjectExaminer } from "./object-examiner.js";
import { hashSpool } from "./pack-trailer.js";
import { scanRange } from "./scan-range.js";
import { settleForest } from "./settle-forest.js";
import { openSpool, SpoolCache } from "./spool.js";

type IngestAnswer =
  | ScanAnswer
  | ForestAnswer
  | ResolveAnswer
  | SettleAnswer
  | EncodeAnswer
  | TrailerAnswer
  | IndexAnswer;

/** Blocks of the spooled pack that one worker keeps. */
const BLOCK_CACHE_BYTES = 32 * 1024 * 1024;
/** Bases of deltas that one worker keeps; see `FamilyResolver`. */
const BASE_BYTES_MAX = 128 * 1024 * 1024;

export default async function runIngestTask(task: IngestTask): Promise<IngestAnswer> {
  switch (task.do) {
    case "scan":
      return scan(task);
    case "forest":
      return forest(task);
    case "resolve":
      return resolve(task);
    case "settle":
      return settleForest(task.table, task.forest);
    case "encode":
      return encodeBases(
        openObjectReader(task.context.objects, { blocking: true }),
        task.oids,
        task.bytesMax,
      );
    case "trailer":
      return hashSpool(openSpool(task.context.spool), task.head, task.context.objectFormat);
    case "index":
      return indexPack(task);
  }
}

async function scan({ context, range }: ScanTask): Promise<ScanAnswer> {
  const existing = new ExistingObjects(openObjectReader(context.objects, { blocking: true }), context.loose);
  const examiner = new ObjectExaminer(context, existing);
  const answer = await scanRange(openSpool(context.spool), examiner, existing, { ...context, ...range });
  await existing.settle();
  return answer;
}

function forest({ context, table, count, baseOids }: ForestTask): ForestAnswer {
  const existing = new ExistingObjects(openObjectReader(context.objects, { blocking: true }), context.loose);
  return buildForest(table, count, baseOids, (oids, at) => existing.has(oids, at));
}

async function resolve({ context, table, forest, counters, sliceMs }: ResolveTask): Promise<ResolveAnswer> {
  const objects = openObjectReader(context.objects, { blocking: true });
  const existing = new ExistingObjects(objects, context.loose);
  const examiner = new ObjectExaminer(context, existing);
  const externals = new Map<number, GitObject>();
  const resolver = new FamilyResolver({
    table,
    forest,
    spool: new SpoolCache(openSpool(context.spool), BLOCK_CACHE_BYTES),
    examiner,
    limits: context.limits,
    counters,
    baseBytesMax: BASE_BYTES_MAX,
    readExternal: (number) => externals.get(number) ?? readExternal(objects, forest, number),
  });
  const stop = performance.now() + sliceMs;
  let done = false;
  while (performance.now() < stop) {
    const next = Atomics.add(counters, NEXT_ROOT, 1);
    const root = forest.roots[next];
    if (root === undefined) {
      done = true;
      break;
    }
    // A damaged copy makes even a blocking reader wait for another one: that happens here, outside of the resolver.
    if (root >= forest.entryCount) {
      const number = root - forest.entryCount;
      const base = objects.read(externalOid(forest, number, objects));
      if (isPromise(base)) {
        const late = await base;
        if (late !== undefined) externals.set(number, late);
      }
    }
    resolver.resolve(root);
    externals.clear();
  }
  await existing.settle();
  return { done, found: examiner.take() };
}

function readExternal(objects: ObjectReader, forest: ForestAnswer, number: number): GitObject {
  const oid = externalOid(forest, number, objects);
  const base = objects.read(oid);
  if (isPromise(base))
    throw new GitwharfError("storage/io", `object ${oid}, the base of a delta, cannot be read again`);
  if (base === undefined) throw missingBase(oid);
  return base;
}

function externalOid(forest: ForestAnswer, number: number, { objectFormat }: ObjectReader): string {
  const { buffer, byteOffset, length } = forest.externalOids;
  return objectIdAt(Buffer.from(buffer, byteOffset, length), number * hashBytes(objectFormat), objectFormat);
}
