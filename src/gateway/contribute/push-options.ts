/**
 * What a person says with `git push -o`:
 *
 *     pr-hash=HASH          the pull request that is to be updated
 *     github-token=TOKEN    an own account of the forge in place of ours; `token=` means the same
 *     title=TEXT            of the pull request
 *     squash, no-squash     one commit, or as they are
 */
import { refuse } from "./refused.js";

export interface ContributionOptions {
  readonly prHash: string | undefined;
  /** Neither logged nor written down. */
  readonly token: string | undefined;
  readonly title: string | undefined;
  readonly isSquashed: boolean | undefined;
  /** Keys that nobody knows, as they may be shown. */
  readonly unknown: readonly string[];
}

const TITLE_LENGTH_MAX = 255;
const UNKNOWN_SHOWN_MAX = 5;

/** @throws Refused */
export function readContributionOptions(options: readonly string[]): ContributionOptions {
  let prHash: string | undefined;
  let token: string | undefined;
  let title: string | undefined;
  let isSquashed: boolean | undefined;
  const unknown: string[] = [];
  for (const option of options) {
    const equals = option.indexOf("=");
    const key = (equals < 0 ? option : option.slice(0, equals)).trim().toLowerCase();
    const value = equals < 0 ? "" : option.slice(equals + 1).trim();
    if (key === "pr-hash") {
      if (!/^[0-9a-f]{8}$/i.test(value))
        throw refuse("bad pr-hash", "A PR hash has 8 hexadecimal digits: git push -o pr-hash=HASH");
      prHash = value.toLowerCase();
    } else if (key === "github-token" || key === "token") {
      if (value !== "") token = value;
    } else if (key === "title") title = value.slice(0, TITLE_LENGTH_MAX);
    else if (key === "squash") isSquashed = value !== "false";
    else if (key === "no-squash") isSquashed = false;
    // It may hold what is nobody's business.
    else if (unknown.length < UNKNOWN_SHOWN_MAX) unknown.push(/^[a-z][a-z-]{0,30}$/.test(key) ? key : "?");
  }
  return { prHash, token, title: title === "" ? undefined : title, isSquashed, unknown };
}
