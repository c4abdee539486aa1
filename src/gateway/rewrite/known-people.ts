/**
 * The people whom the headers of pushed commits name, and their names in free text. Names of accounts that everybody has
 * (`root`, `dev`) are words of the language, too, and stay.
 */
import type { Person } from "./commit-parts.js";
import { withoutHiddenCharacters } from "./visible-text.js";

/** Of each kind. Who pushes commits of more people has their trailers and addresses removed all the same. */
const STRINGS_MAX = 200;
const LENGTH_MAX = 200;
const LENGTH_MIN = 3;

const EVERYDAY = new Set(
  [
    "admin administrator anonymous app author bot build builder ci code codespace dev developer docker eng git gitea github",
    "gitlab guest home host local localhost mac mail main master me name no-reply nobody none noreply node null owner python",
    "release robot root ruby runner rust server service system test tester testing the ubuntu unknown user username vagrant",
    "vscode web windows work you your your_name",
  ].flatMap((line) => line.split(" ")),
);
/** Letters that are written without spaces between words. */
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}]/u;

export interface KnownPeople {
  add(person: Person): void;
  /** Their names and addresses, replaced. */
  replaceIn(text: string): string;
}

export const NAME_REMOVED = "[name removed]";
export const ADDRESS_REMOVED = "[address removed]";

/** @param ourselves stays where it stands */
export function createKnownPeople(ourselves: Person): KnownPeople {
  const names = new Set<string>();
  const handles = new Set<string>();
  const addresses = new Set<string>();
  const own = new Set([ourselves.name, ourselves.email].map(keyOf));
  let patterns: readonly (readonly [RegExp, string])[] | undefined;

  function note(strings: Set<string>, text: string): void {
    const key = keyOf(text);
    if (key.length < LENGTH_MIN || key.length > LENGTH_MAX || own.has(key) || strings.size >= STRINGS_MAX)
      return;
    if (EVERYDAY.has(key)) return;
    strings.add(key);
    patterns = undefined;
  }

  return {
    add({ name, email }) {
      note(names, name);
      // One without a host is a name.
      note(email.includes("@") ? addresses : names, email);
      // What forges make of a person who hides the address: 12345+ada@users.noreply.github.com, 1-ada@users.noreply.…
      const handle = /^(?:\d+[+-])?([^@+]+)@(?:users\.)?noreply\./i.exec(email)?.[1];
      if (handle !== undefined) note(handles, handle);
    },
    replaceIn(text) {
      patterns ??= [
        ...patternFor(addresses, (each) => each, ADDRESS_REMOVED),
        ...patternFor(names, (each) => each, NAME_REMOVED),
        ...patternFor(handles, (each) => `(?<=@|://[\\w.-]{1,253}/|[\\w.-]:)${each}`, NAME_REMOVED),
      ];
      return patterns.reduce((rest, [pattern, instead]) => rest.replace(pattern, () => instead), text);
    },
  };
}

function keyOf(text: string): string {
  return withoutHiddenCharacters(text).trim().replace(/\s+/g, " ").toLowerCase();
}

function patternFor(
  strings: ReadonlySet<string>,
  around: (escaped: string) => string,
  instead: string,
): readonly (readonly [RegExp, string])[] {
  if (strings.size === 0) return [];
  // The longer ones first, so that no half of one is left.
  const each = [...strings].toSorted((a, b) => b.length - a.length).map((text) => around(asPattern(text)));
  return [[new RegExp(each.join("|"), "giu"), instead]];
}

function asPattern(text: string): string {
  const escaped = text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&").replace(/ /g, "[\\s_]{1,4}");
  if (UNSPACED.test(text)) return escaped;
  return `(?<![\\p{L}\\p{N}])${escaped}(?![\\p{L}\\p{N}])`;
}
