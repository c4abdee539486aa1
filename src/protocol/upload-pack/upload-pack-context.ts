/** What upload-pack is told by its transport. */
import type { Activity } from "../../base/activity.js";
import type { SharedBudget } from "../../base/shared-budget.js";
import type { Limits } from "../../base/limits.js";
import type { Identity } from "../../engine/push.js";
import type { Repository, Snapshot, SnapshotOptions } from "../../storage/contracts/repository.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";
import type { BeforeUpload } from "../before-upload.js";
import type { IsHiddenRef } from "../hidden-refs.js";
import type { BundleOffer } from "../offered-bundle.js";

export interface UploadPackContext {
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  readonly limits: Limits;
  /** Asked once it is known what would be sent. @default nobody is asked */
  readonly beforeUpload?: BeforeUpload | undefined;
  /** What the requests of all callers may hold together. @default without bound */
  readonly requestBytes?: SharedBudget | undefined;
  readonly identity: Identity;
  /** `gitwharf/1.2.3` */
  readonly agent: string;
  readonly version: 0 | 1 | 2;
  /** Fires when the client leaves or the server gives up. */
  readonly signal: AbortSignal;
  readonly sessionId: string;
  /** Steps are made known to it, and its id to the person when the server is at fault. @default nobody looks on */
  readonly activity?: Activity | undefined;
  /**
   * Answers come from this instant instead of from one of their own. For v0 and v1 on one connection: the wants are
   * then of the very refs that were advertised. Released by who took it.
   */
  readonly snapshot?: Snapshot | undefined;
  /**
   * Hides refs from this caller, besides what the settings hide. Replies are cached by the identity of the function:
   * hand in the same one for all callers who see the same refs.
   */
  readonly isHiddenRef?: IsHiddenRef | undefined;
  /** Bundles that the server makes. @default it makes none */
  readonly bundles?: BundleOffer | undefined;
  /** Packs that clients may get from where they are stored. @default they get all from here */
  readonly packfileUris?: { readonly sizeBytesMin: number; readonly lifetimeSeconds: number } | undefined;
}

/** The context's snapshot, or one of its own. @returns what to release */
export async function takeSnapshot(context: UploadPackContext, options?: SnapshotOptions): Promise<Snapshot> {
  const { snapshot } = context;
  if (snapshot === undefined) return context.repository.snapshot(options);
  return {
    version: snapshot.version,
    head: snapshot.head,
    refs: snapshot.refs,
    objects: snapshot.objects,
    shallow: snapshot.shallow,
    alternateTips: snapshot.alternateTips,
    release() {
      // It is its owner's.
    },
  };
}
