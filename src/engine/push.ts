/**
 * The words in which receive-pack, hooks and policies talk about one push. Types only; the pipeline that calls
 * the handlers is `protocol/receive-pack/`.
 */
import type { MaybePromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { Quarantine } from "../storage/contracts/quarantine.js";
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

/** A ref that has moved. */
export interface ChangedRef extends PushCommand {
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
  /** Those that nobody has refused so far. */
  readonly commands: readonly PushCommand[];
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
  print(text: string): MaybePromise<void>;
  /** Fires when the client has gone (after the refs have moved no longer) and when the server gives up on requests. */
  readonly signal: AbortSignal;
}

/** undefined accepts; a text refuses with that reason. */
export type Verdict = string | undefined;

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

export interface PushHandlers {
  /** Before the objects are published, once a push. A refusal is for all commands. */
  preReceive?(push: Push): MaybePromise<Verdict>;
  /** Before the objects are published, once a command. */
  update?(push: Push, command: PushCommand): MaybePromise<Verdict>;
  /**
   * For commands under the configured prefixes, in place of the ref transaction; the objects are published by then.
   * Several results may answer one command; a command without a result is refused. A refusal may name any other
   * command of the push as well.
   */
  procReceive?(push: Push, commands: readonly PushCommand[]): MaybePromise<readonly ProcReceiveResult[]>;
  /** git's reference-transaction; false in "prepared" aborts. */
  referenceTransaction?(
    push: Push,
    state: "prepared" | "committed" | "aborted",
    commands: readonly PushCommand[],
  ): MaybePromise<boolean>;
  /**
   * `receive.denyCurrentBranch=updateInstead`, once the objects are published, right before the refs move: undefined
   * when the work tree was taken care of, "absent" when this handler does not do that.
   * @param gitDirectory that of the work tree: a linked one has its own
   */
  pushToCheckout?(
    push: Push,
    command: PushCommand,
    workTree: string,
    gitDirectory: string | undefined,
  ): MaybePromise<Verdict>;
  /**
   * After the refs moved and the pusher was told, once a push, with what has changed (where proc-receive moved other
   * refs than were asked for: those). It runs to its end when the pusher leaves.
   */
  postReceive?(push: Push, commands: readonly ChangedRef[]): MaybePromise<void>;
}
