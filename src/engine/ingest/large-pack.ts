/**
 * A large pack: the main thread moves bytes and hands out tasks; workers scan it while it arrives, then resolve its
 * deltas side by side, then index it.
 *
 *     scan, scan, … (one at a time, as bytes come) ─► forest ─► resolve × workers ─► settle ─► encode …, trailer ─► index
 */
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import type { BudgetShare } from "../../base/shared-budget.js";
import { runInWorker, workerCount } from "../../base/worker-pool.js";
import { hashBytes } from "../../object/object-format.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import { OFS_DELTA, REF_DELTA } from "../../pack/entry-header.js";
import { PACK_HEADER_BYTES } from "../../pack/pack-writer.js";
import type { DeltaForest } from "./delta-forest.js";
import { createEntryTable, type EntryTable, entryAtOffset, growEntryTable } from "./entry-table.js";
import { CANCELLED, COUNTERS, RESOLVED } from "./family-resolver.js";
import type {
  ForestAnswer,
  ForestTask,
  IngestContext,
  IngestTask,
  ResolveAnswer,
  ResolveTask,
  ScanAnswer,
  ScanTask,
} from "./ingest-task.js";
import { limitExceeded } from "./limit-exceeded.js";
import type { Examined } from "./object-examiner.js";
import { noEntryAt } from "./scan-entry.js";

/** A scan goes on its way when so much waits for it; it then takes some tens of milliseconds. */
const SCAN_BYTES = 4 * 1024 * 1024;
/** Long work comes in slices, so that other requests get their turn on the workers. */
const SCAN_BYTES_MAX = 16 * 1024 * 1024;
const RESOLVE_SLICE_MS = 500;

export class LargePack {
  readonly context: Omit<IngestContext, "spool">;
  readonly #signal: AbortSignal | undefined;
  readonly #share: BudgetShare | undefined;
  readonly #hashBytes: number;
  readonly #examined: Examined[] = [];
  readonly #baseOids: Uint8Array[] = [];
  #table: EntryTable;
  #count = 0;
  #nextOffset = PACK_HEADER_BYTES;
  #inflatedBytes = 0;
  #deltaCount = 0;
  /** Bytes that the last scan saw and could make nothing of. */
  #partialBytes = 0;

  /** @param options.share what this one holds beside others: rows of its table */
  constructor(
    context: Omit<IngestContext, "spool">,
    options: { readonly signal: AbortSignal | undefined; readonly share: BudgetShare | undefined },
  ) {
    this.context = context;
    this.#signal = options.signal;
    this.#share = options.share;
    this.#hashBytes = hashBytes(context.objectFormat);
    this.#table = createEntryTable(context.objectFormat, 4096);
  }

  get count(): number {
    return this.#count;
  }

  get deltaCount(): number {
    return this.#deltaCount;
  }

  get inflatedBytes(): number {
    return this.#inflatedBytes;
  }

  get table(): EntryTable {
    return this.#table;
  }

  /** Where the next entry, or the trailer, begins. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  /**
   * Whether a scan of what is there promises anything.
   * @param sizeBytes of the spool
   * @param pressing nothing more comes, or nothing has come for a while
   */
  isScanDue(sizeBytes: number, pressing: boolean): boolean {
    const waiting = sizeBytes - this.#nextOffset;
    if (waiting <= this.#partialBytes) return false;
    // An entry that was not whole is begun anew: not before there is twice as much of it.
    return pressing || waiting >= Math.max(SCAN_BYTES, this.#partialBytes * 2);
  }

  /** @throws as the worker's scan, base/limit-exceeded, server/busy */
  async scan(spool: IngestContext["spool"], entriesMax: number): Promise<void> {
    const task: ScanTask = {
      do: "scan",
      context: { ...this.context, spool },
      range: { from: this.#nextOffset, entriesMax: entriesMax - this.#count, bytesMax: SCAN_BYTES_MAX },
    };
    const scanned = await this.#run<ScanAnswer>(task);
    this.#add(scanned);
    const stopped = scanned.end - task.range.from >= SCAN_BYTES_MAX || this.#count === entriesMax;
    this.#partialBytes = stopped ? 0 : spool.sizeBytes - scanned.end;
  }

  #add(scanned: ScannedRange): void {
    const { limits } = this.context;
    const before = this.#count;
    const count = before + scanned.count;
    this.#share?.take(scanned.count);
    if (count > this.#table.capacity) {
      this.#table = growEntryTable(this.#table, Math.max(count, this.#table.capacity * 2));
    }
    const table = this.#table;
    table.offsets.set(scanned.offsets, before);
    table.offsets[count] = scanned.end;
    table.headLengths.set(scanned.headLengths, before);
    table.crc32s.set(scanned.crc32s, before);
    table.types.set(scanned.types, before);
    table.sizes.set(scanned.sizes, before);
    table.resultSizes.set(scanned.resultSizes, before);
    table.clean.set(scanned.clean, before);
    table.oids.set(scanned.oids, before * this.#hashBytes);
    for (let i = before; i < count; i++) {
      const type = table.types[i] as number;
      table.kinds[i] = type < OFS_DELTA ? type : 0;
      table.bases[i] = -1;
      this.#inflatedBytes += table.resultSizes[i] as number;
      if (type < OFS_DELTA) continue;
      this.#deltaCount++;
      if (type === REF_DELTA) continue;
      const baseOffset = scanned.baseOffsets[i - before] as number;
      const base = entryAtOffset(table, i, baseOffset);
      if (base < 0) throw noEntryAt(baseOffset, table.offsets[i] as number);
      table.bases[i] = base;
    }
    if (this.#inflatedBytes > limits.inflatedTotalBytesMax) {
      throw limitExceeded(
        "inflatedTotalBytesMax",
        "the pack, inflated,",
        limits.inflatedTotalBytesMax,
        "bytes",
      );
    }
    this.#count = count;
    this.#nextOffset = scanned.end;
    this.#examined.push(scanned.found);
    this.#baseOids.push(scanned.baseOids);
  }

  /**
   * Resolves all deltas.
   * @param onProgress deltas resolved so far, now and then
   * @throws pack/bad-delta, pack/collision, object/malformed, base/limit-exceeded, …
   */
  async resolve(spool: IngestContext["spool"], onProgress: (resolved: number) => void): Promise<DeltaForest> {
    const context: IngestContext = { ...this.context, spool };
    const forestTask: ForestTask = {
      do: "forest",
      context,
      table: this.#table,
      count: this.#count,
      baseOids: Uint8Array.from(Buffer.concat(this.#baseOids)),
    };
    const forest = await this.#run<ForestAnswer>(forestTask);
    const counters = new Int32Array(new SharedArrayBuffer(COUNTERS * 4));
    const task: ResolveTask = {
      do: "resolve",
      context,
      table: this.#table,
      forest,
      counters,
      sliceMs: RESOLVE_SLICE_MS,
    };
    const timer = setInterval(() => onProgress(Atomics.load(counters, RESOLVED)), 500);
    const work = async (): Promise<void> => {
      for (;;) {
        const answer = await this.#run<ResolveAnswer>(task);
        this.#examined.push(answer.found);
        if (answer.done) return;
      }
    };
    try {
      const workers = Math.min(workerCount(), forest.roots.length);
      const outcomes = await Promise.allSettled(
        Array.from({ length: workers }, () =>
          work().catch((error: unknown) => {
            // The others stop at their next look; only then may the pack go.
            Atomics.compareExchange(counters, CANCELLED, 0, 1);
            throw error;
          }),
        ),
      );
      throwFirst(outcomes);
    } finally {
      clearInterval(timer);
    }
    return forest;
  }

  /** What was noted about all objects. */
  get examined(): readonly Examined[] {
    return this.#examined;
  }

  externalOids(forest: DeltaForest): ObjectId[] {
    const bytes = Buffer.from(forest.externalOids);
    return Array.from({ length: forest.externalCount }, (_, k) =>
      objectIdAt(bytes, k * this.#hashBytes, this.context.objectFormat),
    );
  }

  run<Answer>(task: IngestTask): Promise<Answer> {
    return this.#run<Answer>(task);
  }

  #run<Answer>(task: IngestTask): Promise<Answer> {
    throwIfAborted(this.#signal);
    return runInWorker<IngestTask, Answer>(new URL("./ingest-worker.js", import.meta.url), task, {
      signal: this.#signal,
    });
  }
}

type ScannedRange = ScanAnswer;

/** What a peer did wrong says more than that others were told to stop. */
function throwFirst(outcomes: readonly PromiseSettledResult<void>[]): void {
  const errors = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [outcome.reason as unknown] : [],
  );
  const cause =
    errors.find((error) => !(error instanceof GitwharfError) || error.code !== "base/aborted") ?? errors[0];
  if (cause !== undefined) throw cause;
}
