/**
 * What all handles of one repository in a process share: the state of its newest known root, its objects, and the way to
 * make a new root. The row in the database says what is current, and is asked each time; everything else is looked up by
 * the root's name and never goes stale.
 */
import { randomUUID } from "node:crypto";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { EventDraft } from "../../database/add-events.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type {
  CommitOutcome,
  GenerationKind,
  MetadataCommit,
  MetadataStore,
  RepositoryRecord,
} from "./metadata/metadata-store.js";
import type { NodeCache } from "./node-cache.js";
import { ObjectsView } from "./objects-view.js";
import type { PackShelf } from "./pack-shelf.js";
import {
  changeState,
  packKeysOf,
  readState,
  type RepositoryState,
  restoreState,
  type StateChange,
} from "./repository-state.js";
import type { StoredPack } from "./stored-pack.js";
import type { NodeId, NodeReader } from "./tree/node.js";

export interface StoredCoreOptions {
  readonly record: RepositoryRecord;
  readonly metadata: MetadataStore;
  readonly nodes: NodeCache;
  readonly shelf: PackShelf;
}

/** What is to be in the next generation, looked at anew for each state it is made from. */
export interface Proposal {
  readonly kind: GenerationKind;
  /** undefined: there is nothing left to commit. It is asked again when another commit came first. */
  readonly draft: (state: RepositoryState, record: RepositoryRecord) => Draft | undefined;
}

export interface Draft {
  readonly change: Omit<StateChange, "addedPacks" | "removedPacks">;
  readonly packs?: readonly StoredPack[];
  /** Ids of the intents under which the packs were uploaded. */
  readonly uploads?: readonly string[];
  /** Ids of packs that are named no more. */
  readonly retired?: readonly string[];
  /** At once when it has happened, before anything else is committed. */
  readonly onCommitted?: () => void;
  /** All is to be as it was then, instead of `change`. What was pushed since may be named no more. */
  readonly restored?: { readonly generation: number; readonly state: RepositoryState };
  /** Objects go: whoever has looked at what was there before looks again. */
  readonly dropsObjects?: boolean;
  /** For the history. */
  readonly about?: string;
  /** Written with it. */
  readonly events?: readonly EventDraft[];
}

/** "upload-gone": the intents were taken by the janitor, or by a commit of ours whose answer was lost. */
export type ProposalOutcome =
  | { readonly kind: "committed"; readonly state: RepositoryState }
  | { readonly kind: "nothing" }
  | { readonly kind: "upload-gone" };

/** Each time somebody else came first: progress was made, but not by us. */
const RACES_MAX = 1000;
const CORE_BYTES = 4096;
const REF_BYTES = 256;
/** Each time the database itself has tried for half a minute. */
const ASKED_MAX = 2;

export class StoredCore {
  readonly id: string;
  readonly networkId: string;
  readonly objectFormat: ObjectFormat;
  /** What transactions take turns by. */
  readonly turns = randomUUID();
  readonly #options: StoredCoreOptions;
  readonly #nodes: NodeReader;
  #record: RepositoryRecord;
  #state: RepositoryState | undefined;
  #reading: { readonly root: string; readonly state: Promise<RepositoryState> } | undefined;
  #view: OpenedView | undefined;
  #isClosed = false;
  /** Commits of this process come one after the other: they would only lose races against each other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: StoredCoreOptions) {
    const { record, nodes } = options;
    this.#options = options;
    this.#record = record;
    this.id = record.id;
    this.networkId = record.networkId;
    this.objectFormat = record.objectFormat;
    this.#nodes = nodes.of(record.networkId);
  }

  /** Of memory that it keeps at hand, about. */
  get residentBytes(): number {
    const refs = this.#state?.refs.direct.length ?? 0;
    return CORE_BYTES + refs * REF_BYTES + (this.#view?.current?.residentBytes ?? 0);
  }

  /** @throws storage/not-found when it was deleted, storage/io */
  async current(): Promise<{ readonly record: RepositoryRecord; readonly state: RepositoryState }> {
    const record = await this.#options.metadata.get(this.id);
    if (record === undefined || record.state === "deleted") throw deleted(this.#record);
    return { record, state: await this.#stateOf(record) };
  }

  /** What is newest of this, which was read just now, and of what is known. @throws storage/io */
  async from(record: RepositoryRecord): Promise<RepositoryState> {
    const isOlder = this.#state !== undefined && record.generation < this.#record.generation;
    return this.#stateOf(isOlder ? this.#record : record);
  }

  /** This one, or a newer one that is known. */
  newest(state: RepositoryState): RepositoryState {
    const known = this.#state;
    return known !== undefined && known.root.generation > state.root.generation ? known : state;
  }

  /** The number of the newest pack that a root names, 0 when it names none. @throws storage/io */
  async newestPackOf(root: NodeId): Promise<number> {
    return (await this.#read(root)).packs[0]?.sequence ?? 0;
  }

  /** Keys of packs that other repositories hold on to, as they are or were. @throws storage/io, storage/corrupt */
  async packsOfOthers(): Promise<ReadonlySet<string>> {
    const roots = await this.#options.metadata.listKeptRoots(this.networkId, { besides: this.id });
    return packKeysOf(this.#nodes, roots);
  }

  /** The objects of a state; the caller releases them. @throws storage/io, storage/not-found */
  async view(state: RepositoryState): Promise<ObjectsView> {
    const { packsRoot, shallowRoot } = state.root;
    const previous = this.#view;
    const isSame = previous?.packsRoot === packsRoot && previous?.shallowRoot === shallowRoot;
    if (previous !== undefined && isSame) return (previous.current ?? (await previous.view)).retain();
    const opening = this.#openView(state, previous?.view);
    // Nobody would give it back any more.
    if (this.#isClosed) return opening;
    const opened: OpenedView = { packsRoot, shallowRoot, view: opening };
    this.#view = opened;
    try {
      const view = (await opening).retain();
      if (this.#view === opened) opened.current = view;
      return view;
    } catch (error) {
      if (this.#view === opened) this.#view = undefined;
      throw error;
    } finally {
      giveBack(previous);
    }
  }

  /**
   * Makes a new generation, whoever else does so at the same time.
   * @throws storage/not-found, storage/io (then it is not known whether it happened)
   */
  commit(proposal: Proposal): Promise<ProposalOutcome> {
    const result = this.#last.then(() => this.#commit(proposal));
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** No handle is left, or the store is closed. */
  close(): void {
    this.#isClosed = true;
    const view = this.#view;
    this.#view = undefined;
    giveBack(view);
  }

  async #commit({ kind, draft }: Proposal): Promise<ProposalOutcome> {
    const { nodes } = this.#options;
    const commitId = randomUUID();
    let record = this.#record;
    let state = await this.#stateOf(record);
    for (let races = 0; races < RACES_MAX; races++) {
      const drafted = draft(state, record);
      if (drafted === undefined) return { kind: "nothing" };
      const {
        change,
        packs = [],
        uploads = [],
        retired = [],
        onCommitted,
        restored,
        about,
        events = [],
      } = drafted;
      const bumpsPruneEpoch = restored !== undefined || drafted.dropsObjects === true;
      const { state: next, fresh } =
        restored === undefined
          ? await changeState(this.#nodes, state, {
              ...change,
              addedPacks: packs.map(({ leaf }) => leaf),
              addedSplices: new Map(packs.map(({ leaf, chunked }) => [leaf.key, chunked?.splices ?? []])),
              removedPacks: new Set(retired),
            })
          : restoreState(this.#nodes, state, restored.state);
      const outcome = await this.#ask({
        repositoryId: this.id,
        expectedGeneration: state.root.generation,
        root: next.rootId,
        nodes: fresh,
        uploads,
        packs: packs.flatMap(({ row, chunked }) => [row, ...(chunked?.containers ?? [])]),
        retired,
        ...chunksOf(packs),
        ...(restored === undefined ? {} : { restoredGeneration: restored.generation }),
        ...(bumpsPruneEpoch ? { bumpsPruneEpoch } : {}),
        kind,
        commitId,
        ...(about === undefined ? {} : { about }),
        ...(events.length === 0 ? {} : { events }),
      });
      switch (outcome.kind) {
        case "committed":
          nodes.add(this.networkId, fresh);
          this.#take(outcome.record, next);
          onCommitted?.();
          return { kind: "committed", state: next };
        case "raced":
          ({ record } = outcome);
          state = await this.#stateOf(record);
          break;
        case "not-found":
          throw deleted(this.#record);
        case "upload-gone":
        // One of those that were to be used again has gone: as much is to be sent again.
        case "container-gone":
          return { kind: "upload-gone" };
        case "generation-gone":
          throw new GitwharfError(
            "storage/not-found",
            `generation ${restored?.generation} of repository '${record.name ?? this.id}' is kept no more`,
          );
      }
    }
    throw new GitwharfError("storage/io", "others changed the repository each time this was tried");
  }

  /** Of a commit whose answer was lost it is asked again, with the same id: what that one did is found by it. */
  async #ask(change: MetadataCommit): Promise<CommitOutcome> {
    for (let asked = 1; ; asked++) {
      try {
        return await this.#options.metadata.commit(change);
      } catch (error) {
        const isLost = isGitwharfError(error, "storage/io") && error.details["outcome"] === "unknown";
        if (!isLost || asked >= ASKED_MAX) throw error;
      }
    }
  }

  async #stateOf(record: RepositoryRecord): Promise<RepositoryState> {
    if (this.#state?.rootId === record.root) return this.#state;
    if (this.#reading?.root !== record.root) {
      const state = this.#read(record.root);
      const reading = { root: record.root, state };
      this.#reading = reading;
      state
        .then((read) => this.#take(record, read))
        .catch(() => undefined)
        .finally(() => {
          if (this.#reading === reading) this.#reading = undefined;
        });
    }
    return this.#reading.state;
  }

  async #read(root: NodeId): Promise<RepositoryState> {
    const previous = this.#state;
    if (previous === undefined) return readState(this.#nodes, root);
    try {
      return await readState(this.#nodes, root, previous);
    } catch (error) {
      // What was known here may be so old that it is forgotten, and its nodes gone.
      if (!isGitwharfError(error, "storage/io", "storage/corrupt")) throw error;
      return readState(this.#nodes, root);
    }
  }

  /** Newer ones alone: an answer may come late. */
  #take(record: RepositoryRecord, state: RepositoryState): void {
    if (this.#state !== undefined && record.generation < this.#record.generation) return;
    this.#record = record;
    this.#state = state;
  }

  async #openView(state: RepositoryState, previous: Promise<ObjectsView> | undefined): Promise<ObjectsView> {
    const before = await previous?.catch(() => undefined);
    const packs = await this.#options.shelf.openAll(state.packs, this.objectFormat);
    return new ObjectsView(this.objectFormat, packs, { previous: before, isShallow: state.shallow.size > 0 });
  }
}

/** Containers and chunks that a commit has to know of. */
function chunksOf(packs: readonly StoredPack[]): Pick<MetadataCommit, "held" | "chunks"> {
  const chunked = packs.flatMap((pack) => pack.chunked ?? []);
  if (chunked.length === 0) return {};
  return {
    held: [...new Set(chunked.flatMap(({ held }) => held))],
    chunks: chunked.flatMap(({ chunks }) => chunks),
  };
}

interface OpenedView {
  readonly packsRoot: string | undefined;
  readonly shallowRoot: string | undefined;
  readonly view: Promise<ObjectsView>;
  /** Once it is there. */
  current?: ObjectsView;
}

/** At once where that can be, so that whoever needs room has it. */
function giveBack(opened: OpenedView | undefined): void {
  if (opened?.current !== undefined) opened.current.release();
  else opened?.view.then((view) => view.release()).catch(() => undefined);
}

function deleted(record: RepositoryRecord): GitwharfError {
  const name = record.name ?? record.formerName ?? record.id;
  return new GitwharfError("storage/not-found", `repository '${name}' was deleted`);
}
