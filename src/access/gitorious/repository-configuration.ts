/**
 * What the application answers to `GET /repo-config`, every member looked at; and the same as facts of a request, under
 * the application's own keys.
 */
import { RemoteFailure } from "../remote/remote-failure.js";

export interface RepositoryConfiguration {
  /** Where the repository is on this machine, as the application says. */
  readonly fullPath: string;
  readonly facts: Readonly<Record<string, string>>;
}

/** Those that hooks are told of. */
export const FACT_KEYS = [
  "repository_id",
  "ssh_clone_url",
  "http_clone_url",
  "git_clone_url",
  "custom_pre_receive_path",
  "custom_post_receive_path",
  "custom_update_path",
] as const;

const TEXT_LENGTH_MAX = 4096;

/** @throws RemoteFailure */
export function readRepositoryConfiguration(value: unknown): RepositoryConfiguration {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new RemoteFailure("its answer cannot be understood: it is no object");
  const answer = value as Readonly<Record<string, unknown>>;
  const facts: Record<string, string> = {};
  for (const key of FACT_KEYS) {
    const text = textOf(answer, key);
    if (text !== undefined) facts[key] = text;
  }
  const fullPath = textOf(answer, "full_path");
  if (fullPath === undefined) throw new RemoteFailure("its answer cannot be understood: it has no full_path");
  return { fullPath, facts };
}

/** An id may be a number; null and "" stand for nothing. What would break a line or an environment is refused. */
function textOf(answer: Readonly<Record<string, unknown>>, key: string): string | undefined {
  const value = answer[key];
  if (value === undefined || value === null || value === "") return undefined;
  const text = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== "string" || text.length > TEXT_LENGTH_MAX || /[\0-\x1f\x7f]/.test(text))
    throw new RemoteFailure(`its answer cannot be understood: ${key} is no text of one line`);
  return text;
}
