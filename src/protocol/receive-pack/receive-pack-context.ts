/** What receive-pack is told by its transport. */
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
} from "../../engine/push.js";
import type { Repository } from "../../storage/contracts/repository.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";

export interface ReceivePackContext {
  /** Another one once `place` has answered. */
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  /**
   * There when the push makes its repository, which nobody else sees: puts it in its place. false: another stands
   * there by now, for which the push is to be judged anew. `repository` is then the one that stands there.
   */
  readonly place?: (() => Promise<boolean>) | undefined;
  readonly limits: Limits;
  /** What the requests of all callers may hold together. @default without bound */
  readonly requestBytes?: SharedBudget | undefined;
  /** What the packs of all callers may hold together while they are received. @default without bound */
  readonly packObjects?: SharedBudget | undefined;
  readonly identity: Identity;
  readonly transport: Push["transport"];
  readonly address: string | undefined;
  readonly agent: string;
  readonly version: 0 | 1;
  /** Asked once the commands are known, before anything is done. @throws access/denied */
  readonly authorize: (commands: readonly PushCommand[]) => MaybePromise<void>;
  /** Called in order; the first refusal counts. */
  readonly handlers: readonly PushHandlers[];
  readonly verifyPushCertificate:
    | ((certificate: PushCertificate) => MaybePromise<PushCertificateVerification>)
    | undefined;
  /** Objects are hashed with SHA-1 collision detection. */
  readonly collisionDetection: boolean;
  /** What a handler threw, for the operator: the pusher reads only that it failed. */
  readonly onHandlerError: (handler: string, error: unknown) => void;
  readonly signal: AbortSignal;
  readonly sessionId: string;
}
