/**
 * The checks of single objects beside the real git's: the same ids, severities and texts for the same bytes. The judge
 * is git 2.39; where newer versions say something else the table has it.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashObject } from "../object-id.js";
import { FSCK_MESSAGE_IDS } from "./fsck-message.js";
import { FsckRepository, type GitVerdicts, judge } from "./git-fsck.test.support.js";
import { malformedObjects } from "./malformed-objects.test.support.js";
import { MUTATED_OBJECT } from "./mutated-objects.test.support.js";

const OBJECTS = malformedObjects();

/** Nothing that can be stored makes git say these, or nothing small enough for a test. */
const OUT_OF_REACH = [
  // The header is known to end in LF before those are looked for.
  "badGpgsig",
  "badHeaderContinuation",
  "missingTag",
  "missingType",
  "unknownType",
  // Git's parser of trees refuses it first: badTree.
  "emptyName",
  // More than 10 MiB and 100 MiB; the first is our own limit.
  "gitmodulesLarge",
  "gitattributesLarge",
  // Ignored unless it is asked for.
  "extraHeaderEntry",
];

describe("checkObject beside git fsck", () => {
  let repository: FsckRepository;
  const git = new Map<boolean, GitVerdicts>();

  beforeAll(() => {
    repository = new FsckRepository();
    repository.add(OBJECTS);
    git.set(false, repository.fsck());
    git.set(true, repository.fsck("--strict"));
  });
  afterAll(() => repository.remove());

  it.each([false, true])("says the same of every object of the table (strict: %s)", (strict) => {
    const theirs = git.get(strict) as GitVerdicts;
    const ours = judge(OBJECTS, strict);
    const titles = new Map(OBJECTS.map(({ oid, type, title }) => [oid, `${type}: ${title}`]));
    const different = new Map(
      OBJECTS.flatMap(({ oid, ours: text }) => (text === undefined ? [] : [[oid, text]])),
    );
    const wrong: unknown[] = [];
    for (const oid of new Set([...titles.keys(), ...theirs.verdicts.keys(), ...ours.keys()])) {
      const our = ours.get(oid) ?? [];
      const their = theirs.verdicts.get(oid) ?? [];
      const text = different.get(oid);
      if (text !== undefined) {
        // When git says the same the table is out of date.
        if (
          JSON.stringify(our) === JSON.stringify(their) ||
          !our.some((finding) => finding.endsWith(` ${text}`))
        )
          wrong.push({ object: titles.get(oid), our, their, expected: text });
        continue;
      }
      const same = theirs.unparsed.has(oid)
        ? our.some((text) => text.startsWith("error "))
        : JSON.stringify(our) === JSON.stringify(their);
      if (!same)
        wrong.push({ object: titles.get(oid) ?? oid, our, their, unparsed: theirs.unparsed.has(oid) });
    }
    expect(wrong).toEqual([]);
  });

  it("has an object for every message", () => {
    const seen = new Set(
      [...judge(OBJECTS, true).values()].flat().map((text) => /^\w+ (\w+):/.exec(text)?.[1]),
    );
    expect(FSCK_MESSAGE_IDS.filter((id) => !seen.has(id)).toSorted()).toEqual(OUT_OF_REACH.toSorted());
  });
});

/** Git 2.39 takes white space and signs before a date's digits. */
const OLD_DATE = />[ \t]+[\n\v\f\r+-]/;

describe("checkObject beside git fsck, on random edits", () => {
  it.each([1, 2])("says the same (seed %i)", (seed) => {
    const objects = fc.sample(MUTATED_OBJECT, { seed, numRuns: 600 });
    const repository = new FsckRepository();
    try {
      repository.add(objects);
      const theirs = repository.fsck("--strict");
      const ours = judge(objects, true);
      const wrong: unknown[] = [];
      let compared = 0;
      for (const { type, data } of objects) {
        const oid = hashObject("sha1", type, data);
        const text = data.toString("latin1");
        if (OLD_DATE.test(text)) continue;
        const our = ours.get(oid) ?? [];
        if (theirs.unparsed.has(oid)) {
          // A tag is also not parsed when another object refers to its target as of another type.
          const refused = type !== "commit" || our.some((finding) => finding.startsWith("error "));
          if (!refused) wrong.push({ type, text, our });
          continue;
        }
        compared++;
        const their = theirs.verdicts.get(oid) ?? [];
        if (JSON.stringify(our) !== JSON.stringify(their)) wrong.push({ type, text, our, their });
      }
      expect(wrong).toEqual([]);
      expect(compared).toBeGreaterThan(300);
    } finally {
      repository.remove();
    }
  });
});
