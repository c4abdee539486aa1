import { describe, expect, it } from "vitest";
import { parsePastName, splitPastName } from "./past-name.js";
import { parseRepositoryName } from "./repository-name.js";

const parse = (text: string): string => parsePastName(text, parseRepositoryName);

describe("a name with a point in time", () => {
  it.each([
    ["team/app@{41}.git", "team/app@{41}", { generation: 41 }],
    ["app.git@{0}", "app@{0}", { generation: 0 }],
    ["app@{2026-11-22}", "app@{2026-11-22}", { timeMs: Date.UTC(2026, 10, 22) }],
    [
      "app@{2026-11-22T10:00:00.5Z}.git",
      "app@{2026-11-22T10:00:00.5Z}",
      { timeMs: Date.UTC(2026, 10, 22, 10, 0, 0, 500) },
    ],
    [
      "app@{2026-11-22T10:30+02:00}",
      "app@{2026-11-22T10:30+02:00}",
      { timeMs: Date.UTC(2026, 10, 22, 8, 30) },
    ],
  ] as const)("%s", (text, name, at) => {
    expect(parse(text)).toBe(name);
    expect(splitPastName(name)).toEqual({ name: name.slice(0, name.indexOf("@")), at });
  });

  it("may be without one", () => {
    expect(parse("team/app.git")).toBe("team/app");
    expect(splitPastName("team/app")).toEqual({ name: "team/app", at: undefined });
  });

  it.each([
    "app@{}",
    "app@{-1}",
    "app@{1e3}",
    "app@{1234567890123456}",
    "app@{yesterday}",
    "app@{2026-11-22T10:00:00}",
    "app@{2026-13-45}",
    "app@{1}@{2}",
    "@{1}",
    "../app@{1}",
    "app.lock@{1}",
    "app@1",
    "app@{1}/other",
    "app@{1\n}",
  ])("is refused: %j", (text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: "storage/bad-name" }));
  });
});
