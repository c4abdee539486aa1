/**
 * Is what a root names there, byte for byte? Nodes are read from the database and hashed, objects of the bucket are streamed
 * and hashed; nothing is taken from a cache. What is wrong is a finding that says where.
 *
 * What is inside of the packs is the business of who can read objects (`server/verify-stored.ts`).
 */
import { createHash } from "node:crypto";
import { type GitwharfError, isGitwharfError, throwIfAborted } from "../../base/errors.js";
import type { Bucket } from "./bucket/bucket.js";
import { type ReadOutcome, unreadObject } from "./read-outcome.js";
import type { MetadataStore, RepositoryRecord } from "./metadata/metadata-store.js";
import { checkContainer, readNamedChunks } from "./verify-chunks.js";
import { checkNode, type NodeId, type NodeReader } from "./tree/node.js";
import {
  packObjectBytes,
  packSequenceOf,
  type PackLeaf,
  parsePackLeaf,
  sideObjectBytes,
} from "./tree/pack-leaves.js";
import { scanTree, walkNodes } from "./tree/prolly-tree.js";
import { readRefState } from "./tree/ref-values.js";
import { parseRootNode, type RootNode } from "./tree/root-node.js";

export interface VerifyFinding {
  /**
   * node: a node of the state, by its hash. state: a tree of the state that cannot be read, by its name. object: an object of
   * the bucket, by its key. pack: what is inside of one. repository: what refs lead to, and what concerns all of it.
   */
  readonly what: "node" | "state" | "object" | "pack" | "repository";
  readonly where: string;
  readonly message: string;
}

export interface Verification {
  readonly repository: string;
  readonly generation: number;
  readonly root: NodeId;
  /** What was looked at. */
  readonly nodes: number;
  readonly refs: number;
  readonly packs: number;
  readonly bucketObjects: number;
  readonly bucketBytes: number;
  /** Of Git, inside of the packs; undefined: nobody has looked there. */
  readonly objects?: number;
  readonly findings: readonly VerifyFinding[];
}

export interface VerifyOptions {
  readonly signal?: AbortSignal | undefined;
  /** After each object of the bucket. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface VerifiedStore {
  readonly metadata: MetadataStore;
  readonly bucket: Bucket;
}

const READS_AT_ONCE = 4;
const ROWS_AT_ONCE = 1000;
const TREES = ["refs", "packs", "chunks", "shallow"] as const;

/** @throws storage/io when the database does not answer, base/aborted */
export async function verifyState(
  store: VerifiedStore,
  record: RepositoryRecord,
  options: VerifyOptions = {},
): Promise<Verification> {
  const findings: VerifyFinding[] = [];
  const nodes = new CheckedNodes(store.metadata, record.networkId, findings);
  const root = await readRoot(nodes, record, findings);
  const counts = { nodes: 1, refs: 0, packs: 0, bucketObjects: 0, bucketBytes: 0 };
  if (root !== undefined) {
    await checkAncestry(store.metadata, record, root, findings);
    for (const tree of TREES) {
      throwIfAborted(options.signal);
      await reporting(findings, tree, async () => {
        const visit = (): void => void counts.nodes++;
        await walkNodes(nodes, root[`${tree}Root`], { readsLeaves: true, visit });
      });
    }
    await reporting(findings, "refs", async () => {
      const { direct, symbolic } = await readRefState(nodes, root);
      counts.refs = direct.length + symbolic.size;
    });
    const leaves: PackLeaf[] = [];
    await reporting(findings, "packs", async () => {
      await scanTree(nodes, root.packsRoot, {}, (key, value) => {
        leaves.push(parsePackLeaf(packSequenceOf(key), value, root.objectFormat));
      });
    });
    counts.packs = leaves.length;
    const named = await reporting(findings, "chunks", () => readNamedChunks(nodes, root, leaves));
    for (const message of named?.faults ?? []) findings.push({ what: "state", where: "chunks", message });
    const containers = [...(named?.containers ?? [])].map(
      ([key, chunks]): CheckedObject => ({
        key,
        check: (bucket, signal) => checkContainer(bucket, key, chunks, signal),
      }),
    );
    await checkRows(
      store.metadata,
      record.networkId,
      [...leaves, ...containers.map(({ key }) => ({ key, sideKey: undefined }))],
      findings,
    );
    const whole = leaves.flatMap(objectsOf).map(
      (object): CheckedObject => ({
        key: object.key,
        check: (bucket, signal) => checkBucketObject(bucket, object, signal),
      }),
    );
    const objects = [...whole, ...containers];
    counts.bucketObjects = objects.length;
    counts.bucketBytes = await checkObjects(store.bucket, objects, findings, options);
  }
  const { generation, name, id } = record;
  return { repository: name ?? id, generation, root: record.root, ...counts, findings };
}

/** Remembers which nodes were found to be wrong. */
class CheckedNodes implements NodeReader {
  readonly #metadata: MetadataStore;
  readonly #networkId: string;
  readonly #findings: VerifyFinding[];

  constructor(metadata: MetadataStore, networkId: string, findings: VerifyFinding[]) {
    this.#metadata = metadata;
    this.#networkId = networkId;
    this.#findings = findings;
  }

  async read(ids: readonly NodeId[]): Promise<readonly Buffer[]> {
    const found = await this.#metadata.readNodes(this.#networkId, ids);
    const read: Buffer[] = [];
    let wrong: GitwharfError | undefined;
    for (const id of ids) {
      try {
        read.push(checkNode(id, found.get(id)));
      } catch (error) {
        if (!isGitwharfError(error, "storage/corrupt")) throw error;
        wrong = error;
        if (!this.#findings.some(({ where }) => where === id))
          this.#findings.push({ what: "node", where: id, message: error.message });
      }
    }
    if (wrong !== undefined) throw new Reported(wrong);
    return read;
  }
}

/** There is a finding about it. */
class Reported extends Error {
  constructor(cause: GitwharfError) {
    super(cause.message, { cause });
  }
}

/** undefined: what is wrong was found. */
async function reporting<Read>(
  findings: VerifyFinding[],
  tree: string,
  read: () => Promise<Read>,
): Promise<Read | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof Reported) return undefined;
    if (!isGitwharfError(error, "storage/corrupt")) throw error;
    if (!findings.some(({ message }) => message === error.message))
      findings.push({ what: "state", where: tree, message: error.message });
    return undefined;
  }
}

async function readRoot(
  nodes: NodeReader,
  record: RepositoryRecord,
  findings: VerifyFinding[],
): Promise<RootNode | undefined> {
  const root = await reporting(findings, "root", async () => {
    const [bytes] = await nodes.read([record.root]);
    return parseRootNode(bytes as Buffer);
  });
  if (root === undefined) return undefined;
  const say = (message: string): void => void findings.push({ what: "state", where: "root", message });
  if (root.generation !== record.generation)
    say(`the root says generation ${root.generation}, the database ${record.generation}`);
  if (root.objectFormat !== record.objectFormat)
    say(`the root says ${root.objectFormat}, the database ${record.objectFormat}`);
  return root;
}

/** Does the root follow on what the history says was before? */
async function checkAncestry(
  metadata: MetadataStore,
  { id, generation }: RepositoryRecord,
  { previousRoot }: RootNode,
  findings: VerifyFinding[],
): Promise<void> {
  const [before] = await metadata.listGenerations(id, { before: generation, limit: 1 });
  if (before === undefined || before.generation !== generation - 1 || before.root === previousRoot) return;
  findings.push({
    what: "state",
    where: "root",
    message: `the root follows on ${previousRoot ?? "nothing"}, the history says ${before.root}`,
  });
}

/** What no row tells of is not looked after. */
async function checkRows(
  metadata: MetadataStore,
  networkId: string,
  leaves: readonly Pick<PackLeaf, "key" | "sideKey">[],
  findings: VerifyFinding[],
): Promise<void> {
  const unlisted = new Map(leaves.map((leaf) => [leaf.key, leaf]));
  for (let after: string | undefined; unlisted.size > 0; ) {
    const page = await metadata.listPacks(networkId, {
      ...(after === undefined ? {} : { after }),
      limit: ROWS_AT_ONCE,
    });
    for (const { key, sideKey } of page) {
      const leaf = unlisted.get(key);
      if (leaf !== undefined && leaf.sideKey === sideKey) unlisted.delete(key);
    }
    after = page.at(-1)?.id;
    if (page.length < ROWS_AT_ONCE) break;
  }
  for (const key of unlisted.keys())
    findings.push({
      what: "object",
      where: key,
      message: `${key} is named by the root, but is not in the database's list of what is in the bucket`,
    });
}

/** An object of the bucket, as a leaf says it is. */
export interface ExpectedObject {
  readonly key: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}

interface CheckedObject {
  readonly key: string;
  /** Reads it whole. */
  readonly check: (bucket: Bucket, signal: AbortSignal | undefined) => Promise<ReadOutcome>;
}

export function objectsOf(leaf: PackLeaf): readonly ExpectedObject[] {
  const { key, sha256, sideKey, sideSha256 = "" } = leaf;
  const pack = { key, sha256, sizeBytes: packObjectBytes(leaf) };
  if (sideKey === undefined) return [pack];
  return [pack, { key: sideKey, sha256: sideSha256, sizeBytes: sideObjectBytes(leaf) ?? 0 }];
}

/** @returns the bytes that were read */
async function checkObjects(
  bucket: Bucket,
  objects: readonly CheckedObject[],
  findings: VerifyFinding[],
  { signal, onProgress }: VerifyOptions,
): Promise<number> {
  let next = 0;
  let done = 0;
  let bytes = 0;
  const work = async (): Promise<void> => {
    for (let object = objects[next++]; object !== undefined; object = objects[next++]) {
      throwIfAborted(signal);
      const { sizeBytes, message } = await object.check(bucket, signal);
      bytes += sizeBytes;
      if (message !== undefined) findings.push({ what: "object", where: object.key, message });
      onProgress?.(++done, objects.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(READS_AT_ONCE, objects.length) }, work));
  return bytes;
}

/** Reads all of it. @returns what is wrong, in a sentence */
export async function checkBucketObject(
  bucket: Bucket,
  expected: ExpectedObject,
  signal: AbortSignal | undefined,
): Promise<ReadOutcome> {
  const { key, sha256 } = expected;
  const hash = createHash("sha256");
  let sizeBytes = 0;
  try {
    for await (const bytes of bucket.stream(key, undefined, { signal })) {
      hash.update(bytes);
      sizeBytes += bytes.length;
    }
  } catch (error) {
    return unreadObject(bucket, key, sizeBytes, error);
  }
  if (sizeBytes !== expected.sizeBytes)
    return { sizeBytes, message: `${key} has ${sizeBytes} bytes instead of ${expected.sizeBytes}` };
  const actual = hash.digest("hex");
  if (actual === sha256) return { sizeBytes };
  return {
    sizeBytes,
    message: `${key} was changed: its SHA-256 is ${actual} instead of ${sha256}`,
  };
}
