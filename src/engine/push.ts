/**
 * The words in which receive-pack, hooks and policies talk about one push. Types only; the pipeline that calls
 * the handlers is `protocol/receive-pack/`.
 */
import type { MaybePromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { ObjectReader } from "../storage/contracts/object-reader.js";
import type { Quarantine } from "../storage/contracts/quarantine.js";
import type { Repository, Snapshot } from "../storage/contracts/repository.js";

/** Who pushes or fetches, as far as the server knows. */
export interface Identity {
  /** undefined: anonymous. */
  readonly user: string | undefined;
}

export interface PushCommand {
  readonly name: string;
  /** The null id when the ref is to be created. */
  readonly oldOid: ObjectId;
  /** The null id when the ref is to be deleted. */
  readonly newOid: ObjectId;
}

export interface PushCertificate {
  /** The signed text and its signature as they came. */
  readonly payload: Buffer;
  readonly signature: Buffer;
  readonly pusher: string;
  readonly nonce: string | undefined;
  readonly nonceStatus: "OK" | "SLOP" | "BAD" | "MISSING" | "UNSOLICITED";
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
  readonly commands: readonly PushCommand[];
  readonly options: readonly string[];
  readonly certificate: PushCertificate | undefined;
  readonly quarantine: Quarantine | undefined;
  /** Refs as they were when the push began. */
  readonly snapshot: Snapshot;
  /** The repository's objects and the pushed ones. */
  readonly objects: ObjectReader;
  /** Text for the pusher's terminal (band 2); control characters are stripped. Waits when the pusher is slow. */
  print(text: string): MaybePromise<void>;
  /** Fires when the client has gone or a limit of time was reached. */
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

export interface PushHandlers {
  /** Before any ref moves, once a push. A refusal is for all commands. */
  preReceive?(push: Push): MaybePromise<Verdict>;
  /** Before any ref moves, once a command. */
  update?(push: Push, command: PushCommand): MaybePromise<Verdict>;
  /** For commands under the configured prefixes, in place of the ref transaction. Several results may answer one command. */
  procReceive?(push: Push, commands: readonly PushCommand[]): MaybePromise<readonly ProcReceiveResult[]>;
  /** git's reference-transaction; false in "prepared" aborts. */
  referenceTransaction?(
    push: Push,
    state: "prepared" | "committed" | "aborted",
    commands: readonly PushCommand[],
  ): MaybePromise<boolean>;
  /** `receive.denyCurrentBranch=updateInstead` with a push-to-checkout hook; true = the hook took care of the work tree. */
  pushToCheckout?(push: Push, command: PushCommand, workTree: string): MaybePromise<Verdict | "absent">;
  /** After the refs moved, once a push, with the commands that succeeded. The answer no longer matters. */
  postReceive?(push: Push, commands: readonly PushCommand[]): MaybePromise<void>;
}
