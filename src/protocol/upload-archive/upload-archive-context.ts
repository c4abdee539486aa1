/** What upload-archive is told by its transport. */
import type { SharedBudget } from "../../base/shared-budget.js";
import type { Limits } from "../../base/limits.js";
import type { Repository } from "../../storage/contracts/repository.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";
import type { IsHiddenRef } from "../hidden-refs.js";

export interface UploadArchiveContext {
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  readonly limits: Limits;
  /** What the requests of all callers may hold together. @default without bound */
  readonly requestBytes?: SharedBudget | undefined;
  /** Fires when the client leaves or the server gives up. */
  readonly signal: AbortSignal;
  /** Hides refs from this caller, besides what `uploadpack.hideRefs` and `transfer.hideRefs` hide. */
  readonly isHiddenRef?: IsHiddenRef | undefined;
}
