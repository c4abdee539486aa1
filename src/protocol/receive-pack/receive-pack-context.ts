/** What receive-pack is told by its transport. */
import type { Activity } from "../../base/activity.js";
import type { SharedBudget } from "../../base/shared-budget.js";
import type { Limits } from "../../base/limits.js";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type {
  Identity,
  Push,
  PushCertificate,
  PushCertificateVerification,
  PushCommand,
  PushHandlers,
  PushRecorder,
} from "../../engine/push.js";
import { compileHiddenRefs, type IsHiddenRef } from "../hidden-refs.js";
import type { Repository } from "../../storage/contracts/repository.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";

/** What stands in a repository's place. */
export interface PlacedRepository {
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  /** False: it is not the one that was to be placed, but another that was there first. */
  readonly isOurs: boolean;
}

export interface ReceivePackContext {
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  /**
   * Puts the repository in its place, when the push makes it and nobody else sees it yet; called once refs were made,
   * and at most once. undefined: it stands there.
   */
  readonly place: (() => Promise<PlacedRepository>) | undefined;
  readonly limits: Limits;
  /** What the requests of all callers may hold together. @default without bound */
  readonly requestBytes?: SharedBudget | undefined;
  /** What the packs of all callers may hold together while they are received. @default without bound */
  readonly packObjects?: SharedBudget | undefined;
  readonly identity: Identity;
  /** Hides refs from this caller, besides what the settings hide. */
  readonly isHiddenRef?: IsHiddenRef | undefined;
  readonly transport: Push["transport"];
  /** What is known of the name that was asked for. */
  readonly facts?: Push["facts"];
  readonly address: string | undefined;
  readonly agent: string;
  readonly version: 0 | 1;
  /** Asked once the commands are known, before anything is done. @throws access/denied */
  readonly authorize: (commands: readonly PushCommand[]) => MaybePromise<void>;
  /** Called in order; the first refusal counts. */
  readonly handlers: readonly PushHandlers[];
  /** How long each of them may take that does not say so itself. @default as long as they like */
  readonly handlerTimeoutMs?: number | undefined;
  readonly verifyPushCertificate:
    | ((certificate: PushCertificate) => MaybePromise<PushCertificateVerification>)
    | undefined;
  /** Objects are hashed with SHA-1 collision detection. */
  readonly collisionDetection: boolean;
  /** Told of what the push asks for and of what came of it. @default nobody */
  readonly recorder?: PushRecorder | undefined;
  /** What a handler threw, for the operator: the pusher reads only that it failed. */
  readonly onHandlerError: (handler: string, error: unknown) => void;
  readonly signal: AbortSignal;
  /** Fires when the server gives up on requests, and not when the client leaves. @default signal */
  readonly closing?: AbortSignal;
  readonly sessionId: string;
  /** Steps are made known to it, and its id to the person when the server is at fault. @default nobody looks on */
  readonly activity?: Activity | undefined;
}

/** What neither the configuration nor the caller's rules show. */
export function hiddenRefsOf({
  settings,
  isHiddenRef,
}: Pick<ReceivePackContext, "settings" | "isHiddenRef">): IsHiddenRef {
  const configured = compileHiddenRefs(settings.receive.hideRefs);
  return isHiddenRef === undefined ? configured : (name) => configured(name) || isHiddenRef(name);
}
