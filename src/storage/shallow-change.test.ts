import { describe, expect, it } from "vitest";
import { changeShallow, isNoChange, joinShallow, NO_SHALLOW_CHANGE, ShallowEdits } from "./shallow-change.js";

function edits(...steps: readonly (readonly ["add" | "remove", ...string[]])[]): ShallowEdits {
  const made = new ShallowEdits();
  for (const [what, ...oids] of steps) made[what](oids);
  return made;
}

describe("a change of the shallow list", () => {
  it("is what was said last", () => {
    const { added, removed } = edits(["add", "a", "b"], ["remove", "b", "c"], ["add", "c"]);
    expect({ added: [...added], removed: [...removed] }).toEqual({ added: ["a", "c"], removed: ["b"] });
  });

  it("takes commits off, and does not mind those that are not on it", () => {
    const before = new Set(["a", "b"]);
    expect([...changeShallow(before, edits(["remove", "a", "x"], ["add", "c"]))]).toEqual(["b", "c"]);
    expect([...before]).toEqual(["a", "b"]);
    expect(changeShallow(before, NO_SHALLOW_CHANGE)).toBe(before);
  });

  it("joins others, the later one counts", () => {
    const joined = joinShallow([edits(["add", "a"]), edits(["remove", "a", "b"]), edits(["add", "b"])]);
    expect([...changeShallow(new Set(["c"]), joined)]).toEqual(["c", "b"]);
    expect(isNoChange(joined)).toBe(false);
    expect(isNoChange(joinShallow([]))).toBe(true);
  });
});
