/** What a store can do because it keeps roots: forks, the history and going back in it, and proving what is there. */
import { GitwharfError } from "../../base/errors.js";
import { parseRepositoryName } from "../contracts/repository-name.js";
import type { Repository, RepositoryStore } from "../contracts/repository.js";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import type { Bucket } from "./bucket/bucket.js";
import { exportState } from "./export-state.js";
import { formatAbout } from "./generation-about.js";
import type { MetadataStore, RepositoryRecord } from "./metadata/metadata-store.js";
import type { NodeCache } from "./node-cache.js";
import type { DeletedRepository, ObjectStore } from "./object-store.js";
import type { PackShelf } from "./pack-shelf.js";
import { PastRepository } from "./past-repository.js";
import { findGeneration, generationOf, readPastState } from "./past-states.js";
import { readState } from "./repository-state.js";
import type { StoredCore } from "./stored-core.js";
import { verifyState } from "./verify-state.js";

export interface StoreHistoryParts {
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  readonly nodes: NodeCache;
  readonly shelf: PackShelf;
  readonly settings: (name: string) => RepositorySettings;
  /** What all handles on a repository share. */
  readonly useCore: (record: RepositoryRecord) => { readonly core: StoredCore; readonly release: () => void };
  readonly handle: (record: RepositoryRecord, name: string) => Repository;
  readonly pastStore: (timeMs: number) => RepositoryStore;
}

const HISTORY_LIMIT = 100;
const LISTED_AT_ONCE = 1000;

export function createStoreHistory(
  parts: StoreHistoryParts,
): Omit<ObjectStore, Exclude<keyof RepositoryStore, "rename" | "openAt"> | "clean" | "writeWitnesses"> {
  const { bucket, metadata, nodes, shelf, settings, useCore, handle } = parts;
  return {
    async fork(parent, text) {
      const name = parseRepositoryName(text);
      const { record } = await findLive(metadata, parent);
      return handle(await metadata.fork(record.id, name), name);
    },
    async rename(from, to) {
      const name = parseRepositoryName(to);
      await metadata.rename((await findLive(metadata, from)).record.id, name);
    },
    async history(text, { before, limit = HISTORY_LIMIT } = {}) {
      const { record } = await findLive(metadata, text);
      const generations = await metadata.listGenerations(record.id, {
        ...(before === undefined ? {} : { before }),
        limit,
      });
      return generations.map(generationOf);
    },
    async openAt(text, at) {
      const { name, record } = await findLive(metadata, text);
      const generation = await findGeneration(metadata, record, at);
      return new PastRepository({
        name,
        id: `object-store-${record.id}`,
        generation: generation.generation,
        state: await readPastState(metadata, nodes.of(record.networkId), record, generation),
        shelf,
        settings,
        checkKept: async () => void (await findGeneration(metadata, record, generation)),
      });
    },
    asOf: parts.pastStore,
    async restore(text, at) {
      const { record } = await findLive(metadata, text);
      const past = await findGeneration(metadata, record, at);
      const state = await readPastState(metadata, nodes.of(record.networkId), record, past);
      const { core, release } = useCore(record);
      try {
        const { generation } = past;
        const outcome = await core.commit({
          kind: "restore",
          draft: () => ({
            change: {},
            restored: { generation, state },
            about: formatAbout({ restored: generation }),
          }),
        });
        if (outcome.kind !== "committed")
          throw new GitwharfError("base/invariant", "a restored state was not committed");
        const { rootId: root, root: made } = outcome.state;
        return {
          generation: made.generation,
          root,
          kind: "restore",
          timeMs: made.timeMs,
          about: { restored: generation },
        };
      } finally {
        release();
      }
    },
    async *listDeleted() {
      yield* deletedOf(metadata);
    },
    async undelete(which, text) {
      let found: DeletedRepository | undefined;
      for await (const deleted of deletedOf(metadata)) {
        if (deleted.id === which) {
          found = deleted;
          break;
        }
        if (deleted.formerName === which) found = deleted;
      }
      if (found === undefined)
        throw new GitwharfError(
          "storage/not-found",
          `no repository that was deleted is called '${which}', or it is kept no more`,
        );
      const name = parseRepositoryName(text ?? found.formerName);
      await metadata.undelete(found.id, name);
      return name;
    },
    async verify(text, verifying) {
      const { record } = await findLive(metadata, text);
      return verifyState({ metadata, bucket }, record, verifying);
    },
    async exportTo(text, directory, { at, ...exporting } = {}) {
      const { record } = await findLive(metadata, text);
      const reader = nodes.of(record.networkId);
      const state =
        at === undefined
          ? await readState(reader, record.root)
          : await readPastState(metadata, reader, record, await findGeneration(metadata, record, at));
      return exportState(state, bucket, directory, exporting);
    },
  };
}

/** @throws storage/not-found, storage/bad-name, storage/io */
export async function findLive(
  metadata: MetadataStore,
  text: string,
): Promise<{ readonly name: string; readonly record: RepositoryRecord }> {
  const name = parseRepositoryName(text);
  const record = await metadata.find(name);
  if (record === undefined)
    throw new GitwharfError("storage/not-found", `repository '${name}' does not exist`);
  return { name, record };
}

async function* deletedOf(metadata: MetadataStore): AsyncGenerator<DeletedRepository, void, void> {
  for (let limit = LISTED_AT_ONCE; ; limit *= 2) {
    // There is no place to go on from: one more page is a longer one.
    const page = await metadata.listHidden({ state: "deleted", beforeMs: Number.MAX_SAFE_INTEGER, limit });
    if (page.length === limit) continue;
    for (const { id, formerName, deletedAtMs = 0, generation, root } of page)
      if (formerName !== undefined) yield { id, formerName, deletedAtMs, generation, root };
    return;
  }
}
