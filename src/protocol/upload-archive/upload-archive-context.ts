/** What upload-archive is told by its transport. */
import type { Activity } from "../../base/activity.js";
import type { SharedBudget } from "../../base/shared-budget.js";
import type { Limits } from "../../base/limits.js";
import type { Repository } from "../../storage/contracts/repository.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";
import type { BeforeUpload } from "../before-upload.js";
import type { IsHiddenRef } from "../hidden-refs.js";

export interface UploadArchiveContext {
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  readonly limits: Limits;
  /** Asked once it is known what would be sent. @default nobody is asked */
  readonly beforeUpload?: BeforeUpload | undefined;
  /** What the requests of all callers may hold together. @default without bound */
  readonly requestBytes?: SharedBudget | undefined;
  /** Steps are made known to it, and its id to the person when the server is at fault. @default nobody looks on */
  readonly activity?: Activity | undefined;
  /** Fires when the client leaves or the server gives up. */
  readonly signal: AbortSignal;
  /** Hides refs from this caller, besides what `uploadpack.hideRefs` and `transfer.hideRefs` hide. */
  readonly isHiddenRef?: IsHiddenRef | undefined;
}
