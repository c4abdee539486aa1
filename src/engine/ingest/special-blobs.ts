/**
 * The end of the checks on receipt: blobs that some tree of the pack names `.gitmodules` or `.gitattributes`. They are
 * looked at when the pack is whole, because a tree may come before or after them.
 *
 * A few small ones are looked at at once, more than that in a worker, some at a time: ten mebibytes of `.gitmodules` take
 * half a second, and a pack may hold any number of them.
 */
import { runInWorker } from "../../base/worker-pool.js";
import type { FsckPolicy } from "../../object/fsck/fsck-message.js";
import { checkNamedBlob, checkObject } from "../../object/fsck/object-fsck.js";
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader, ObjectReaderDescriptor } from "../../storage/contracts/object-reader.js";
import { WorkBudget } from "../fetch/work-budget.js";
import { type Examined, judgeFindings, WARNINGS_MAX } from "./object-examiner.js";

/** Blobs of which the content matters, and how they are judged. */
export interface SpecialBlobs {
  readonly gitmodules: ReadonlySet<ObjectId>;
  readonly gitattributes: ReadonlySet<ObjectId>;
  readonly policy: FsckPolicy;
}

export interface SpecialBlobsTask extends SpecialBlobs {
  /** The quarantine's. */
  readonly objects: ObjectReaderDescriptor;
}

/** Some milliseconds of work for the thread that it is asked on. */
const INLINE_BYTES_MAX = 128 * 1024;
const INLINE_OBJECTS_MAX = 64;
/** Some hundred milliseconds for a worker. */
const SLICE_BYTES = 4 * 1024 * 1024;
const SLICE_OBJECTS = 1000;

/**
 * @param objects the quarantine's: the new objects and the repository's
 * @returns warnings as `<oid>: <id>: <text>`, those of single objects included
 * @throws object/malformed, base/aborted
 */
export async function checkSpecialBlobs(
  objects: ObjectReader,
  examined: readonly Examined[],
  options: { readonly policy: FsckPolicy; readonly signal?: AbortSignal | undefined },
): Promise<readonly string[]> {
  const { policy, signal } = options;
  const warnings = examined.flatMap((part) => part.warnings).slice(0, WARNINGS_MAX);
  const all: SpecialBlobs = {
    gitmodules: new Set(examined.flatMap(({ namedBlobs }) => [...namedBlobs.gitmodules])),
    gitattributes: new Set(examined.flatMap(({ namedBlobs }) => [...namedBlobs.gitattributes])),
    policy,
  };
  const budget = new WorkBudget({ signal });
  let slice: ObjectId[] = [];
  let bytes = 0;
  const checkSlice = async (): Promise<void> => {
    const some = onlyThese(all, slice);
    const isSmall = bytes <= INLINE_BYTES_MAX && slice.length <= INLINE_OBJECTS_MAX;
    const found = isSmall ? await checkAll(objects, some) : await checkInWorker(objects, some, signal);
    for (const warning of found) if (warnings.length < WARNINGS_MAX) warnings.push(warning);
    slice = [];
    bytes = 0;
  };
  for (const oid of new Set([...all.gitmodules, ...all.gitattributes])) {
    if (budget.spend(1)) await budget.pause();
    const header = await objects.readHeader(oid);
    slice.push(oid);
    bytes += header?.sizeBytes ?? 0;
    if (bytes >= SLICE_BYTES || slice.length >= SLICE_OBJECTS) await checkSlice();
  }
  if (slice.length > 0) await checkSlice();
  return warnings;
}

/** All of them on this thread. @returns warnings. @throws object/malformed */
export async function checkAll(objects: ObjectReader, blobs: SpecialBlobs): Promise<readonly string[]> {
  const { policy } = blobs;
  const warnings: string[] = [];
  const state = { gitmodules: new Set(blobs.gitmodules), gitattributes: new Set(blobs.gitattributes) };
  const { objectFormat } = objects;
  for (const oid of new Set([...state.gitmodules, ...state.gitattributes])) {
    const object = await objects.read(oid);
    judgeFindings(checkNamedBlob({ oid, policy, state }, object?.type), warnings);
    if (object?.type !== "blob") continue;
    judgeFindings(
      checkObject({ type: "blob", oid, data: object.data, objectFormat, policy, state }),
      warnings,
    );
  }
  return warnings;
}

function checkInWorker(
  objects: ObjectReader,
  blobs: SpecialBlobs,
  signal: AbortSignal | undefined,
): Promise<readonly string[]> {
  const task: SpecialBlobsTask = { ...blobs, objects: objects.describe() };
  return runInWorker(new URL("./special-blobs-worker.js", import.meta.url), task, { signal });
}

/** A skip list may be long: only what it says of these goes to a worker. */
function onlyThese(
  { gitmodules, gitattributes, policy }: SpecialBlobs,
  oids: readonly ObjectId[],
): SpecialBlobs {
  const among = (set: ReadonlySet<ObjectId>): ReadonlySet<ObjectId> =>
    new Set(oids.filter((oid) => set.has(oid)));
  return {
    gitmodules: among(gitmodules),
    gitattributes: among(gitattributes),
    policy: { ...policy, skipList: among(policy.skipList) },
  };
}
