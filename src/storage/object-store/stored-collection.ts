/**
 * Collecting the garbage of a repository whose packs are in a bucket. What leads to what is found out, and new packs are written,
 * by `engine/maintenance/`; here they are uploaded like a push and committed in the place of the old ones:
 *
 *     lease ──► new packs spooled ──► intent, upload ──► commit ──► lease given up
 *                                          ▲                └──► refs have moved: looked at, and tried again
 *                                          └── somebody was quicker, or needs what was to go: taken back
 *
 * Where objects go, three things keep what is needed. The commit replaces the packs that were read and no others, and only if the
 * root names them all. It is made only from refs that were looked at: those that moved since the collection began must lead to
 * nothing but what stays. And it counts up the repository's `pruneEpoch`, by which a push that began before knows that it has
 * to look again (`stored-refs.ts`).
 *
 * A fork leaves alone the packs that another repository of its network holds on to, so that what many share is not written for
 * each of them; it has no pack of all that its branches lead to as long as there are such.
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Pack } from "../../pack/pack.js";
import { createObjectDatabase } from "../composed-objects.js";
import type {
  CollectedAs,
  CollectionChange,
  CollectionWork,
  GarbageCollection,
  MadeBeside,
  PackToCollect,
} from "../contracts/pack-maintenance.js";
import type { PackSink } from "../contracts/quarantine.js";
import type { RefSnapshot } from "../contracts/ref-store.js";
import { type RefState, sameRefState } from "../refs/ref-state.js";
import { findLost } from "./find-lost.js";
import type { KeptLease } from "./keep-lease.js";
import type { RepositoryRecord } from "./metadata/metadata-store.js";
import type { ObjectsView } from "./objects-view.js";
import { unnamedLeaf } from "./pack-splices.js";
import type { LentPack } from "./pack-shelf.js";
import type { MadePart, SpooledPack } from "./pack-upload.js";
import {
  areNamed,
  COLLECTED,
  givesBack,
  lastSharedPack,
  putInPlace,
  type StoredPackMaintenanceOptions,
  takeWorkLease,
} from "./packs-at-work.js";
import type { RepositoryState } from "./repository-state.js";
import type { StoredCore } from "./stored-core.js";
import type { StoredPack } from "./stored-pack.js";
import { StoredQuarantine } from "./stored-quarantine.js";
import type { PackLeaf, PackSource } from "./tree/pack-leaves.js";

/** Each time refs have moved since the last look. */
const LOOKS_MAX = 100;
const LEVEL = 1;

const SOURCES: Readonly<Record<CollectedAs, PackSource>> = {
  base: "gc",
  rest: "gc-rest",
  unreachable: "gc-unreachable",
};

export function createStoredCollection(options: StoredPackMaintenanceOptions): GarbageCollection {
  const { core, metadata, garbageGraceMs } = options;
  return {
    graceMs: garbageGraceMs,
    async survey() {
      const { record, state } = await core.current();
      const shared = await lastSharedPack(core, metadata, record);
      const held = record.forkedFrom === undefined || shared > 0 ? NONE : await heldByOthers(core);
      // Chunks stay where they are.
      const bytesOf = (leaves: readonly PackLeaf[]): number =>
        leaves.reduce((sum, { packBytes, ownBytes = packBytes }) => sum + ownBytes, 0);
      const fresh = state.packs.filter(
        ({ key, source, sequence }) => !COLLECTED.has(source) && sequence > shared && !held.has(key),
      );
      // What a fork began with is its parent's to drop, or nobody's as long as others have it.
      const ownSinceMs = record.forkedFrom === undefined ? 0 : record.createdAtMs;
      const since = state.packs.flatMap(({ unreachableSinceMs: ms = -1 }) => (ms < ownSinceMs ? [] : [ms]));
      return {
        newPacks: fresh.length,
        newBytes: bytesOf(fresh),
        bytes: bytesOf(state.packs),
        unreachableForMs: since.length === 0 ? undefined : (await metadata.now()) - Math.min(...since),
      };
    },
    async begin() {
      const lease = await takeWorkLease(options);
      if (lease === undefined) return undefined;
      let view: ObjectsView | undefined;
      try {
        const { record, state } = await core.current();
        const shared = await sharedWithOthers(options, record, state);
        const nowMs = await metadata.now();
        view = await core.view(state);
        return new StoredCollectionWork(options, lease, { nowMs, state, view, shared });
      } catch (error) {
        view?.release();
        await lease.release().catch(() => undefined);
        throw error;
      }
    },
  };
}

const NONE: ReadonlySet<string> = new Set();
/** As long as that, what others hold on to is taken for the same, where it is only asked whether there is something to do. */
const HELD_MS = 10 * 60 * 1000;
const heldLately = new WeakMap<StoredCore, { readonly keys: ReadonlySet<string>; readonly atMs: number }>();

async function heldByOthers(core: StoredCore): Promise<ReadonlySet<string>> {
  const known = heldLately.get(core);
  if (known !== undefined && performance.now() - known.atMs < HELD_MS) return known.keys;
  const keys = await core.packsOfOthers();
  heldLately.set(core, { keys, atMs: performance.now() });
  return keys;
}

/** Keys. */
async function sharedWithOthers(
  { core, metadata }: StoredPackMaintenanceOptions,
  record: RepositoryRecord,
  { packs }: RepositoryState,
): Promise<ReadonlySet<string>> {
  // The first one of a network has what all of it began with: there it is collected.
  if (record.forkedFrom === undefined) return new Set();
  const last = await lastSharedPack(core, metadata, record);
  const held = await core.packsOfOthers();
  return new Set(
    packs.filter(({ key, sequence }) => sequence <= last || held.has(key)).map(({ key }) => key),
  );
}

interface Begun {
  /** By the database's clock: servers' may be days apart. */
  readonly nowMs: number;
  readonly state: RepositoryState;
  readonly view: ObjectsView;
  readonly shared: ReadonlySet<string>;
}

class StoredCollectionWork implements CollectionWork {
  readonly nowMs: number;
  readonly objects;
  readonly refs: RefSnapshot;
  readonly shallow: ReadonlySet<ObjectId>;
  readonly packs: readonly PackToCollect[];
  readonly release: () => Promise<void>;
  readonly #options: StoredPackMaintenanceOptions;
  readonly #begun: Begun;
  readonly #leaves: ReadonlyMap<string, PackLeaf>;
  readonly #quarantine: StoredQuarantine;
  readonly #made: CollectedAs[] = [];
  readonly #beside = new Map<CollectedAs, readonly MadePart[]>();
  #change: CollectionChange | undefined;
  #hasReplaced = false;

  constructor(options: StoredPackMaintenanceOptions, lease: KeptLease, begun: Begun) {
    const { nowMs, state, view, shared } = begun;
    this.nowMs = nowMs;
    this.#options = options;
    this.#begun = begun;
    this.#leaves = new Map(state.packs.map((leaf) => [leaf.key, leaf]));
    this.objects = view.reader;
    this.refs = state.snapshot;
    this.shallow = state.shallow;
    this.packs = view.reader.packs.map((pack) => {
      const leaf = this.#leafOf(pack);
      return {
        pack,
        madeAs: (Object.keys(SOURCES) as CollectedAs[]).find((as) => SOURCES[as] === leaf.source),
        sinceMs: leaf.unreachableSinceMs,
        isShared: shared.has(leaf.key),
      };
    });
    this.#quarantine = new StoredQuarantine({
      view: view.retain(),
      spoolDirectory: options.spoolDirectory,
      makeRoom: () => options.cache.makeRoom(),
      publish: async (spooled) => {
        this.#hasReplaced = await this.#put(spooled);
        return { settle: async () => undefined };
      },
    });
    this.release = givesBack(this.#quarantine, async () => {
      view.release();
      // One that cannot be given up runs out.
      await lease.release().catch(() => undefined);
    });
  }

  createPack(as: CollectedAs): Promise<PackSink> {
    this.#made.push(as);
    return this.#quarantine.createPack();
  }

  keepBeside(as: CollectedAs, { bitmap, commitGraph }: MadeBeside): void {
    const parts: MadePart[] = [];
    if (bitmap !== undefined) parts.push({ name: "bitmap", bytes: bitmap });
    if (commitGraph !== undefined) parts.push({ name: "commit-graph", bytes: commitGraph });
    this.#beside.set(as, parts);
  }

  async replace(change: CollectionChange): Promise<boolean> {
    const { state } = await this.#options.core.current();
    if (
      !areNamed(
        state,
        change.removed.map((pack) => this.#leafOf(pack)),
      )
    )
      return false;
    this.#change = change;
    await this.#quarantine.publish();
    return this.#hasReplaced;
  }

  #leafOf(pack: Pack): PackLeaf {
    const leaf = this.#leaves.get(pack.key);
    if (leaf === undefined)
      throw new GitwharfError("base/invariant", `${pack.name} is not one of the packs that are collected`);
    return leaf;
  }

  /** @returns false: then nothing is left in the bucket */
  #put(finished: readonly SpooledPack[]): Promise<boolean> {
    const spooled = finished.map((each, i) => ({
      ...each,
      madeParts: this.#beside.get(this.#made[i] as CollectedAs),
    }));
    const kinds = this.#made.map((as) => ({ source: SOURCES[as], level: LEVEL }));
    return putInPlace(this.#options, spooled, kinds, (uploaded) => {
      const packs = (uploaded?.packs ?? []).map((pack, i) => this.#described(pack, this.#made[i]));
      return this.#commit(packs, uploaded === undefined ? [] : [uploaded.id]);
    });
  }

  #described(pack: StoredPack, as: CollectedAs | undefined): StoredPack {
    const { refsRoot } = this.#begun.state.root;
    switch (as) {
      case "base":
        return refsRoot === undefined ? pack : { ...pack, leaf: { ...pack.leaf, closureOf: refsRoot } };
      case "unreachable":
        return { ...pack, leaf: { ...pack.leaf, unreachableSinceMs: this.nowMs } };
      default:
        return pack;
    }
  }

  async #commit(packs: readonly StoredPack[], uploads: readonly string[]): Promise<boolean> {
    const { core } = this.#options;
    const { removed, dropsObjects } = this.#change as CollectionChange;
    const leaves = removed.map((pack) => this.#leafOf(pack));
    let looked: RefState = this.#begun.state.refs;
    for (let looks = 0; looks < LOOKS_MAX; looks++) {
      const moved: { to?: RepositoryState } = {};
      const outcome = await core.commit({
        kind: "gc",
        draft: (state) => {
          delete moved.to;
          if (!areNamed(state, leaves)) return undefined;
          if (dropsObjects && !sameRefState(state.refs, looked)) {
            moved.to = state;
            return undefined;
          }
          return { change: {}, packs, uploads, retired: leaves.map(({ key }) => key), dropsObjects };
        },
      });
      if (outcome.kind === "committed") return true;
      if (moved.to === undefined || !(await this.#isAllKept(moved.to, packs))) return false;
      looked = moved.to.refs;
    }
    return false;
  }

  /** Of what refs lead to that have moved: is it in what stays? */
  async #isAllKept(state: RepositoryState, packs: readonly StoredPack[]): Promise<boolean> {
    const { core, shelf } = this.#options;
    const { removed, isReached } = this.#change as CollectionChange;
    const gone = new Set(removed.map(({ key }) => key));
    const view = await core.view(state);
    let made: readonly LentPack[] = [];
    try {
      made = await shelf.openAll(packs.map(unnamedLeaf), core.objectFormat);
      const objects = createObjectDatabase({
        objectFormat: core.objectFormat,
        packs: [...made.map(({ pack }) => pack), ...view.reader.packs.filter(({ key }) => !gone.has(key))],
      });
      const { head, direct } = state.refs;
      const tips = direct.map(({ oid }) => oid);
      if (head.kind === "direct") tips.push(head.ref.oid);
      const { shallow } = state;
      return (await findLost({ objects, tips, isComplete: isReached, shallow })) === "none";
    } finally {
      for (const { release } of made) release();
      view.release();
    }
  }
}
