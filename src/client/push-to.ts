/**
 * Pushing to another server over Smart HTTP: what it has is asked first, updates that would lose commits there are refused
 * here, the rest goes in one request with a thin pack, and the report says what became of each.
 * Specification: gitprotocol-http "Smart Service git-receive-pack", gitprotocol-pack "Pushing Data To a Server".
 */
import { GitwharfError } from "../base/errors.js";
import { isPromise } from "../base/maybe-promise.js";
import { isAncestor } from "../engine/ancestry.js";
import { planPack } from "../engine/pack-plan.js";
import { type ListedPack, planObjects } from "../engine/plan-objects.js";
import { streamPack } from "../engine/pack-stream.js";
import { createPlanCache } from "../engine/plan-cache.js";
import { isNullObjectId, isObjectId, nullObjectId, type ObjectId } from "../object/object-id.js";
import { checkRefName } from "../object/ref-name.js";
import type { RefAdvertisement } from "../protocol/wire/ref-advertisement.js";
import type { ReportedSubstitute, ReportStatus } from "../protocol/wire/report-status.js";
import { sanitizeText } from "../protocol/wire/sanitize.js";
import type { Snapshot } from "../storage/contracts/repository.js";
import { skipServiceLine } from "./discovery.js";
import type { HttpTransport, OpenPost } from "./http-transport.js";
import { openPush, type OpenPush, type RemoteUpdate } from "./send-pack.js";

export interface PushUpdate {
  /** Of the server's: `refs/heads/main`. */
  readonly name: string;
  /** An object of ours; null: the ref is to be removed. */
  readonly newOid: ObjectId | null;
  /** What the server must have there now; null: nothing. @default whatever it has */
  readonly expected?: ObjectId | null;
  /** Commits may be lost there, and tags moved. @default false */
  readonly force?: boolean;
}

/** What a push reads: a snapshot, or the objects of a quarantine beside the rest of a snapshot of its repository. */
export type PushSource = Pick<Snapshot, "head" | "objects" | "refs" | "shallow">;

export interface PushRequest {
  /** Where the objects are; not released before the push has ended. */
  readonly from: PushSource;
  readonly updates: readonly PushUpdate[];
  /** All or none. @default false */
  readonly atomic?: boolean | undefined;
  /**
   * These objects are sent, whatever the updates lead to: where a part of them alone is here, as after a fetch with a filter, and
   * the caller knows that the server has the rest. @default what the server lacks, all of which is to be here
   */
  readonly listed?: ListedPack | undefined;
  /** For the server's hooks: one line each. */
  readonly pushOptions?: readonly string[] | undefined;
  /** Deltas may stand on what the server has. @default true, where it takes that */
  readonly thinPack?: boolean | undefined;
  /** What the server says, control characters taken out. */
  readonly onRemoteText?: ((text: string) => void) | undefined;
  /** What we do, in git's words. */
  readonly onProgress?: ((text: string) => void) | undefined;
}

/** A refusal is a value. */
export type PushedUpdate =
  | {
      readonly name: string;
      readonly ok: true;
      /** It stood there already: nothing was sent for it. */
      readonly isUpToDate: boolean;
      /** What the server's hooks have done in its place. */
      readonly substitutes: readonly ReportedSubstitute[];
    }
  | {
      readonly name: string;
      readonly ok: false;
      /** By whom: here, before anything was sent, or there. */
      readonly by: "client" | "server";
      readonly reason: string;
    };

export interface PushReport {
  /** One for each update, in order. */
  readonly updates: readonly PushedUpdate[];
}

export interface PushContext {
  readonly transport: HttpTransport;
  readonly agent: string;
  readonly refsBytesMax: number;
  readonly signal: AbortSignal | undefined;
}

const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
/** What the report says of so many fits into what is read of one. */
const UPDATES_MAX = 10_000;
const PUSH_OPTIONS_MAX = 1000;
const LINE_BYTES_MAX = 65_000;

/**
 * @throws RemoteGitFailure, client/not-callable, protocol/bad-request, base/limit-exceeded, base/aborted, object/corrupt,
 *   storage/io
 */
export async function pushTo(context: PushContext, request: PushRequest): Promise<PushReport> {
  const { transport, refsBytesMax, agent } = context;
  const { objectFormat } = request.from.objects;
  checkRequest(request);
  const call = { service: "git-receive-pack", protocol: 0, answerBytesMax: refsBytesMax } as const;
  const told = await transport.discover(call);
  let post: OpenPost | undefined;
  let push: OpenPush | undefined;
  const leaving = new AbortController();
  const signal =
    context.signal === undefined ? leaving.signal : AbortSignal.any([leaving.signal, context.signal]);
  try {
    const refs = await skipServiceLine(told, { service: call.service, bytesMax: refsBytesMax });
    async function* input(): AsyncGenerator<Uint8Array, void, void> {
      yield* refs;
      if (post !== undefined) yield* await post.answer();
    }
    push = await openPush(
      {
        input: input(),
        write: async (bytes) => post?.write(bytes),
        end: () => post?.end(),
      },
      objectFormat,
    );
    checkOffered(push, request, transport.shown);
    const decided = await decideUpdates(push.advertisement, request, signal);
    const updates = decided.flatMap((one) => ("send" in one ? [one.send] : []));
    const isRefused = decided.some((one) => "result" in one && !one.result.ok);
    if (updates.length === 0 || (request.atomic === true && isRefused)) return { updates: unsent(decided) };
    post = await transport.openPost({ ...call, answerBytesMax: ANSWER_BYTES_MAX });
    const news = [...new Set(updates.map(({ newOid }) => newOid))].filter((oid) => !isNullObjectId(oid));
    const report = await push.send({
      updates,
      shallow: request.from.shallow,
      agent,
      pack: news.length === 0 ? undefined : packFor(push, request, { news, signal }),
      ...(request.atomic === undefined ? {} : { atomic: request.atomic }),
      ...(request.pushOptions === undefined ? {} : { pushOptions: request.pushOptions }),
      onProgress: (bytes) => request.onRemoteText?.(sanitizeText(Buffer.from(bytes).toString("utf8"))),
    });
    return { updates: decided.map((one) => ("result" in one ? one.result : outcomeOf(one.send, report))) };
  } finally {
    leaving.abort();
    post?.cut();
    told.close();
    // Nothing may be read of the objects once this has ended.
    await push?.settled();
  }
}

function outcomeOf({ name }: RemoteUpdate, report: ReportStatus): PushedUpdate {
  const { unpackFailure, refs, substitutes } = report;
  const said = refs.has(name) ? refs.get(name) : "the server did not say what became of it";
  // Without its objects no ref has moved.
  const reason =
    unpackFailure === undefined ? said : said === undefined ? unpackFailure : `${said} (${unpackFailure})`;
  if (reason !== undefined) return { name, ok: false, by: "server", reason };
  return { name, ok: true, isUpToDate: false, substitutes: substitutes?.get(name) ?? [] };
}

function checkRequest({ from, updates, pushOptions = [] }: PushRequest): void {
  const { objectFormat } = from.objects;
  if (updates.length > UPDATES_MAX || pushOptions.length > PUSH_OPTIONS_MAX)
    throw new GitwharfError(
      "base/limit-exceeded",
      `a push of ${updates.length} refs with ${pushOptions.length} options: ${UPDATES_MAX} and ${PUSH_OPTIONS_MAX} can be sent`,
    );
  for (const option of pushOptions)
    if (/[\0\r\n]/.test(option) || Buffer.byteLength(option) > LINE_BYTES_MAX)
      throw bad("a push option has a line break in it, or is too long");
  const names = new Set<string>();
  for (const { name, newOid, expected } of updates) {
    const why = checkRefName(name);
    if (why !== undefined) throw bad(`'${sanitizeText(name.slice(0, 200))}' is no ref name: ${why}`);
    if (names.has(name)) throw bad(`the ref ${name} is to be pushed twice`);
    names.add(name);
    for (const oid of [newOid, expected ?? null])
      if (oid !== null && (!isObjectId(oid, objectFormat) || isNullObjectId(oid)))
        throw bad(`'${sanitizeText(oid.slice(0, 80))}' is no object id of ${objectFormat}`);
  }
}

/** @throws protocol/unsupported */
function checkOffered({ advertisement }: OpenPush, request: PushRequest, shown: string): void {
  const wish = (isWished: boolean, name: string, what: string): void => {
    if (isWished && !advertisement.capabilities.has(name))
      throw new GitwharfError("protocol/unsupported", `${shown} does not offer ${what}`);
  };
  wish(request.atomic === true, "atomic", "to move all refs or none");
  wish((request.pushOptions ?? []).length > 0, "push-options", "push options");
}

type Decided = { readonly send: RemoteUpdate } | { readonly result: PushedUpdate };

/** As git's client does before it sends anything. */
async function decideUpdates(
  { refs, capabilities }: RefAdvertisement,
  { from, updates }: PushRequest,
  signal: AbortSignal,
): Promise<readonly Decided[]> {
  const { objects, shallow } = from;
  const zeros = nullObjectId(objects.objectFormat);
  const byName = new Map(refs.map(({ name, oid }) => [name, oid]));
  const decided: Decided[] = [];
  for (const { name, newOid, expected, force } of updates) {
    const current = byName.get(name);
    const refuse = (reason: string): void =>
      void decided.push({ result: { name, ok: false, by: "client", reason } });
    if (newOid !== null && !(await objects.has(newOid)))
      throw bad(`object ${newOid} is not here: ${name} cannot be pushed`);
    if (expected !== undefined && (expected ?? undefined) !== current) refuse("stale info");
    else if (newOid === null && current === undefined) refuse("remote ref does not exist");
    else if (newOid === null && !capabilities.has("delete-refs"))
      refuse("remote does not support deleting refs");
    else if (newOid !== null && newOid === current)
      decided.push({ result: { name, ok: true, isUpToDate: true, substitutes: [] } });
    else {
      const why =
        newOid === null || current === undefined || force === true
          ? undefined
          : await whyNotForward(objects, { name, current, newOid, shallow, signal });
      if (why !== undefined) refuse(why);
      else decided.push({ send: { name, oldOid: current ?? zeros, newOid: newOid ?? zeros } });
    }
  }
  return decided;
}

async function whyNotForward(
  objects: Snapshot["objects"],
  about: {
    readonly name: string;
    readonly current: ObjectId;
    readonly newOid: ObjectId;
    readonly shallow: ReadonlySet<ObjectId>;
    readonly signal: AbortSignal;
  },
): Promise<string | undefined> {
  const { name, current, newOid, shallow, signal } = about;
  if (name.startsWith("refs/tags/")) return "already exists";
  if (!(await objects.has(current))) return "fetch first";
  return (await isAncestor(objects, current, newOid, { shallow, signal })) ? undefined : "non-fast-forward";
}

/** None is sent: those that could be are refused with the others. */
function unsent(decided: readonly Decided[]): readonly PushedUpdate[] {
  return decided.map((one) =>
    "result" in one
      ? one.result
      : { name: one.send.name, ok: false, by: "client", reason: "atomic push failed" },
  );
}

/** What the server lacks, as far as it has told what it has. */
async function* packFor(
  push: OpenPush,
  { from, listed, thinPack = true, onProgress }: PushRequest,
  { news, signal }: { readonly news: readonly ObjectId[]; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array, void, void> {
  const { advertisement, takesThinPacks } = push;
  const haves = await known(from, new Set(advertisement.refs.map(({ oid }) => oid)));
  const isThin = thinPack && takesThinPacks;
  const ofsDelta = advertisement.capabilities.has("ofs-delta");
  const plan =
    listed === undefined
      ? await planPack({
          snapshot: from,
          wants: news,
          haves,
          clientShallow: advertisement.shallow,
          thinPack: isThin && haves.length > 0,
          ofsDelta,
          signal,
          onProgress,
          // It is asked for once.
          cache: createPlanCache(),
        })
      : await planObjects({
          objects: from.objects,
          oids: listed.oids,
          bases: [...haves, ...(listed.bases ?? [])],
          previous: listed.previous,
          thinPack: isThin,
          ofsDelta,
          signal,
        });
  try {
    yield* streamPack(plan, { signal });
  } finally {
    plan.release();
  }
}

async function known(
  { objects }: Pick<Snapshot, "objects">,
  oids: ReadonlySet<ObjectId>,
): Promise<readonly ObjectId[]> {
  const found: ObjectId[] = [];
  for (const oid of oids) {
    const has = objects.has(oid);
    if (isPromise(has) ? await has : has) found.push(oid);
  }
  return found;
}

function bad(message: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", message);
}
