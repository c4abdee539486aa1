import { describe, expect, it } from "vitest";
import { requestIdOf } from "./request-id.js";
import { shownTarget } from "./request-line.js";

describe("the id of a request", () => {
  it("is a trusted proxy's", () => {
    expect(requestIdOf(["01HX-a.b:c_9"], true)).toBe("01HX-a.b:c_9");
  });
  it.each<[string, readonly string[], boolean]>([
    ["a stranger's", ["abc"], false],
    ["one with a line break", ["abc\nx"], true],
    ["one with a blank", ["abc x"], true],
    ["an empty one", [""], true],
    ["a long one", ["a".repeat(129)], true],
    ["one of two", ["abc", "def"], true],
    ["none", [], true],
  ])("is made in place of %s", (_, given, isTrusted) => {
    expect(requestIdOf(given, isTrusted)).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  });
});

describe("a request's target in the log", () => {
  it.each([
    ["/team/app.git/info/refs?service=git-upload-pack&access_token=s3cret", "/team/app.git/info/refs"],
    ["http://ada:s3cret@host:80/app.git/HEAD", "/app.git/HEAD"],
    ["/ada:s3cret@host/app.git", "/host/app.git"],
    ["/app\x1b[31m\n", "/app?[31m"],
    ["", ""],
  ])("%j is %j", (url, shown) => expect(shownTarget(url).trimEnd()).toBe(shown));
  it("is cut", () => expect(shownTarget(`/${"a".repeat(5000)}`)).toHaveLength(300));
});
