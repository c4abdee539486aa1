/**
 * May the caller have the bundle that was made of the repository? Asked whenever it is offered or fetched: its refs may have
 * moved, and may be hidden, since it was made.
 */
import { mayBeShown } from "../engine/bundles/make-bundle.js";
import type { Repository, Snapshot } from "../storage/contracts/repository.js";
import type { StoredBundle } from "../storage/contracts/repository-bundles.js";
import type { RepositorySettings } from "../storage/contracts/repository-settings.js";
import type { BeforeUpload } from "./before-upload.js";
import { compileHiddenRefs, type IsHiddenRef } from "./hidden-refs.js";
import { visibleRefs } from "./upload-pack/visible-refs.js";

export interface OfferedBundleRequest {
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  readonly isHiddenRef?: IsHiddenRef | undefined;
  readonly beforeUpload?: BeforeUpload | undefined;
  readonly signal: AbortSignal;
}

/** What the server says of bundles that it makes. */
export interface BundleOffer {
  /** For how long an address without credentials is good. */
  readonly lifetimeSeconds: number;
  /** Clients come to this server's own addresses of files. */
  readonly hasFiles: boolean;
  /** There is none that can be offered: it is made, some time. */
  readonly wanted: () => void;
}

/** undefined: there is none for this caller. @throws access/denied by who is asked before uploads; storage/io, object/corrupt, base/aborted */
export async function findOfferedBundle(request: OfferedBundleRequest): Promise<StoredBundle | undefined> {
  const { repository, isHiddenRef, signal } = request;
  if (isHiddenRef !== undefined) return undefined;
  const bundle = await repository.bundles?.find();
  if (bundle === undefined) return undefined;
  const snapshot: Snapshot = await repository.snapshot();
  try {
    const tips = visibleRefs(request, snapshot.refs).tips();
    const isHidden = compileHiddenRefs(request.settings.uploadPack.hideRefs);
    const isVisible = (name: string): boolean => !isHidden(name);
    if (!(await mayBeShown(bundle, { snapshot, tips, isVisible, signal }))) return undefined;
    await request.beforeUpload?.(bundle.refs.map(({ oid }) => oid));
    return (await bundle.hold()) ? bundle : undefined;
  } finally {
    snapshot.release();
  }
}
