/**
 * Reftables that real git changes at the same time. Needs git 2.45 or later: GITWHARF_GIT_WITH_REFTABLE may name one
 * that is not on the PATH. reftable-from-git.test.ts needs none.
 */
import { describe } from "vitest";
import { gitWithReftable } from "../git-refs.test.support.js";
import { describeSharingWithGit } from "../shared-with-git.test.support.js";

const version = gitWithReftable();

describe.skipIf(version === undefined)(`git ${version ?? "with reftables, absent here,"} and a store`, () =>
  describeSharingWithGit("reftable"),
);
