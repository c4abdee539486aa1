/**
 * Pushed commits, written anew: parents before children, each once, nothing of their authors left. What the upstream has
 * stays as it is. Trees and everything below them are kept: docs/decisions/gateway-rewriting.md says what that leaves.
 *
 * The commits are read twice, so that none is held: once for their order and for whom they name, and once to be written.
 */
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import { othersTurn } from "../../base/others-turn.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { hashObject, type ObjectId } from "../../object/object-id.js";
import { type CommitParts, type Person, readCommitParts } from "./commit-parts.js";
import { createKnownPeople, type KnownPeople } from "./known-people.js";
import { type NewCommit, writeCommit } from "./rewritten-commit.js";
import { scrubMessage } from "./scrub-message.js";
import { createSquash } from "./squash.js";

export interface RewriteOptions {
  readonly format: ObjectFormat;
  /** A commit. */
  readonly tip: ObjectId;
  /** @returns undefined for a commit of the upstream */
  readonly read: (oid: ObjectId) => MaybePromise<Buffer | undefined>;
  /** Parents come before their children. */
  readonly write: (oid: ObjectId, data: Buffer) => MaybePromise<void>;
  /** Author and committer of all of them, see `checkIdentity`. */
  readonly identity: Person;
  /** Both dates. */
  readonly seconds: number;
  /** Of messages. @default true */
  readonly isScrubbed?: boolean;
  /** One commit of all of them. @default false */
  readonly isSquashed?: boolean;
  /** Where nothing is left of a message. @default "Contribution" */
  readonly emptyMessage?: string;
  readonly limits?: Partial<RewriteLimits>;
  readonly signal?: AbortSignal;
}

export interface RewriteLimits {
  /** Of one push. @default 10,000 */
  readonly commitsMax: number;
  /** Of one commit, its headers and its message. @default 10 MiB */
  readonly commitBytesMax: number;
  /** Characters of one message. @default 65,536 */
  readonly messageLengthMax: number;
  /** Characters of all messages of a push. @default 2,097,152 */
  readonly messageLengthTotalMax: number;
  /** Of one commit. @default 1,000 */
  readonly parentsMax: number;
}

export interface RewrittenHistory {
  readonly tip: ObjectId;
  /** Old to new; when squashed, the tip alone. */
  readonly ids: ReadonlyMap<ObjectId, ObjectId>;
  /** Commits of the upstream that the new ones stand on. */
  readonly boundary: readonly ObjectId[];
  /** How many were written; 0 when the tip is the upstream's. */
  readonly commits: number;
  /** Of the new tip; "" when it is the upstream's. */
  readonly message: string;
}

const MiB = 1024 * 1024;

export const DEFAULT_REWRITE_LIMITS: RewriteLimits = {
  commitsMax: 10_000,
  commitBytesMax: 10 * MiB,
  messageLengthMax: 64 * 1024,
  messageLengthTotalMax: 2 * MiB,
  parentsMax: 1000,
};

/** @throws object/malformed, base/limit-exceeded, base/aborted */
export async function rewriteHistory(options: RewriteOptions): Promise<RewrittenHistory> {
  const limits = { ...DEFAULT_REWRITE_LIMITS, ...options.limits };
  const people = createKnownPeople(options.identity);
  const { order, boundary } = await putInOrder(options, limits, people);
  const rewriter: Rewriter = { options, limits, people, length: 0 };
  const written = options.isSquashed === true ? squashed : oneByOne;
  return written(rewriter, order, boundary);
}

interface Rewriter {
  readonly options: RewriteOptions;
  readonly limits: RewriteLimits;
  readonly people: KnownPeople;
  /** Of messages since others had their turn. */
  length: number;
}

async function oneByOne(
  rewriter: Rewriter,
  order: readonly ObjectId[],
  boundary: readonly ObjectId[],
): Promise<RewrittenHistory> {
  const { options, limits } = rewriter;
  const { format, identity, tip } = options;
  const ids = new Map<ObjectId, ObjectId>();
  // Commits that differed in nothing but what is gone would become one, and a history another: each next one is a second later.
  const repeats = new Map<ObjectId, number>();
  let message = "";
  for (const old of order) {
    throwIfAborted(options.signal);
    const parts = await readParts(old, options, limits);
    message = await messageOf(parts, rewriter);
    const commit: NewCommit = {
      tree: parts.tree,
      parents: parts.parents.map((parent) => ids.get(parent) ?? parent),
      identity,
      seconds: options.seconds,
      message,
    };
    let data = writeCommit(commit);
    let oid = hashObject(format, "commit", data);
    const repeated = repeats.get(oid) ?? 0;
    repeats.set(oid, repeated + 1);
    if (repeated > 0) {
      data = writeCommit({ ...commit, seconds: commit.seconds + repeated });
      oid = hashObject(format, "commit", data);
    }
    ids.set(old, oid);
    const pending = options.write(oid, data);
    if (isPromise(pending)) await pending;
  }
  return { tip: ids.get(tip) ?? tip, ids, boundary, commits: order.length, message };
}

async function squashed(
  rewriter: Rewriter,
  order: readonly ObjectId[],
  boundary: readonly ObjectId[],
): Promise<RewrittenHistory> {
  const { options, limits } = rewriter;
  const { format, identity, seconds, tip } = options;
  const squash = createSquash(limits.messageLengthMax);
  for (const old of order) {
    throwIfAborted(options.signal);
    const parts = await readParts(old, options, limits);
    squash.add(parts.tree, await messageOf(parts, rewriter));
  }
  const whole = squash.end();
  if (whole === undefined) return { tip, ids: new Map(), boundary, commits: 0, message: "" };
  if (boundary.length > limits.parentsMax)
    throw tooMany(`${limits.parentsMax} commits that one would stand on`);
  const data = writeCommit({ ...whole, parents: boundary, identity, seconds });
  const oid = hashObject(format, "commit", data);
  await options.write(oid, data);
  return { tip: oid, ids: new Map([[tip, oid]]), boundary, commits: 1, message: whole.message };
}

/** Depth first, without calling itself: a history is as deep as it is long. */
async function putInOrder(
  options: RewriteOptions,
  limits: RewriteLimits,
  people: KnownPeople,
): Promise<{ readonly order: readonly ObjectId[]; readonly boundary: readonly ObjectId[] }> {
  const order: ObjectId[] = [];
  const boundary = new Set<ObjectId>();
  const seen = new Set<ObjectId>();
  let messageLength = 0;
  const stack: { readonly oid: ObjectId; readonly parents: readonly ObjectId[]; next: number }[] = [];

  async function visit(oid: ObjectId): Promise<void> {
    if (seen.has(oid) || boundary.has(oid)) return;
    throwIfAborted(options.signal);
    const parts = await findParts(oid, options, limits);
    if (parts === undefined) {
      boundary.add(oid);
      return;
    }
    seen.add(oid);
    if (seen.size > limits.commitsMax) throw tooMany(`${limits.commitsMax} commits`);
    messageLength += parts.message.length;
    if (messageLength > limits.messageLengthTotalMax)
      throw tooMany(`${limits.messageLengthTotalMax} characters in the messages of all its commits`);
    for (const person of parts.people) people.add(person);
    stack.push({ oid, parents: parts.parents, next: 0 });
  }

  await visit(options.tip);
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const parent = top.parents[top.next++];
    if (parent !== undefined) {
      await visit(parent);
      continue;
    }
    order.push(top.oid);
    stack.pop();
  }
  return { order, boundary: [...boundary] };
}

async function findParts(
  oid: ObjectId,
  { read, format }: RewriteOptions,
  { commitBytesMax, messageLengthMax, parentsMax }: RewriteLimits,
): Promise<CommitParts | undefined> {
  const pending = read(oid);
  const data = isPromise(pending) ? await pending : pending;
  if (data === undefined) return undefined;
  if (data.length > commitBytesMax) throw tooLarge(oid, `${commitBytesMax} bytes`);
  const parts = readCommitParts(data, format);
  if (parts.parents.length > parentsMax) throw tooMany(`${parentsMax} parents in the commit ${oid}`);
  if (parts.message.length > messageLengthMax)
    throw tooLarge(oid, `${messageLengthMax} characters of message`);
  return parts;
}

async function readParts(
  oid: ObjectId,
  options: RewriteOptions,
  limits: RewriteLimits,
): Promise<CommitParts> {
  const parts = await findParts(oid, options, limits);
  if (parts === undefined)
    throw new GitwharfError("object/corrupt", `the commit ${oid} was there and is not`);
  return parts;
}

/** Looking through this many characters takes some ten milliseconds at worst. */
const TURN_LENGTH = 32 * 1024;

async function messageOf({ message }: CommitParts, rewriter: Rewriter): Promise<string> {
  const { options, people } = rewriter;
  rewriter.length += message.length + 100;
  if (rewriter.length > TURN_LENGTH) {
    rewriter.length = 0;
    await othersTurn();
  }
  const { isScrubbed = true, emptyMessage = "Contribution" } = options;
  const kept = isScrubbed ? scrubMessage(message, people) : message.replaceAll("\0", "");
  return kept.trim() === "" ? `${emptyMessage}\n` : kept;
}

function tooMany(what: string): GitwharfError {
  return new GitwharfError("base/limit-exceeded", `a push may have at most ${what}`);
}

function tooLarge(oid: ObjectId, what: string): GitwharfError {
  return new GitwharfError("base/limit-exceeded", `the commit ${oid} has more than ${what}`);
}
