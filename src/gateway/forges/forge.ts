/**
 * What the gateway needs of a forge, whichever it is. Implementations ask by the forge's own SDK, and all of them
 *
 * - answer an own error (`forge/…`) for whatever goes wrong, with no token, title or body in it;
 * - wait no longer than their settings and `signal` say, and read no more than their settings say;
 * - take nothing from an answer without looking at it: addresses are built here, from names that were checked.
 */
import type { ForgeName, UpstreamName } from "../upstream-name.js";

export type { ForgeName, UpstreamName };

export interface GitCredentials {
  readonly username: string;
  readonly password: string;
}

export interface UpstreamRepository extends UpstreamName {
  /** Owner and repo as the forge writes them; after a renaming, the new ones. */
  readonly defaultBranch: string;
  /** undefined where the forge tells members only. */
  readonly sizeBytes: number | undefined;
  readonly isEmpty: boolean;
  readonly isArchived: boolean;
  readonly isPrivate: boolean;
  readonly cloneUrl: string;
  readonly htmlUrl: string;
}

/** Where a branch of ours is. The owner is one of our accounts. */
export interface ForkName {
  readonly owner: string;
  readonly repo: string;
}

export interface Fork extends ForkName {
  readonly cloneUrl: string;
  readonly credentials: GitCredentials;
}

export interface PullRequest {
  readonly number: number;
  readonly url: string;
  readonly state: "open" | "closed" | "merged";
  readonly title: string;
  /** 0 where a list does not tell; `pullRequest` does. */
  readonly comments: number;
  readonly updatedAtMs: number;
}

export interface NewPullRequest {
  readonly fork: ForkName;
  /** Branches, without `refs/heads/`. */
  readonly head: string;
  readonly base: string;
  /** Cut to what the forge takes, like `body`. */
  readonly title: string;
  readonly body: string;
}

export interface IssueTemplate {
  readonly name: string;
  readonly body: string;
  readonly kind: "markdown" | "form";
}

export interface ForgeCall {
  readonly signal?: AbortSignal;
}

export interface Forge {
  readonly name: ForgeName;
  readonly host: string;
  /** undefined: there is none, or none that may be seen. */
  find(name: UpstreamName, call?: ForgeCall): Promise<UpstreamRepository | undefined>;
  /** Of the default branch. At most 64 KiB: a larger one is forge/bad-answer. undefined: there is none. */
  readFile(name: UpstreamName, path: string, call?: ForgeCall): Promise<Buffer | undefined>;
  /**
   * An account's fork of that upstream, made if there is none; its Git side is there when this returns. A repository of the
   * same name that is no such fork is left alone.
   * @param call.account whose; without it, one of ours
   */
  fork(name: UpstreamName, call?: ForgeCall & { readonly account?: string }): Promise<Fork>;
  /** In any state, by the branch that it is of: opening one again finds it. */
  findPullRequest(
    name: UpstreamName,
    of: { readonly fork: ForkName; readonly head: string },
    call?: ForgeCall,
  ): Promise<PullRequest | undefined>;
  /** Where there is one of this branch already, that one. */
  openPullRequest(name: UpstreamName, pull: NewPullRequest, call?: ForgeCall): Promise<PullRequest>;
  pullRequest(name: UpstreamName, number: number, call?: ForgeCall): Promise<PullRequest | undefined>;
  /** One that is closed stays so. @throws forge/not-found, forge/refused */
  closePullRequest(name: UpstreamName, number: number, call?: ForgeCall): Promise<void>;
  /** Labels that the forge does not know, or does not take from us, are left out. */
  openIssue(
    name: UpstreamName,
    issue: { readonly title: string; readonly body: string; readonly labels?: readonly string[] },
    call?: ForgeCall,
  ): Promise<{ readonly number: number; readonly url: string }>;
  /** @returns `id`: for `deleteComment` of the same forge */
  comment(
    name: UpstreamName,
    comment: {
      readonly on: "issue" | "pull" | "discussion";
      readonly number: number;
      readonly body: string;
    },
    call?: ForgeCall,
  ): Promise<{ readonly id: string; readonly url: string }>;
  /** One that is gone is no error. */
  deleteComment(name: UpstreamName, id: string, call?: ForgeCall): Promise<void>;
  issueTemplates(name: UpstreamName, call?: ForgeCall): Promise<readonly IssueTemplate[]>;
  /** For reading the upstream by Git; undefined: without signing in. */
  gitCredentials(call?: ForgeCall): Promise<GitCredentials | undefined>;
  /** The same forge by a person's own account. Nothing of it is kept beyond the object. */
  withToken(token: string): Forge;
}

/** Bytes of a file that is read. */
export const FILE_BYTES_MAX = 64 * 1024;
/** Of the templates of a repository, those that are read. */
export const TEMPLATES_MAX = 20;

/** Of several of one branch: the open one, else the first. */
export function preferOpen(pulls: readonly PullRequest[]): PullRequest | undefined {
  return pulls.find(({ state }) => state === "open") ?? pulls[0];
}
