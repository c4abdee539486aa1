/**
 * What a root says, read into memory: refs, packs, shallow commits. A state never changes; the next one is made from it by
 * reading only what is different between their trees, or by a change of our own.
 */
import { othersTurn } from "../../base/others-turn.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import type { RefSnapshot } from "../contracts/ref-store.js";
import { createRefSnapshot } from "../refs/ref-snapshot.js";
import { changeRefState, type RefState, type RefValue } from "../refs/ref-state.js";
import { changeShallow, NO_SHALLOW_CHANGE, type ShallowChange } from "../shallow-change.js";
import { addSplices, removeSplices, withSplices } from "./pack-splices.js";
import type { NewPackLeaf, OpenLeaf, Splice } from "./stored-pack.js";
import { checkNode, type FreshNodes, type NodeId, nodeIdOf, type NodeReader } from "./tree/node.js";
import { formatPackLeaf, type PackLeaf, packKey, packSequenceOf, parsePackLeaf } from "./tree/pack-leaves.js";
import { editTree, scanTree, walkNodes } from "./tree/prolly-tree.js";
import { readChangedRefState, readRefState, refEdits } from "./tree/ref-values.js";
import { formatRootNode, parseRootNode, type RootNode } from "./tree/root-node.js";

const ROOTS_AT_ONCE = 128;
/** What is done with more of them at once takes others' time. */
const REFS_IN_A_TURN = 1000;

export interface RepositoryState {
  readonly rootId: NodeId;
  readonly root: RootNode;
  readonly refs: RefState;
  readonly snapshot: RefSnapshot;
  /** Most recently written first. */
  readonly packs: readonly OpenLeaf[];
  readonly shallow: ReadonlySet<ObjectId>;
}

export interface StateChange {
  /** By name, HEAD among them; `undefined` removes. */
  readonly refs?: ReadonlyMap<string, RefValue | undefined>;
  readonly addedPacks?: readonly NewPackLeaf[];
  /** Of those among them of which some bytes are chunks, by key. */
  readonly addedSplices?: ReadonlyMap<string, readonly Splice[]>;
  /** Keys. */
  readonly removedPacks?: ReadonlySet<string>;
  readonly shallow?: ShallowChange;
}

/** Of a repository that was just made. */
export function firstState(
  objectFormat: ObjectFormat,
  headTarget: string,
): { readonly rootId: NodeId; readonly nodes: FreshNodes } {
  const bytes = formatRootNode({
    generation: 0,
    timeMs: Date.now(),
    objectFormat,
    head: { kind: "symbolic", target: headTarget },
    attributes: new Map(),
  });
  const rootId = nodeIdOf(bytes);
  return { rootId, nodes: new Map([[rootId, bytes]]) };
}

/** @param previous any state of the repository or of one it was forked from. @throws storage/io, storage/corrupt */
export async function readState(
  nodes: NodeReader,
  rootId: NodeId,
  previous?: RepositoryState,
): Promise<RepositoryState> {
  const [bytes] = await nodes.read([rootId]);
  const root = parseRootNode(checkNode(rootId, bytes));
  const known =
    previous === undefined ? undefined : { refsRoot: previous.root.refsRoot, state: previous.refs };
  const [refs, packs, shallow] = await Promise.all([
    known === undefined ? readRefState(nodes, root) : readChangedRefState(nodes, known, root),
    previous !== undefined && root.packsRoot === previous.root.packsRoot
      ? previous.packs
      : readPacks(nodes, root),
    previous !== undefined && root.shallowRoot === previous.root.shallowRoot
      ? previous.shallow
      : readShallow(nodes, root),
  ]);
  return stateOf(nodes, rootId, root, { refs, packs, shallow });
}

/** The state after a change, and the nodes that it needs; they are not kept anywhere yet. */
export async function changeState(
  nodes: NodeReader,
  state: RepositoryState,
  change: StateChange,
): Promise<{ readonly state: RepositoryState; readonly fresh: FreshNodes }> {
  const { root } = state;
  const { refs = new Map(), addedPacks = [], removedPacks = new Set() } = change;
  const { shallow = NO_SHALLOW_CHANGE } = change;
  const head = refs.get("HEAD");
  let sequence = state.packs[0]?.sequence ?? 0;
  const added = addedPacks.map((leaf): PackLeaf => ({ ...leaf, sequence: ++sequence }));
  const packEdits = [
    ...state.packs
      .filter(({ key }) => removedPacks.has(key))
      .map(({ sequence }) => ({ key: packKey(sequence), value: undefined })),
    ...added.map((leaf) => ({ key: packKey(leaf.sequence), value: formatPackLeaf(leaf) })),
  ];
  const newSplices = await addSplices(
    added.map(({ sequence, key }) => ({ sequence, splices: change.addedSplices?.get(key) ?? [] })),
  );
  const oldSplices = await removeSplices(
    nodes,
    root.chunksRoot,
    state.packs.filter(({ key }) => removedPacks.has(key)),
  );
  const shallowEdit = (value: Buffer | undefined) => (oid: ObjectId) => ({
    key: Buffer.from(oid, "hex"),
    value,
  });
  const shallowEdits = [
    ...[...shallow.added].map(shallowEdit(Buffer.alloc(0))),
    ...[...shallow.removed].filter((oid) => state.shallow.has(oid)).map(shallowEdit(undefined)),
  ];
  const isLong = refs.size > REFS_IN_A_TURN;
  if (isLong) await othersTurn();
  const edits = refEdits(refs);
  if (isLong) await othersTurn();
  const [refsTree, packsTree, chunksTree, shallowTree] = await Promise.all([
    editTree(nodes, root.refsRoot, edits),
    editTree(nodes, root.packsRoot, packEdits),
    editTree(nodes, root.chunksRoot, [...oldSplices, ...newSplices.edits]),
    editTree(nodes, root.shallowRoot, shallowEdits),
  ]);
  if (isLong) await othersTurn();
  const changed = changeRefState(state.refs, refs);
  if (isLong) await othersTurn();
  const next: RootNode = {
    ...root,
    generation: root.generation + 1,
    timeMs: Math.max(Date.now(), root.timeMs),
    previousRoot: state.rootId,
    refsRoot: refsTree.root,
    packsRoot: packsTree.root,
    chunksRoot: chunksTree.root,
    shallowRoot: shallowTree.root,
    head: head ?? root.head,
  };
  const bytes = formatRootNode(next);
  const id = nodeIdOf(bytes);
  const fresh = new Map([
    ...refsTree.nodes,
    ...packsTree.nodes,
    ...chunksTree.nodes,
    ...newSplices.nodes,
    ...shallowTree.nodes,
    [id, bytes],
  ]);
  return {
    fresh,
    state: stateOf(nodes, id, next, {
      refs: changed,
      packs: [...added.toReversed(), ...state.packs.filter((leaf) => !removedPacks.has(leaf.key))],
      shallow: changeShallow(state.shallow, shallow),
    }),
  };
}

/** The next state, which is as an earlier one was: nothing is new but the root. */
export function restoreState(
  nodes: NodeReader,
  state: RepositoryState,
  past: RepositoryState,
): { readonly state: RepositoryState; readonly fresh: FreshNodes } {
  const root: RootNode = {
    ...past.root,
    generation: state.root.generation + 1,
    timeMs: Math.max(Date.now(), state.root.timeMs),
    previousRoot: state.rootId,
  };
  const bytes = formatRootNode(root);
  const id = nodeIdOf(bytes);
  return { state: stateOf(nodes, id, root, past), fresh: new Map([[id, bytes]]) };
}

function stateOf(
  nodes: NodeReader,
  rootId: NodeId,
  root: RootNode,
  parts: Pick<RepositoryState, "refs" | "packs" | "shallow">,
): RepositoryState {
  const { refs, shallow } = parts;
  const packs = parts.packs.map((leaf) => withSplices(nodes, root.chunksRoot, leaf));
  return { rootId, root, refs, packs, shallow, snapshot: createRefSnapshot(refs, rootId) };
}

/** Keys of the packs that any of these roots names. @throws storage/io, storage/corrupt */
export async function packKeysOf(
  nodes: NodeReader,
  rootIds: readonly NodeId[],
): Promise<ReadonlySet<string>> {
  const keys = new Set<string>();
  const seen = new Set<NodeId>();
  for (let at = 0; at < rootIds.length; at += ROOTS_AT_ONCE) {
    const ids = rootIds.slice(at, at + ROOTS_AT_ONCE);
    const read = await nodes.read(ids);
    for (const [i, id] of ids.entries()) {
      const { packsRoot, objectFormat } = parseRootNode(checkNode(id, read[i]));
      await othersTurn();
      // Generations share nearly all of their trees.
      await walkNodes(nodes, packsRoot, {
        readsLeaves: true,
        seen: (node) => seen.has(node),
        visit: (node, level, content) => {
          seen.add(node);
          if (level > 0) return;
          content?.keys.forEach((place, n) => {
            keys.add(parsePackLeaf(packSequenceOf(place), content.values[n] as Buffer, objectFormat).key);
          });
        },
      });
    }
  }
  return keys;
}

async function readPacks(
  nodes: NodeReader,
  { packsRoot, objectFormat }: RootNode,
): Promise<readonly PackLeaf[]> {
  const packs: PackLeaf[] = [];
  await scanTree(nodes, packsRoot, {}, (key, value) => {
    packs.push(parsePackLeaf(packSequenceOf(key), value, objectFormat));
  });
  return packs.reverse();
}

async function readShallow(nodes: NodeReader, { shallowRoot }: RootNode): Promise<ReadonlySet<ObjectId>> {
  const shallow = new Set<ObjectId>();
  await scanTree(nodes, shallowRoot, {}, (key) => {
    shallow.add(key.toString("hex"));
  });
  return shallow;
}
