import { describe, expect, it } from "vitest";
import { parseAlternates } from "./alternates.js";

describe("parseAlternates", () => {
  it.each([
    ["", []],
    ["/a/objects\n/b/objects\n", ["/a/objects", "/b/objects"]],
    ["# comment\n\n../../other.git/objects", ["/srv/other.git/objects"]],
    ['"/with \\"quotes\\" and \\303\\244"\n', ['/with "quotes" and \u00c3\u00a4']],
    ['"/not closed\n/good\n', ["/good"]],
    ['"/bad \\q"\n', []],
    ["/a\0b\n", []],
  ])("%j", (text, paths) => {
    expect(parseAlternates(text, "/srv/app.git/objects")).toEqual(paths);
  });
});
