/**
 * The message of a commit without what says who wrote it: trailers and headers that name people, e-mail addresses however
 * they are written, Change-Id, signatures, where a merge came from, and the names of the people whom the commits name. Where
 * it is not certain that something is a person it stays: docs/decisions/gateway-rewriting.md.
 *
 * A stranger writes this: every pattern takes a time that grows with the length of the text and no faster.
 */
import { namesPeople, withoutPeople } from "./identity-lines.js";
import { ADDRESS_REMOVED, type KnownPeople, NAME_REMOVED } from "./known-people.js";
import { withoutHiddenCharacters } from "./visible-text.js";

const AT = "(?:[@\\uff20\\ufe6b]|%40|&#0{0,4}64;|&#x0{0,4}40;|&commat;)";
/** Where a word begins: in the middle of a long one, nothing is tried. */
const START = "(?<![\\p{L}\\p{N}\\p{M}_+-])";
/** Of the signs that may stand there, those that do: `@app.route` of a program is none. */
const LOCAL = `${START}[\\p{L}\\p{N}_+-][\\p{L}\\p{N}\\p{M}.+_%'~&-]{0,127}`;
const LABEL = "[\\p{L}\\p{N}\\p{M}_][\\p{L}\\p{N}\\p{M}_-]{0,62}";
const DOT = "[.\\uff0e\\u3002\\uff61]";
const TOP = "(?:xn--[a-z0-9-]{2,59}|[\\p{L}\\p{M}]{2,24})";
const WHITE = "[ \\t]{0,4}";
const HOST = `(?:${LABEL}${DOT}){1,8}${TOP}`;

/** `dot` as people write it who do not want an address to be found. */
const SPOKEN_DOT = `(?:${WHITE}[\\[({<]${WHITE}(?:dot|\\.)${WHITE}[\\])}>]${WHITE}|[ \\t]{1,4}dot[ \\t]{1,4})`;
const SPOKEN_AT = `${WHITE}[\\[({<]${WHITE}(?:at|@)${WHITE}[\\])}>]${WHITE}`;
const WORD = "[\\p{L}\\p{N}\\p{M}_+-]{1,128}";
const SPOKEN_LOCAL = `${START}${WORD}(?:(?:${SPOKEN_DOT}|\\.)${WORD}){0,4}`;
const SPOKEN_HOST = `${LABEL}(?:(?:${SPOKEN_DOT}|${DOT})${LABEL}){0,8}(?:${SPOKEN_DOT}|${DOT})${TOP}`;

/** `at` and `dot` are words: only before such an end are they an address's. */
const SPOKEN_TOP =
  "(?:[a-z]{2}|com|org|net|edu|gov|info|name|dev|app|email|xyz|tech|cloud|online|site|example|test|local)(?![\\p{L}\\p{N}])";

const ADDRESS = [
  // Anything with an at in angle brackets, ada@localhost too, and ada at example.org.
  `<${WHITE}(?:mailto:)?[^<>\\s@]{1,64}${WHITE}${AT}${WHITE}[^<>\\s]{1,253}${WHITE}>`,
  `<${WHITE}${SPOKEN_LOCAL}(?:${SPOKEN_AT}|[ \\t]{1,4}at[ \\t]{1,4})${SPOKEN_HOST}${WHITE}>`,
  `(?:mailto:)?${LOCAL}${AT}${HOST}`,
  `(?:mailto:)?"[^"\\n]{1,64}"${AT}${HOST}`,
  `${LOCAL}${AT}\\[[0-9a-f:.]{2,64}\\]`,
  `${SPOKEN_LOCAL}${SPOKEN_AT}${SPOKEN_HOST}`,
  // Without brackets the dot has to be spoken, too.
  `${SPOKEN_LOCAL}[ \\t]{1,4}at[ \\t]{1,4}${LABEL}(?:${SPOKEN_DOT}${LABEL}){0,3}${SPOKEN_DOT}${SPOKEN_TOP}`,
].join("|");

const ADDRESSES = new RegExp(ADDRESS, "giu");
/** Jane Doe <jane@example.org>: who is written so is a person. */
const NAME = "[\\p{Lu}\\p{Lt}\\p{Lo}][\\p{L}\\p{M}.'\\u2019-]{0,40}";
const PARTICLE =
  "(?:van|von|vom|zu|zur|de|da|di|do|du|den|der|del|des|dos|la|le|ten|ter|bin|bint|ibn|al|el|af|av)";
const NAMED_ADDRESS = new RegExp(
  `(?<!\\p{L})(?:(?:${NAME}|${PARTICLE})[ \\t]{1,4}){1,6}(?:"[^"\\n]{1,64}"[ \\t]{1,4})?` +
    `<${WHITE}(?:mailto:)?[^<>\\s@]{1,64}${WHITE}${AT}${WHITE}[^<>\\s]{1,253}${WHITE}>`,
  "gu",
);
/** Who signs in where: https://ada:secret@host/, not git@host. */
const SIGNED_IN = /([a-z][a-z0-9+.-]{1,20}:\/\/)(?!git@)[^\s/@<>]{1,256}@/gi;

const MERGED_FROM = [
  // Merge branch 'fix' of git@example.org:ada/app into main
  [/^(Merge (?:remote-tracking )?(?:branch|branches|tag|commit) .{0,500}?) of \S{1,500}(?=$| into )/u, "$1"],
  // Merge pull request #3 from ada/fix
  [/^(Merge pull request #\d{1,12}) from \S{1,500}/u, "$1"],
] as const;

/** The blocks of OpenPGP, SSH and PEM. */
const ARMOUR_BEGINS = /^[\s>]{0,20}-----BEGIN [A-Z0-9 ]{1,60}-----/;
const ARMOUR_ENDS = /-----END [A-Z0-9 ]{1,60}-----/;

/** @returns it as it was, its invisible characters apart, when there is nothing in it; "" when nothing else was */
export function scrubMessage(message: string, people: KnownPeople): string {
  const visible = withoutHiddenCharacters(message);
  const scrubbed = people
    .replaceIn(withoutAddresses(keptLines(visible).join("\n")))
    .replace(REPEATED, (first) => first.slice(0, first.indexOf("]") + 1));
  return scrubbed === visible ? visible : tidy(scrubbed);
}

/** A name beside its address leaves one mark. */
const REPEATED =
  /(?:\[name removed\]|\[address removed\])(?: ?(?:\[name removed\]|\[address removed\])){1,20}/g;

function keptLines(message: string): readonly string[] {
  const kept: string[] = [];
  let isArmoured = false;
  let isFolded = false;
  for (const [index, line] of message.split("\n").entries()) {
    if (isArmoured || ARMOUR_BEGINS.test(line)) {
      isArmoured = !ARMOUR_ENDS.test(line);
      continue;
    }
    // A trailer goes on in lines that are indented.
    if (isFolded && /^[ \t]+\S/.test(line)) continue;
    isFolded = namesPeople(line, { isSubject: index === 0 });
    if (!isFolded) kept.push(withoutPeople(withoutOrigin(line)));
  }
  return kept;
}

function withoutOrigin(line: string): string {
  return MERGED_FROM.reduce<string>((rest, [pattern, instead]) => rest.replace(pattern, instead), line);
}

function withoutAddresses(text: string): string {
  return text
    .replace(SIGNED_IN, "$1")
    .replace(NAMED_ADDRESS, () => `${NAME_REMOVED} ${ADDRESS_REMOVED}`)
    .replace(ADDRESSES, (address, ...rest) => {
      const [at, whole] = rest.slice(-2) as [number, string];
      // Where a repository is (git@example.org:team/app, ssh://git@example.org/), and icon@2x.png.
      const isPlace = /^git@/i.test(address) && /^[:/]/.test(whole.slice(at + address.length));
      const isPicture = /@\dx\.[a-z]{3,4}$/i.test(address);
      return isPlace || isPicture ? address : ADDRESS_REMOVED;
    });
}

/** What is left of a message when lines of it have gone. */
function tidy(text: string): string {
  const lines = text.split("\n").map((line) => line.trimEnd());
  const kept = lines.filter((line, index) => line !== "" || (index > 0 && lines[index - 1] !== ""));
  const whole = kept.join("\n").trim();
  return whole === "" ? "" : `${whole}\n`;
}
