/**
 * Who calls, how that was proved, and what the proof is good for. Types only; identities are made by `access/`.
 */
export interface Identity {
  /** undefined: anonymous. */
  readonly user: string | undefined;
  /** How it was proved: `password`, `token`, `signed-token`, `ssh-key`, `proxy-header`, `client-certificate`, … */
  readonly method?: string;
  /** Names the credential without giving it away: a key's fingerprint, a token's id. */
  readonly credentialId?: string;
  /** What the credential narrows its user to. Enforced on every request, after `authorize` and all policies. */
  readonly grant?: Grant;
  /** What else the proof says, for policies and hooks. */
  readonly attributes?: Readonly<Record<string, string>>;
}

/** What is left out is not narrowed. */
export interface Grant {
  /** "read": fetch and archive; "write": push and create. */
  readonly operations?: readonly ("read" | "write")[];
  /** Patterns of repository names: `group/app`, `group/*`, `group/**`. */
  readonly repositories?: readonly string[];
  /** In order, the first that matches decides; a ref that none matches may not be pushed to. */
  readonly refs?: readonly RefRule[];
  /** Milliseconds since 1970. */
  readonly expiresAt?: number;
}

export interface RefRule {
  readonly effect: "allow" | "deny";
  /** Patterns of full ref names: `refs/heads/main`, `refs/heads/*`, `refs/tags/**`. */
  readonly refs: readonly string[];
  /** @default all of them */
  readonly actions?: readonly RefAction[];
}

/** What a push does to a ref. `force`: a change to a commit that does not contain the old one. */
export type RefAction = "create" | "update" | "force" | "delete";
