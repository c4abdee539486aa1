/** What upload-pack is told by its transport. */
import type { Limits } from "../../base/limits.js";
import type { Identity } from "../../engine/push.js";
import type { Repository } from "../../storage/contracts/repository.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";

export interface UploadPackContext {
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  readonly limits: Limits;
  readonly identity: Identity;
  /** `gitwharf/1.2.3` */
  readonly agent: string;
  readonly version: 0 | 1 | 2;
  /** Fires when the client leaves or the server gives up. */
  readonly signal: AbortSignal;
  readonly sessionId: string;
}
