/**
 * Begins a test run with the files that take longest, so that none of them runs on alone at its end. Vitest knows how long each
 * took from runs before; a new checkout has none, and there this list stands in. A file that is missing here comes by its size.
 */
import { basename } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Those above twenty seconds, the longest first. */
const LONGEST: readonly string[] = [
  "webhooks",
  "object-store-broken",
  "upload-pack-scenarios",
  "events-killed",
  "crash",
  "deploy-dyno",
  "repository-hooks-proc-receive",
  "object-store-suites",
  "script-hooks",
  "first-push-processes",
  "object-store-server",
  "audit-commands",
  "object-store-janitor",
  "object-store-commands",
  "upload-pack-shallow-server",
  "ssh-beside-sshd",
  "fold-packs",
  "fold-beside-others",
  "bad-input-leaving",
];

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification): number => {
      const place = LONGEST.indexOf(basename(moduleId, ".test.js"));
      return place === -1 ? LONGEST.length : place;
    };
    return (await super.sort(files)).toSorted((a, b) => placeOf(a) - placeOf(b));
  }
}
