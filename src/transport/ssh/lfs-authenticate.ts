/**
 * The seam of `git-lfs-authenticate`: over SSH a client of Git LFS asks where large files are and with which header.
 * Specification: git-lfs, docs/api/server-discovery.md.
 */
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { Identity } from "../../engine/push.js";

export interface LfsRequest {
  readonly identity: Identity;
  readonly repository: string;
  readonly operation: "download" | "upload";
  readonly address: string | undefined;
}

/** Written to the client as JSON. */
export interface LfsAccess {
  readonly href: string;
  readonly header?: Readonly<Record<string, string>>;
  readonly expires_in?: number;
}

/** Called once the repository may be read (download) or pushed to (upload). */
export type LfsAuthenticate = (request: LfsRequest) => MaybePromise<LfsAccess>;
