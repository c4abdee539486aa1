/**
 * Maps from byte strings to byte strings as trees of nodes, the same map always the same tree and so the same root:
 * refs, packs, recipes of large blobs and the boundaries of shallow repositories are kept in such. The literature calls
 * them prolly trees (probabilistic B-trees). Pure: nodes come from a `NodeReader`, new ones are handed back.
 *
 * - keys of up to 16 KiB in byte order, the empty one included; values of up to 64 KiB; an empty map has no root;
 * - nodes of about 4 KiB; one of a hundred entries or so leads to the next level (1,000,000 refs: 4 levels);
 * - `node-boundary.ts` has the rule that decides the shape, and why it holds; `tree-node.ts` the bytes.
 *
 * Whether a root read from elsewhere has the shape that its map asks for is seen by building it again: the same root
 * comes out, or it was made by somebody else.
 */
export { buildTree, type NewTree, type TreeEntry } from "./build-tree.js";
export { editTree, type TreeEdit } from "./edit-tree.js";
export {
  countTreeEntries,
  diffTrees,
  lookUpInTree,
  type NodeWalk,
  scanTree,
  type TreeChange,
  type TreeRange,
  walkNodes,
} from "./read-tree.js";
