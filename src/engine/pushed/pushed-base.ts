/** What the views of a push stand on: its objects, what may be read of them, and the ways back to the pipeline. Types only. */
import type { Limits } from "../../base/limits.js";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { ProcReceiveResult, Push, PushCommand, PrintOptions, RedirectOptions } from "../push.js";

/** Where objects are read from, for as long as `signal` does not fire. */
export interface PushedObjects {
  readonly objects: ObjectReader;
  readonly snapshot: Snapshot;
  /** Commits whose parents are absent. */
  readonly shallow: ReadonlySet<ObjectId>;
  readonly limits: Pick<Limits, "archiveEntriesMax" | "archiveSizeBytesMax" | "objectSizeBytesMax">;
  readonly signal: AbortSignal;
}

/** One push without a signal: every handler sees it with its own. */
export interface PushBase
  extends Pick<
    Push,
    | "repository"
    | "identity"
    | "transport"
    | "address"
    | "facts"
    | "commands"
    | "capabilities"
    | "options"
    | "certificate"
    | "quarantine"
    | "newShallow"
    | "snapshot"
    | "objects"
    | "requestId"
    | "isTerminal"
  > {
  readonly limits: PushedObjects["limits"];
  /** The commands that nobody has refused. */
  standing(): readonly PushCommand[];
  print(text: string, options: PrintOptions | undefined, signal: AbortSignal): MaybePromise<void>;
  /** @param name undefined: all of them */
  reject(name: string | undefined, reason: string): void;
  redirect(
    command: PushCommand,
    refName: string,
    options: RedirectOptions,
    signal: AbortSignal,
  ): Promise<ProcReceiveResult>;
}
