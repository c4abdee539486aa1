/** A push and its refs as handlers see them: plain objects that need no `this`, so that parts of them can be passed on. */
import { GitwharfError } from "../../base/errors.js";
import { isNullObjectId, type ObjectId } from "../../object/object-id.js";
import { isAncestor } from "../ancestry.js";
import { createFormatSubstitution } from "../archive/format-substitution.js";
import { parsePathSelection } from "../archive/path-selection.js";
import { writeArchive } from "../archive/write-archive.js";
import type { ArchiveOptions, At, Checkout, CheckoutOptions, Push, PushCommand, PushedRef } from "../push.js";
import { checkOutTree } from "./check-out-tree.js";
import type { PushBase, PushedObjects } from "./pushed-base.js";
import { pushedCommits, pushedPaths, readCommit } from "./pushed-commits.js";
import { findFile, listDirectory, type TreeBehind, treeBehind } from "./pushed-files.js";

const COMMITS_MAX = 100_000;

export interface PushView {
  readonly push: Push;
  refOf(command: PushCommand): PushedRef;
}

/** @param signal ends what this view is asked for */
export function createPush(base: PushBase, signal: AbortSignal): PushView {
  const shallow = new Set([...base.snapshot.shallow, ...base.newShallow]);
  const from: PushedObjects = {
    get objects() {
      return base.objects;
    },
    snapshot: base.snapshot,
    shallow,
    limits: base.limits,
    signal,
  };
  const known = new Map<PushCommand, PushedRef>();
  const refOf = (command: PushCommand): PushedRef => {
    let ref = known.get(command);
    if (ref === undefined) known.set(command, (ref = createRef(base, from, command)));
    return ref;
  };
  const placeOf = ({ at }: At): ObjectId => {
    if (at !== undefined) return typeof at === "string" ? at : at.newOid;
    const tips = new Set(base.standing().map(({ newOid }) => newOid));
    const [only, another] = [...tips].filter((oid) => !isNullObjectId(oid));
    if (only === undefined || another !== undefined)
      throw new Error("the push does not bring one commit but none or several: say which with { at }");
    return only;
  };
  const push: Push = {
    get repository() {
      return base.repository;
    },
    identity: base.identity,
    transport: base.transport,
    address: base.address,
    ...(base.facts === undefined ? {} : { facts: base.facts }),
    commands: base.commands,
    get updates() {
      return base.standing().map(refOf);
    },
    requestId: base.requestId,
    capabilities: base.capabilities,
    options: base.options,
    certificate: base.certificate,
    quarantine: base.quarantine,
    newShallow: base.newShallow,
    snapshot: base.snapshot,
    get objects() {
      return base.objects;
    },
    print: (text, options) => base.print(text, options, signal),
    isTerminal: base.isTerminal,
    signal,
    reject: (reason) => base.reject(undefined, reason),
    checkout: async (directory, options = {}) => checkOut(from, placeOf(options), directory, options),
    archive: (options = {}) => archive(from, placeOf(options), options),
    commit: (oid) => readCommit(from, oid),
    file: async (path, options = {}) => findFile(from, placeOf(options), path),
  };
  return { push, refOf };
}

function createRef(base: PushBase, from: PushedObjects, command: PushCommand): PushedRef {
  const { name, oldOid, newOid } = command;
  const [, kind = "", rest = ""] = /^refs\/(heads|tags)\/([^]+)$/.exec(name) ?? [];
  const created = isNullObjectId(oldOid);
  const deleted = isNullObjectId(newOid);
  let forced: Promise<boolean> | undefined;
  return {
    ...command,
    kind: kind === "heads" ? "branch" : kind === "tags" ? "tag" : "other",
    shortName: rest === "" ? name.replace(/^refs\//, "") : rest,
    created,
    deleted,
    forced: () =>
      (forced ??= (async () =>
        !created &&
        !deleted &&
        !(await isAncestor(from.objects, oldOid, newOid, { shallow: from.shallow, signal: from.signal })))()),
    commits: ({ max = COMMITS_MAX } = {}) => pushedCommits(from, command, max),
    changedPaths: () => pushedPaths(from, command),
    file: (path) => findFile(from, newOid, path),
    list: (path = "") => listDirectory(from, newOid, path),
    checkout: (directory, options = {}) => checkOut(from, newOid, directory, options),
    archive: (options = {}) => archive(from, newOid, options),
    reject: (reason) => base.reject(name, reason),
    redirect: (refName, options = {}) => base.redirect(command, refName, options, from.signal),
  };
}

async function checkOut(
  from: PushedObjects,
  oid: ObjectId,
  directory: string,
  options: CheckoutOptions,
): Promise<Checkout> {
  return checkOutTree(from, (await treeOf(from, oid)).tree, directory, options);
}

async function* archive(
  from: PushedObjects,
  oid: ObjectId,
  { format = "tar", prefix = "", paths = [] }: ArchiveOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { objects, limits, signal } = from;
  const { tree, commit, seconds } = await treeOf(from, oid);
  const bytes = (text: string): string => Buffer.from(text).toString("latin1");
  yield* writeArchive({
    objects,
    tree,
    prefix: bytes(prefix),
    selection: parsePathSelection(paths.map(bytes)),
    limits,
    signal,
    format,
    origin: { commit, modifiedSeconds: seconds ?? Math.floor(Date.now() / 1000) },
    substitution:
      commit === undefined
        ? undefined
        : createFormatSubstitution({ objects, commit, decorations: async () => [] }),
  });
}

async function treeOf(from: PushedObjects, oid: ObjectId): Promise<TreeBehind> {
  const found = await treeBehind(from, oid);
  if (found !== undefined) return found;
  throw new GitwharfError(
    "storage/not-found",
    isNullObjectId(oid) ? "a ref that is deleted has no files" : `${oid} leads to no files`,
  );
}
