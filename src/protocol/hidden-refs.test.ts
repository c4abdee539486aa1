import { describe, expect, it } from "vitest";
import { compileHiddenRefs } from "./hidden-refs.js";

describe("compileHiddenRefs", () => {
  const hidden = (patterns: readonly string[], ...names: string[]) =>
    names.filter(compileHiddenRefs(patterns));
  const names = [
    "refs/heads/main",
    "refs/heads/mainline",
    "refs/pull/1/head",
    "refs/pull/1/merge",
    "refs/pull",
  ];

  it("hides a ref and everything below it, but not what only begins alike", () => {
    expect(hidden(["refs/heads/main"], ...names)).toEqual(["refs/heads/main"]);
    expect(hidden(["refs/pull"], ...names)).toEqual(["refs/pull/1/head", "refs/pull/1/merge", "refs/pull"]);
    expect(hidden(["refs/pull///"], ...names)).toHaveLength(3);
    expect(hidden(["refs"], ...names)).toEqual(names);
    expect(hidden([], ...names)).toEqual([]);
    expect(hidden([""], ...names)).toEqual([]);
  });

  it("lets the last pattern win", () => {
    expect(hidden(["refs/pull", "!refs/pull/1/head"], ...names)).toEqual(["refs/pull/1/merge", "refs/pull"]);
    expect(hidden(["!refs/pull/1/head", "refs/pull"], ...names)).toHaveLength(3);
    expect(hidden(["refs", "!refs/heads", "refs/heads/mainline"], ...names)).toEqual(
      names.filter((n) => n !== "refs/heads/main"),
    );
    expect(hidden(["!refs/heads"], ...names)).toEqual([]);
  });

  it("takes ^ as what it is without namespaces", () => {
    expect(hidden(["^refs/pull", "!^refs/pull/1"], ...names)).toEqual(["refs/pull"]);
  });
});
