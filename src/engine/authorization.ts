/**
 * The one question that every service call asks, after parsing and before work. Answers come from `access/`.
 */
import type { MaybePromise } from "../base/maybe-promise.js";
import type { PointInTime } from "../storage/contracts/past-name.js";
import type { Identity, PushCommand } from "./push.js";

/** "create", "rename" and "delete" are about the repository itself; the last two are asked for by the API alone. */
export type Operation = "fetch" | "push" | "archive" | "create" | "rename" | "delete";

/** Nothing changes by these. */
export function isReading(operation: Operation): boolean {
  return operation === "fetch" || operation === "archive";
}

export interface AuthorizationRequest {
  readonly identity: Identity;
  /** Repository name without `.git`. */
  readonly repository: string;
  readonly operation: Operation;
  /** It is to be read as it was then (option `past`). */
  readonly at?: PointInTime;
  /** push: the commands, once they are known (the discovery request asks without). */
  readonly commands?: readonly PushCommand[];
  /** What `resolveRepository` told of the name that was asked for. */
  readonly facts?: Readonly<Record<string, string>>;
  readonly address: string | undefined;
  readonly transport: "http" | "ssh" | "git" | "stdio";
}

export type AuthorizationAnswer =
  | { readonly allowed: true }
  | {
      readonly allowed: false;
      /** Shown to the person. */
      readonly reason: string;
      /** "hide": answer as if the repository did not exist; "challenge": ask for credentials. */
      readonly answer?: "forbid" | "hide" | "challenge";
    };

export type Authorize = (request: AuthorizationRequest) => MaybePromise<AuthorizationAnswer>;
