/**
 * Removing what nobody needs any more. One pass; it may end anywhere, by a failure or with the process, and the next one goes
 * on; any number of servers push, fetch, fork, delete, restore and fold at the same time, and other janitors may be at work.
 *
 *     uploads nobody ended    taken from who began them; their keys are deleted now, and once more after the grace, for a
 *                             write may come late; then the row goes
 *     hidden repositories     prepared ones that were never placed, deleted ones after the retention: purged
 *     generations             what was current at no time of the retention is forgotten
 *     packs                   that no kept root of their network names: marked; dropped after the grace, when still none does
 *     witnesses               before a whole one that is a day old
 *     nodes                   that no kept root of their network leads to: removed
 *     leases                  that ran out long ago
 *
 * Why this is safe is said in `metadata-store.ts`: rows decide, and what no kept root names cannot come back. Times say only how
 * long something is kept that is certain to be garbage; the grace is for requests that still read it.
 */
import { isGitwharfError, throwIfAborted } from "../../base/errors.js";
import type { Bucket } from "./bucket/bucket.js";
import { markKept } from "./mark-kept.js";
import type { MetadataStore, PackRecord, UploadRecord } from "./metadata/metadata-store.js";
import { patientReader } from "./patient-reader.js";
import type { NodeId } from "./tree/node.js";

export interface JanitorLimits {
  /** An upload that nobody touched for so long is given up: longer than the longest push takes. @default 24 hours */
  readonly uploadAgeMsMax?: number;
  /** A repository that is being made for so long is given up. @default 24 hours */
  readonly preparedAgeMsMax?: number;
  /** How long deleted repositories and what repositories were before are kept. @default 7 days */
  readonly retentionMs?: number;
  /** Longer than any request reads, or a write that was given up takes to arrive. @default 1 hour */
  readonly graceMs?: number;
  /** Networks (a repository with its forks) that one pass looks at. @default 1000 */
  readonly networksMax?: number;
  /** Nodes of one network that are held in memory, at about 150 bytes each; one with more is left as it is. @default 2,000,000 */
  readonly nodesMax?: number;
}

export interface JanitorOptions extends JanitorLimits {
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  /** Where the last pass ended (`JanitorReport.next`). @default the first network */
  readonly from?: string;
  readonly signal?: AbortSignal;
}

/** How many of each. */
export interface JanitorReport {
  readonly uploadsTaken: number;
  readonly uploadsEnded: number;
  /** Keys that were told to the bucket; not all of them need have been there. */
  readonly keysDeleted: number;
  readonly preparedPurged: number;
  readonly deletedPurged: number;
  readonly networksSeen: number;
  readonly generationsForgotten: number;
  /** Seen for the first time that nothing names them. */
  readonly packsMarked: number;
  readonly packsDropped: number;
  readonly witnessesDropped: number;
  readonly nodesRemoved: number;
  readonly leasesForgotten: number;
  /** What could not be done; the rest was. */
  readonly failures: readonly JanitorFailure[];
  /** The pass ended behind this network; undefined: it was the last one. */
  readonly next?: string;
}

export interface JanitorFailure {
  /** What was being done. */
  readonly what: string;
  readonly error: unknown;
}

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;
const ROWS_AT_ONCE = 100;
const PACKS_AT_ONCE = 1000;
/** Of uploads and of hidden repositories, in one pass. */
const PAGES_MAX = 100;
/** With so many one after the other it is the bucket or the database that fails. */
const FAILURES_IN_A_ROW_MAX = 5;
/** Each time another janitor was in the same network. */
const TRIES_MAX = 5;

/** @throws base/aborted; everything else is told in the report */
export async function runJanitor(options: JanitorOptions): Promise<JanitorReport> {
  return new Pass(options).run();
}

type Counts = { -readonly [Name in keyof Omit<JanitorReport, "failures" | "next">]: number };

class Pass {
  readonly #options: JanitorOptions;
  readonly #limits: Required<JanitorLimits>;
  readonly #failures: JanitorFailure[] = [];
  readonly #counts: Counts = {
    uploadsTaken: 0,
    uploadsEnded: 0,
    keysDeleted: 0,
    preparedPurged: 0,
    deletedPurged: 0,
    networksSeen: 0,
    generationsForgotten: 0,
    packsMarked: 0,
    packsDropped: 0,
    witnessesDropped: 0,
    nodesRemoved: 0,
    leasesForgotten: 0,
  };
  #failuresInARow = 0;

  constructor(options: JanitorOptions) {
    this.#options = options;
    this.#limits = {
      uploadAgeMsMax: options.uploadAgeMsMax ?? DAY_MS,
      preparedAgeMsMax: options.preparedAgeMsMax ?? DAY_MS,
      retentionMs: options.retentionMs ?? 7 * DAY_MS,
      graceMs: options.graceMs ?? HOUR_MS,
      networksMax: options.networksMax ?? 1000,
      nodesMax: options.nodesMax ?? 2_000_000,
    };
  }

  async run(): Promise<JanitorReport> {
    const { bucket, metadata, signal } = this.#options;
    const { uploadAgeMsMax } = this.#limits;
    await this.#try("removing what unfinished uploads left", () =>
      bucket.sweep({ olderThanMs: uploadAgeMsMax, signal }),
    );
    await this.#try("taking old uploads", () => this.#takeOldUploads());
    await this.#try("purging repositories", () => this.#purgeHidden("prepared"));
    await this.#try("purging repositories", () => this.#purgeHidden("deleted"));
    await this.#try("ending uploads that were taken", () => this.#endTakenUploads());
    const next = await this.#lookAfterNetworks();
    await this.#try("forgetting leases", async () => {
      this.#counts.leasesForgotten += await metadata.forgetLeases(DAY_MS);
    });
    return { ...this.#counts, failures: this.#failures, ...(next === undefined ? {} : { next }) };
  }

  async #takeOldUploads(): Promise<void> {
    const { metadata } = this.#options;
    const olderThanMs = this.#limits.uploadAgeMsMax;
    await this.#eachUpload({ state: "open", olderThanMs }, async ({ id }) => {
      const keys = await metadata.takeUpload(id);
      // It was committed a moment ago.
      if (keys === undefined) return;
      this.#counts.uploadsTaken++;
      await this.#delete(keys);
    });
  }

  /** Those that a janitor, a server or a purge has taken. */
  async #endTakenUploads(): Promise<void> {
    const olderThanMs = this.#limits.graceMs;
    await this.#eachUpload({ state: "taken", olderThanMs }, ({ id, keys }) => this.#endUpload(id, keys));
  }

  async #endUpload(id: string, keys: readonly string[]): Promise<void> {
    await this.#delete(keys);
    await this.#options.metadata.endUpload(id);
    this.#counts.uploadsEnded++;
  }

  async #eachUpload(
    which: { readonly state: UploadRecord["state"]; readonly olderThanMs: number },
    body: (upload: UploadRecord) => Promise<void>,
  ): Promise<void> {
    await this.#pages(
      () => this.#options.metadata.listUploads({ ...which, limit: ROWS_AT_ONCE }),
      (upload) => this.#try(`removing the upload ${upload.id}`, () => body(upload)),
    );
  }

  async #purgeHidden(state: "prepared" | "deleted"): Promise<void> {
    const { metadata } = this.#options;
    const { preparedAgeMsMax, retentionMs } = this.#limits;
    const beforeMs = (await metadata.now()) - (state === "prepared" ? preparedAgeMsMax : retentionMs);
    await this.#pages(
      () => metadata.listHidden({ state, beforeMs, limit: ROWS_AT_ONCE }),
      ({ id }) =>
        this.#try(`purging the repository ${id}`, async () => {
          try {
            await metadata.purge(id);
          } catch (error) {
            // Somebody else did, or has brought it back.
            if (isGitwharfError(error, "storage/not-found")) return;
            throw error;
          }
          this.#counts[`${state}Purged`]++;
        }),
    );
  }

  /** Each row that is done with is not listed again; what cannot be done must not be tried for ever. */
  async #pages<Row>(
    list: () => Promise<readonly Row[]>,
    body: (row: Row) => Promise<boolean>,
  ): Promise<void> {
    for (let page = 0; page < PAGES_MAX; page++) {
      const rows = await list();
      let hasFailed = false;
      for (const row of rows) if (!(await body(row))) hasFailed = true;
      if (hasFailed || rows.length < ROWS_AT_ONCE) return;
    }
  }

  /** @returns the network behind which the next pass begins */
  async #lookAfterNetworks(): Promise<string | undefined> {
    const { metadata } = this.#options;
    const { networksMax } = this.#limits;
    let after = this.#options.from;
    for (let left = networksMax; left > 0; ) {
      const limit = Math.min(left, ROWS_AT_ONCE);
      let page: readonly string[] = [];
      const isListed = await this.#try("listing networks", async () => {
        page = await metadata.listNetworks({ ...(after === undefined ? {} : { after }), limit });
      });
      if (!isListed) return after;
      for (const id of page) {
        if (this.#isStuck) return after;
        await this.#try(`looking after the network ${id}`, () => this.#lookAfter(id));
        after = id;
      }
      left -= page.length;
      if (page.length < limit) return undefined;
    }
    return after;
  }

  async #lookAfter(networkId: string): Promise<void> {
    const { metadata, signal } = this.#options;
    const { retentionMs, graceMs, nodesMax } = this.#limits;
    this.#counts.networksSeen++;
    const keptMs = Math.max(retentionMs, graceMs);
    const keptSinceMs = (await metadata.now()) - keptMs;
    this.#counts.generationsForgotten += await metadata.forgetOldGenerations(networkId, keptSinceMs);
    await this.#removeWitnesses(networkId, keptMs);
    for (let tries = 1; ; tries++) {
      // Before the roots are listed: what is written from here on is not looked at.
      const sweep = await metadata.beginSweep(networkId);
      const unnamed = await this.#listPacks(networkId);
      const roots = await metadata.listKeptRoots(networkId);
      let needed: ReadonlySet<NodeId>;
      try {
        needed = await markKept({
          nodes: patientReader(metadata, networkId),
          roots,
          nodesMax,
          onKey: (key) => unnamed.delete(key),
          check: () => throwIfAborted(signal),
        });
      } catch (error) {
        if (tries === TRIES_MAX || !(await this.#haveGone(networkId, roots))) throw error;
        continue;
      }
      await this.#removePacks(networkId, [...unnamed.values()]);
      throwIfAborted(signal);
      this.#counts.nodesRemoved += await metadata.sweepNodes(networkId, sweep, (id) => needed.has(id));
      return;
    }
  }

  /** Another janitor has forgotten some of them meanwhile, and swept what they led to. */
  async #haveGone(networkId: string, roots: readonly NodeId[]): Promise<boolean> {
    const kept = new Set(await this.#options.metadata.listKeptRoots(networkId));
    return roots.some((id) => !kept.has(id));
  }

  /** By key. */
  async #listPacks(networkId: string): Promise<Map<string, PackRecord>> {
    const packs = new Map<string, PackRecord>();
    for (let after: string | undefined; ; ) {
      const page = await this.#options.metadata.listPacks(networkId, {
        ...(after === undefined ? {} : { after }),
        limit: PACKS_AT_ONCE,
      });
      for (const pack of page) packs.set(pack.key, pack);
      after = page.at(-1)?.id;
      if (page.length < PACKS_AT_ONCE) return packs;
    }
  }

  /** No kept root names them. They go when that was so for long enough already. */
  async #removePacks(networkId: string, unnamed: readonly PackRecord[]): Promise<void> {
    const { metadata } = this.#options;
    const now = await metadata.now();
    const { graceMs } = this.#limits;
    const due = unnamed.filter(({ unnamedAtMs = now }) => unnamedAtMs <= now - graceMs);
    const isDue = new Set(due);
    const fresh = unnamed.filter((pack) => pack.unnamedAtMs === undefined && !isDue.has(pack));
    if (fresh.length > 0) {
      await metadata.markUnnamed(networkId, fresh);
      this.#counts.packsMarked += fresh.length;
    }
    if (due.length === 0) return;
    const uploads = await metadata.dropPacks(networkId, due);
    this.#counts.packsDropped += due.length;
    for (const id of uploads) {
      const keys = await metadata.takeUpload(id);
      if (keys !== undefined) await this.#endUpload(id, keys);
    }
  }

  /** Whole ones are made anew when what they tell was forgotten, and make those before them needless. */
  async #removeWitnesses(networkId: string, keptMs: number): Promise<void> {
    const { metadata } = this.#options;
    for (const id of await metadata.dropOldWitnesses(networkId, { wholeOlderThanMs: DAY_MS, keptMs })) {
      const keys = await metadata.takeUpload(id);
      if (keys === undefined) continue;
      await this.#endUpload(id, keys);
      this.#counts.witnessesDropped += keys.length;
    }
  }

  async #delete(keys: readonly string[]): Promise<void> {
    const { bucket, signal } = this.#options;
    await bucket.delete(keys, { signal });
    this.#counts.keysDeleted += keys.length;
  }

  get #isStuck(): boolean {
    return this.#failuresInARow >= FAILURES_IN_A_ROW_MAX;
  }

  /** What fails is told, and what comes next is done all the same. @returns whether it was done. @throws base/aborted */
  async #try(what: string, body: () => Promise<unknown>): Promise<boolean> {
    const { signal } = this.#options;
    throwIfAborted(signal);
    if (this.#isStuck) return false;
    const before = this.#failures.length;
    try {
      await body();
    } catch (error) {
      throwIfAborted(signal);
      this.#failures.push({ what, error });
      this.#failuresInARow++;
      return false;
    }
    // What it is made of may have failed.
    if (this.#failures.length === before) this.#failuresInARow = 0;
    return true;
  }
}
