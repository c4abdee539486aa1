/**
 * The words in which receive-pack, hooks and policies talk about one push. Types only; the pipeline that calls
 * the handlers is `protocol/receive-pack/`.
 */
import type { MaybePromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { Quarantine } from "../storage/contracts/quarantine.js";
import type { ArchiveFormat } from "./archive/write-archive.js";
import type { Repository, Snapshot } from "../storage/contracts/repository.js";
import type { Identity } from "./identity.js";

export type { Identity } from "./identity.js";

export interface PushCommand {
  readonly name: string;
  /** The null id when the ref is to be created. */
  readonly oldOid: ObjectId;
  /** The null id when the ref is to be deleted. */
  readonly newOid: ObjectId;
}

/** What a push asks of one ref, with what it is about. Everything that has to be looked up is looked up when asked for. */
export interface PushedRef extends PushCommand {
  readonly kind: "branch" | "tag" | "other";
  /** `feature/x` of `refs/heads/feature/x`; of refs that are neither branch nor tag what follows `refs/`. */
  readonly shortName: string;
  readonly created: boolean;
  readonly deleted: boolean;
  /** True when the ref leaves commits behind: histories that have nothing in common are forced, too. */
  forced(): Promise<boolean>;
  /**
   * Newest first: of a ref that moves those from the old commit to the new one, of a new ref those that no ref of the
   * repository leads to. None for what is no commit.
   * @throws base/limit-exceeded instead of leaving one out
   */
  commits(options?: {
    /** @default 100,000 */
    readonly max?: number;
  }): AsyncIterable<PushedCommit>;
  /**
   * The files that differ: of a ref that moves from the old commit, of a new ref from where it leaves what the
   * repository has. In no particular order.
   * @throws base/limit-exceeded
   */
  changedPaths(): AsyncIterable<PathChange>;
  /** undefined: there is no file of that name in the commit. */
  file(path: string): Promise<PushedFile | undefined>;
  /** What is in a directory; undefined: there is no such directory. @default path "" */
  list(path?: string): Promise<readonly PushedEntry[] | undefined>;
  /** Writes the commit's files into a directory: see `Push.checkout`. */
  checkout(directory: string, options?: CheckoutOptions): Promise<Checkout>;
  archive(options?: ArchiveOptions): AsyncIterable<Uint8Array>;
  /** Refuses this ref; the pusher reads the reason. @throws Error once the refs have moved */
  reject(reason: string): void;
  /**
   * For procReceive: moves another ref in place of this one.
   * @returns what procReceive answers, a refusal included
   * @throws base/aborted when the handler has used up its time, or the client has gone
   */
  redirect(refName: string, options?: RedirectOptions): Promise<ProcReceiveResult>;
}

export interface RedirectOptions {
  /** @default what was pushed */
  readonly newOid?: ObjectId;
  /** Also when the ref leaves commits behind. @default false */
  readonly force?: boolean;
}

export interface PushedCommit {
  readonly oid: ObjectId;
  readonly tree: ObjectId;
  readonly parents: readonly ObjectId[];
  readonly author: Signature;
  readonly committer: Signature;
  /** The first paragraph on one line, as `git log --oneline` has it. */
  readonly subject: string;
  /** The first 16 MiB. */
  readonly message: string;
  /** What it changes: the files that are as in none of its parents. @throws base/limit-exceeded */
  changedPaths(): AsyncIterable<PathChange>;
}

export interface Signature {
  readonly name: string;
  readonly email: string;
  readonly date: Date;
}

export interface PathChange {
  readonly path: string;
  readonly change: "added" | "modified" | "deleted";
  /** What stands there now: of a blob or of a submodule's commit; undefined when deleted. */
  readonly oid: ObjectId | undefined;
}

export interface PushedEntry {
  readonly name: string;
  /** From the root. */
  readonly path: string;
  readonly kind: "file" | "executable" | "symlink" | "directory" | "submodule";
  readonly oid: ObjectId;
}

export interface PushedFile {
  readonly path: string;
  readonly kind: "file" | "executable" | "symlink";
  readonly oid: ObjectId;
  readonly sizeBytes: number;
  /** @throws base/limit-exceeded when it is larger. @default maxBytes 16 MiB */
  text(options?: { readonly maxBytes?: number }): Promise<string>;
  bytes(options?: { readonly maxBytes?: number }): Promise<Buffer>;
  /**
   * In pieces of at most 64 KiB. An object has to be whole to be unpacked: the file is held in memory meanwhile, at most
   * the limit objectSizeBytesMax (512 MiB).
   * @throws base/limit-exceeded when it is larger
   */
  stream(): AsyncIterable<Uint8Array>;
}

export interface CheckoutOptions {
  /** Only these: git's pathspecs, `src`, `docs/*.md`, `:(exclude)*.png`. @default everything */
  readonly paths?: readonly string[];
  /** Files and directories. @default the limit archiveEntriesMax */
  readonly entriesMax?: number;
  /** @default the limit archiveSizeBytesMax */
  readonly bytesMax?: number;
  /**
   * "inside": those that lead to a place in the directory; "skip": none.
   * @default "inside"
   */
  readonly symlinks?: "inside" | "skip";
}

export interface Checkout {
  readonly files: number;
  readonly sizeBytes: number;
  /** The first thousand paths that were not written: submodules, and symbolic links that lead out of the directory. */
  readonly skipped: readonly string[];
}

export interface ArchiveOptions {
  /** @default "tar" */
  readonly format?: ArchiveFormat;
  /** In front of every path: `app-1.0/`. @default "" */
  readonly prefix?: string;
  /** As in `CheckoutOptions`. */
  readonly paths?: readonly string[];
}

/** Of several refs in one push, which? A ref of the push or a commit, tag or tree by its id. @default the only one */
export interface At {
  readonly at?: PushedRef | ObjectId;
}

export interface PrintOptions {
  /**
   * false: without the `remote: ` that git puts before every line, where the pusher's terminal can do that.
   * @default true
   */
  readonly prefix?: boolean;
  /**
   * true: colours (ECMA-48's SGR) go to a terminal that shows them and are left out elsewhere, as every other control
   * character becomes `?`.
   * @default false: they become `?` as well
   */
  readonly colours?: boolean;
}

/** A ref that has moved. */
export interface ChangedRef extends PushedRef {
  /** The name in the push, when proc-receive moved another one for it. */
  readonly pushedAs?: string;
}

export interface PushCertificate {
  /** The signed text and its signature as they came. */
  readonly payload: Buffer;
  readonly signature: Buffer;
  readonly pusher: string;
  /** What the pusher signed. */
  readonly nonce: string | undefined;
  /**
   * What this server asked to be signed, or takes for it: within `receive.certNonceSlop` the one that another process
   * handed out. undefined when it asks for none.
   */
  readonly nonceIssued: string | undefined;
  readonly nonceStatus: "OK" | "SLOP" | "BAD" | "MISSING" | "UNSOLICITED";
  /** With SLOP: by how many seconds the signed nonce is older than the one of now. */
  readonly nonceSlopSeconds: number | undefined;
  /** The certificate as a blob of the quarantine. */
  readonly blobOid?: ObjectId;
  /** What the verifying callback said. */
  readonly verification?: PushCertificateVerification;
}

export interface PushCertificateVerification {
  /** git's letters: G good, B bad, U good with unknown validity, E cannot check, N none … */
  readonly status: string;
  readonly signer?: string;
  readonly key?: string;
}

/** One push, as handlers see it. Valid until the handler chain ends. */
export interface Push {
  readonly repository: Repository;
  readonly identity: Identity;
  readonly transport: "http" | "ssh" | "git" | "stdio";
  readonly address: string | undefined;
  /** What `resolveRepository` told of the name that was asked for. */
  readonly facts?: Readonly<Record<string, string>>;
  /** What the pusher asked for, whatever became of it. */
  readonly commands: readonly PushCommand[];
  /** Those of the commands that nobody has refused so far. */
  readonly updates: readonly PushedRef[];
  /** Under which the server logs the push; undefined when nobody logs. */
  readonly requestId: string | undefined;
  /** What the client asked for: `atomic`, `push-options`, `quiet`, `agent`, … with their values ("" without one). */
  readonly capabilities: ReadonlyMap<string, string>;
  readonly options: readonly string[];
  readonly certificate: PushCertificate | undefined;
  /** Where the pushed objects are; undefined when there are none, and once they are published. */
  readonly quarantine: Quarantine | undefined;
  /** Commits whose parents the push leaves out, to be added to the repository's own `shallow` list. */
  readonly newShallow: readonly ObjectId[];
  /** Refs as they were when the push began. */
  readonly snapshot: Snapshot;
  /** The repository's objects and the pushed ones. */
  readonly objects: ObjectReader;
  /**
   * Text for the pusher's terminal (band 2); control characters are stripped. Waits when the pusher is slow, and does
   * nothing once the pusher has gone.
   */
  print(text: string, options?: PrintOptions): MaybePromise<void>;
  /** True when the pusher's git shows progress, as it does on a terminal. */
  readonly isTerminal: boolean;
  /**
   * Fires when the client has gone (after the refs have moved no longer), when the handler has used up its time, and when
   * the server gives up on requests.
   */
  readonly signal: AbortSignal;
  /** Refuses the whole push; the pusher reads the reason. @throws Error once the refs have moved */
  reject(reason: string): void;
  /**
   * Writes files into a directory, which is made when it is missing. Nothing is ever written outside of it, nothing that
   * stands there is overwritten, and what a commit calls `.git` is refused. Ended by `signal`. Of the files one at a time
   * is held in memory, at most the limit objectSizeBytesMax.
   * @throws base/limit-exceeded, base/aborted, object/malformed, storage/exists, storage/io
   */
  checkout(directory: string, options?: CheckoutOptions & At): Promise<Checkout>;
  /** What `git archive` writes. Nothing is read before it is asked for. @throws base/limit-exceeded, base/aborted */
  archive(options?: ArchiveOptions & At): AsyncIterable<Uint8Array>;
  /** A commit of the push or of the repository; undefined: there is none of that id. */
  commit(oid: ObjectId): Promise<PushedCommit | undefined>;
  file(path: string, options?: At): Promise<PushedFile | undefined>;
}

/** undefined accepts; a text refuses with that reason. */
export type Verdict = string | undefined;

/** A handler that returns nothing accepts, too. What is neither refuses. */
export type HandlerVerdict = MaybePromise<Verdict | void>;

/** A result of proc-receive for one command. */
export interface ProcReceiveResult {
  readonly name: string;
  readonly refusal?: string;
  /** report-status-v2 `option` lines. */
  readonly refName?: string;
  readonly oldOid?: ObjectId;
  readonly newOid?: ObjectId;
  readonly forcedUpdate?: boolean;
  /** Leave the command to the ordinary path after all. */
  readonly fallThrough?: boolean;
}

/** What became of one command. */
export interface PushOutcome {
  readonly command: PushCommand;
  /** undefined: it succeeded. */
  readonly refusal: string | undefined;
  /** It was to delete a ref that is not there. */
  readonly changedNothing?: boolean;
  /** What proc-receive made of it. */
  readonly substitutes: readonly ProcReceiveResult[];
}

/** Writes down one push, for those who look after the server. */
export interface PushRecorder {
  /** Before anything of the push becomes visible; a verdict refuses all of it. Never throws. */
  begin(push: Push, commands: readonly PushCommand[]): Promise<Verdict>;
  /**
   * Before the pusher is told. Never throws.
   * @param failure what was wrong with the push as a whole
   * @returns what the pusher is warned of
   */
  end(outcomes: readonly PushOutcome[], failure: unknown): Promise<string | undefined>;
}

/** One answer to a fetch, or one archive, as preUpload sees it. */
export interface Upload
  extends Pick<Push, "repository" | "identity" | "transport" | "address" | "requestId"> {
  readonly kind: "fetch" | "archive";
  /** What was asked for, by id; the caller may have it. */
  readonly wants: readonly ObjectId[];
  /** Fires when the client has gone, when the handler has used up its time, and when the server gives up on requests. */
  readonly signal: AbortSignal;
}

export interface PushHandlers {
  /**
   * How long each of these may take; then its `signal` fires and it counts as having thrown.
   * @default the server's `handlerTimeoutMs`
   */
  readonly timeoutMs?: number;
  /** Where procReceive is asked: as in git's `receive.procReceiveRefs`. @default what the repository's configuration says */
  readonly procReceiveRefs?: readonly string[];
  /**
   * Before a pack or an archive goes out, after everything that authorizes; a text refuses. Files that dumb HTTP reads
   * are not asked about.
   */
  preUpload?(upload: Upload): HandlerVerdict;
  /** Before the objects are published, once a push. A refusal is for all commands. */
  preReceive?(push: Push): HandlerVerdict;
  /** Before the objects are published, once a command. */
  update?(push: Push, update: PushedRef): HandlerVerdict;
  /**
   * For commands under the configured prefixes, in place of the ref transaction; the objects are published by then.
   * Several results may answer one command; a command without a result is refused. A refusal may name any other
   * command of the push as well.
   */
  procReceive?(push: Push, updates: readonly PushedRef[]): MaybePromise<readonly ProcReceiveResult[]>;
  /** git's reference-transaction; false in "prepared" aborts, and so does `reject`. */
  referenceTransaction?(
    push: Push,
    state: "prepared" | "committed" | "aborted",
    updates: readonly PushedRef[],
  ): MaybePromise<boolean>;
  /**
   * `receive.denyCurrentBranch=updateInstead`, once the objects are published, right before the refs move: undefined
   * when the work tree was taken care of, "absent" when this handler does not do that.
   * @param gitDirectory that of the work tree: a linked one has its own
   */
  pushToCheckout?(
    push: Push,
    update: PushedRef,
    workTree: string,
    gitDirectory: string | undefined,
  ): MaybePromise<Verdict>;
  /**
   * After the refs moved and the pusher was told, once a push, with what has changed (where proc-receive moved other
   * refs than were asked for: those). It runs to its end when the pusher leaves.
   */
  postReceive?(push: Push, updates: readonly ChangedRef[]): MaybePromise<void>;
}
