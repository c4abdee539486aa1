/**
 * Begins a test run with the files that take longest, so that none of them runs on alone at its end. Vitest knows how long each
 * took from runs before; a new checkout has none, and there a list stands in. A file that is missing there comes by its size.
 */
import { basename } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { LONG_TEST_FILES } from "./long-test-files.js";

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification): number => {
      const place = LONG_TEST_FILES.indexOf(basename(moduleId, ".test.js"));
      return place === -1 ? LONG_TEST_FILES.length : place;
    };
    // One with a process of its own between them would end a process in which the others take turns.
    const groupOf = ({ project }: TestSpecification): number => (project.config.isolate ? 0 : 1);
    return (await super.sort(files)).toSorted((a, b) => groupOf(a) - groupOf(b) || placeOf(a) - placeOf(b));
  }
}
