/**
 * Makes the rows of an object store again, in an empty database, from the witnesses in its bucket. It may end anywhere: begun again it comes to
 * the same, and until it has come to its end nobody is served from what is there.
 *
 *     bucket listed ──► witnesses read and hashed ──► network by network: nodes, what is whole of the history, rows ──► done
 */
import { throwIfAborted } from "../../../base/errors.js";
import type { Bucket } from "../bucket/bucket.js";
import type { GenerationRecord, MetadataStore, RepositoryRecord } from "../metadata/metadata-store.js";
import type { RebuiltNetwork } from "../metadata/witness-store.js";
import { nodeIdOf, type NodeId } from "../tree/node.js";
import { findChain, type ListedWitness, readWitness, type WitnessChain } from "./witness-chains.js";
import { parseWitnessKey, WITNESS_PREFIX } from "./witness-format.js";
import { WitnessedStates } from "./witnessed-state.js";

export interface RebuildOptions {
  readonly bucket: Bucket;
  readonly metadata: MetadataStore;
  /** Packs are read and hashed, too; otherwise their sizes are compared. @default false */
  readonly deep?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((what: string, done: number, total: number) => void) | undefined;
}

/** `loss`: something that was told once could not be restored. `note`: it could be, otherwise than it was. */
export interface RebuildFinding {
  readonly kind: "loss" | "note";
  /** Its name, or its id where that is not known. */
  readonly repository: string;
  readonly message: string;
}

export interface RebuildReport {
  readonly networks: number;
  readonly repositories: number;
  /** Those among them that can be brought back with `undelete`. */
  readonly deleted: number;
  readonly generations: number;
  readonly nodes: number;
  readonly packs: number;
  readonly packBytes: number;
  readonly witnesses: number;
  /** In the bucket, and needed by nothing that was restored: pushes that no witness tells, and garbage. They stay. */
  readonly otherObjects: number;
  readonly otherBytes: number;
  readonly findings: readonly RebuildFinding[];
}

const READS_AT_ONCE = 4;
const NODES_AT_ONCE = 1000;
const BYTES_AT_ONCE = 4 * 1024 * 1024;

/** @throws storage/exists when the database is not empty, storage/io, base/aborted */
export async function rebuild(options: RebuildOptions): Promise<RebuildReport> {
  return new Rebuild(options).run();
}

interface Witnessed extends WitnessChain {
  readonly id: string;
  readonly listed: readonly ListedWitness[];
}

class Rebuild {
  readonly #options: RebuildOptions;
  readonly #findings: RebuildFinding[] = [];
  readonly #inBucket = new Map<string, number>();
  readonly #named = new Set<string>();
  readonly #counts = {
    networks: 0,
    repositories: 0,
    deleted: 0,
    generations: 0,
    nodes: 0,
    packs: 0,
    packBytes: 0,
    witnesses: 0,
  };

  constructor(options: RebuildOptions) {
    this.#options = options;
  }

  async run(): Promise<RebuildReport> {
    const { bucket, metadata } = this.#options;
    await metadata.beginRebuild(bucket.name);
    const witnessed = await this.#readWitnesses(await this.#list());
    const names = this.#settleNames(witnessed);
    const networks = new Map<string, Witnessed[]>();
    for (const one of witnessed) {
      const { networkId } = one.header.repository;
      const others = networks.get(networkId);
      if (others === undefined) networks.set(networkId, [one]);
      else others.push(one);
    }
    await this.#each("Restoring", [...networks], ([id, members]) => this.#restore(id, members, names));
    await metadata.endRebuild();
    let [otherObjects, otherBytes] = [0, 0];
    for (const [key, sizeBytes] of this.#inBucket) {
      if (this.#named.has(key)) continue;
      otherObjects++;
      otherBytes += sizeBytes;
    }
    return { ...this.#counts, otherObjects, otherBytes, findings: this.#findings };
  }

  /** @returns witnesses, by their repositories */
  async #list(): Promise<ReadonlyMap<string, readonly ListedWitness[]>> {
    const { bucket, signal } = this.#options;
    const witnesses = new Map<string, ListedWitness[]>();
    for await (const { key, sizeBytes } of bucket.list("", { signal })) {
      const witness = key.startsWith(WITNESS_PREFIX) ? parseWitnessKey(key) : undefined;
      if (witness === undefined) {
        this.#inBucket.set(key, sizeBytes);
        continue;
      }
      const listed = { key, number: witness.number, sizeBytes };
      const others = witnesses.get(witness.repositoryId);
      if (others === undefined) witnesses.set(witness.repositoryId, [listed]);
      else others.push(listed);
    }
    return witnesses;
  }

  async #readWitnesses(
    witnesses: ReadonlyMap<string, readonly ListedWitness[]>,
  ): Promise<readonly Witnessed[]> {
    const { bucket, signal } = this.#options;
    const found: Witnessed[] = [];
    await this.#each("Reading witnesses", [...witnesses], async ([id, listed]) => {
      const chain = await findChain(bucket, listed, signal);
      if (typeof chain === "string") {
        this.#say("loss", id, `the repository with the id ${id} cannot be restored: ${chain}`);
        return;
      }
      const { repository } = chain.header;
      if (repository.id !== id) {
        this.#say("loss", id, `the witnesses of the repository with the id ${id} tell of another one`);
        return;
      }
      this.#counts.witnesses += chain.keys.length;
      if (chain.lost !== undefined)
        this.#say(
          "loss",
          nameOf(repository),
          `went back to generation ${repository.generation}, to what it was at change ${chain.header.number}: ${chain.lost}`,
        );
      found.push({ ...chain, id, listed });
    });
    return found.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Of two that were called the same, one was told of before it was renamed or deleted. @returns names that are not as they were, by ids */
  #settleNames(witnessed: readonly Witnessed[]): ReadonlyMap<string, string> {
    const told = new Set(witnessed.flatMap(({ header }) => header.repository.name ?? []));
    const held = new Set<string>();
    const names = new Map<string, string>();
    const newestFirst = witnessed.toSorted(
      (a, b) => b.header.timeMs - a.header.timeMs || (a.id < b.id ? -1 : 1),
    );
    for (const one of newestFirst) {
      const { name } = one.header.repository;
      if (name === null) continue;
      if (!held.has(name)) {
        held.add(name);
        continue;
      }
      const short = `${name}-${one.id.slice(0, 8)}`;
      const other = told.has(short) ? `${name}-${one.id}` : short;
      told.add(other);
      names.set(one.id, other);
      this.#say(
        "note",
        name,
        `two repositories were called so; the one that was told of earlier is called ${other} now`,
      );
    }
    return names;
  }

  async #restore(
    networkId: string,
    members: readonly Witnessed[],
    names: ReadonlyMap<string, string>,
  ): Promise<void> {
    const { bucket, metadata, deep = false, signal } = this.#options;
    const histories = new Map<string, readonly GenerationRecord[]>();
    for (const one of members) histories.set(one.id, await this.#readHistory(networkId, one));
    const states = new WitnessedStates({
      bucket,
      metadata,
      networkId,
      inBucket: this.#inBucket,
      deep,
      signal,
    });
    const repositories: RebuiltNetwork["repositories"][number][] = [];
    for (const one of members) {
      const repository = await this.#restoreOne(one, histories.get(one.id) ?? [], states, names.get(one.id));
      if (repository !== undefined) repositories.push(repository);
    }
    if (repositories.length === 0) {
      // Nobody would ever look after them.
      await metadata.sweepNodes(networkId, Number.MAX_SAFE_INTEGER, () => false);
      return;
    }
    const packs = [...states.packs.values()];
    await metadata.addRebuiltNetwork({ id: networkId, repositories, packs });
    const counts = this.#counts;
    counts.networks++;
    counts.nodes += states.nodeCount;
    counts.packs += packs.length;
    for (const { key, sideKey, sizeBytes } of packs) {
      counts.packBytes += sizeBytes;
      this.#named.add(key);
      if (sideKey !== undefined) this.#named.add(sideKey);
    }
    for (const { record, generations } of repositories) {
      counts.repositories++;
      if (record.state === "deleted") counts.deleted++;
      counts.generations += generations.length;
    }
  }

  /** Into the database with the nodes. @returns generations, ascending */
  async #readHistory(networkId: string, { id, keys }: Witnessed): Promise<readonly GenerationRecord[]> {
    const { bucket, metadata, signal } = this.#options;
    const generations = new Map<number, GenerationRecord>();
    let nodes = new Map<NodeId, Buffer>();
    let bytes = 0;
    const write = async (): Promise<void> => {
      if (nodes.size > 0) await metadata.writeRebuiltNodes(networkId, nodes);
      [nodes, bytes] = [new Map(), 0];
    };
    for (const key of keys)
      for await (const part of readWitness(bucket, key, signal)) {
        if (part.type === "generation")
          generations.set(part.generation.generation, { ...part.generation, repositoryId: id });
        if (part.type !== "node") continue;
        nodes.set(nodeIdOf(part.bytes), part.bytes);
        bytes += part.bytes.length;
        if (nodes.size >= NODES_AT_ONCE || bytes >= BYTES_AT_ONCE) await write();
      }
    await write();
    return [...generations.values()].toSorted((a, b) => a.generation - b.generation);
  }

  /** @returns undefined: nothing of it is whole */
  async #restoreOne(
    { header, listed }: Witnessed,
    history: readonly GenerationRecord[],
    states: WitnessedStates,
    otherName: string | undefined,
  ): Promise<RebuiltNetwork["repositories"][number] | undefined> {
    const told = header.repository;
    const name = nameOf(told);
    const whole: GenerationRecord[] = [];
    let missing: string | undefined;
    let gone = 0;
    for (const generation of history.toReversed()) {
      if (generation.generation > told.generation) continue;
      const wrong = await states.whatIsMissing(generation);
      if (wrong === undefined) whole.unshift(generation);
      else {
        missing ??= wrong;
        // What was forgotten before the witness was written is not missed.
        if (generation.generation >= header.oldestGeneration) gone++;
      }
    }
    const newest = whole.at(-1);
    if (newest === undefined) {
      this.#say("loss", name, `cannot be restored: ${missing ?? "no witness tells a generation of it"}`);
      return undefined;
    }
    const hasGoneBack = newest.generation !== told.generation;
    if (hasGoneBack)
      this.#say(
        "loss",
        name,
        `went back to generation ${newest.generation}, for not all of generation ${told.generation} is there: ${missing ?? "it was not told"}`,
      );
    else if (gone > 0)
      this.#say(
        "note",
        name,
        `${gone} of the generations before the current one are not in the history any more, forgotten since or damaged: ${missing ?? ""}`,
      );
    const record: RepositoryRecord = {
      ...told,
      ...(otherName === undefined ? {} : { name: otherName }),
      generation: newest.generation,
      root: newest.root,
      pruneEpoch: told.pruneEpoch + (hasGoneBack ? 1 : 0),
    };
    return {
      record,
      changedAtMs: newest.timeMs,
      number: Math.max(...listed.map(({ number }) => number)) + 1,
      generations: whole,
      witnesses: listed,
    };
  }

  async #each<Item>(
    what: string,
    items: readonly Item[],
    body: (item: Item) => Promise<void>,
  ): Promise<void> {
    const { signal, onProgress } = this.#options;
    const failures: unknown[] = [];
    let [next, done] = [0, 0];
    const work = async (): Promise<void> => {
      for (let item = items[next++]; item !== undefined && failures.length === 0; item = items[next++])
        try {
          throwIfAborted(signal);
          await body(item);
          onProgress?.(what, ++done, items.length);
        } catch (error) {
          failures.push(error);
        }
    };
    await Promise.all(Array.from({ length: Math.min(READS_AT_ONCE, items.length) }, work));
    if (failures.length > 0) throw failures[0];
    throwIfAborted(signal);
  }

  #say(kind: RebuildFinding["kind"], repository: string, message: string): void {
    this.#findings.push({ kind, repository, message });
  }
}

function nameOf({ name, formerName, id }: RepositoryRecord): string {
  return name ?? formerName ?? id;
}
