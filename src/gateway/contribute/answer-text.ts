/** What a person reads in the Git client. */
import type { Contribution } from "../../database/gateway-store.js";
import { isGitwharfError } from "../../base/errors.js";
import type { Person } from "../rewrite/commit-parts.js";
import { refuse, Refused } from "./refused.js";

export interface AnswerAbout {
  readonly kind: "opened" | "updated" | "waiting";
  readonly contribution: Contribution;
  readonly identity: Person;
  readonly commits: number;
  /** The branch that was pushed to, without `refs/heads/`. */
  readonly pushedTo: string;
  readonly further: readonly string[];
}

const HEADLINES = {
  opened: "SUCCESS! A pull request has been opened:",
  updated: "SUCCESS! The pull request has been updated:",
  waiting: "Your commits have arrived. The pull request will be opened as soon as the forge can:",
} as const;

export function answerLines(about: AnswerAbout): readonly string[] {
  const { kind, contribution, identity, commits, pushedTo, further } = about;
  const { upstream, hash, branch, base, pullUrl } = contribution;
  return [
    "",
    HEADLINES[kind],
    `  ${pullUrl === "" ? `${upstream.owner}/${upstream.repo}` : pullUrl}`,
    "",
    `Author:   ${identity.name} <${identity.email}>`,
    `Commits:  ${commits}`,
    `Branch:   ${branch} -> ${base}`,
    `PR hash:  ${hash}`,
    ...further,
    "",
    "To update it, push again with its hash:",
    `  git push -f -o pr-hash=${hash} gost HEAD:${pushedTo}`,
    "",
  ];
}

/** What went wrong at the forge, as far as it is for the person. @returns undefined: it is none of theirs */
export function refusalOfForge(error: unknown, doing: string): Refused | undefined {
  if (error instanceof Refused) return error;
  if (isGitwharfError(error, "forge/exhausted"))
    return refuse("the forge takes no more for now", `Failed to ${doing}: ${error.message}.`);
  if (isGitwharfError(error, "forge/unreachable", "client/unreachable"))
    return refuse(
      "the forge cannot be reached",
      `Failed to ${doing}: the forge cannot be reached, or fails. Try again later; nothing was opened.`,
    );
  if (isGitwharfError(error, "forge/refused", "forge/not-found"))
    return refuse("refused by the forge", `Failed to ${doing}: ${error.message}.`);
  if (
    isGitwharfError(error, "client/refused", "client/bad-answer", "forge/bad-answer", "client/not-callable")
  )
    return refuse("refused by the forge", `Failed to ${doing}: the forge did not answer as it should.`);
  // The client is there, or nobody would be told.
  if (isGitwharfError(error, "base/aborted", "base/shutting-down"))
    return refuse(
      "interrupted",
      `It took too long to ${doing}, or this service is being restarted. Look whether there is a pull request before you push again:`,
      "where the commits had arrived already, it is opened by itself.",
    );
  return undefined;
}
