/** How a contribution is called: its branch by the moment, its hash by the branch. */
import { createHash } from "node:crypto";
import type { UpstreamName } from "../upstream-name.js";

export function branchAt(prefix: string, seconds: number): string {
  return `${prefix}${seconds}`;
}

/** The first 8 digits of SHA-256 of `OWNER/REPO/BRANCH`. */
export function hashOfBranch({ owner, repo }: UpstreamName, branch: string): string {
  return createHash("sha256").update(`${owner}/${repo}/${branch}`).digest("hex").slice(0, 8);
}
