import { describe, expect, it } from "vitest";
import { isName, keyOfUpstream, parseUpstreamAddress } from "./upstream-name.js";

const parse = (path: string): unknown => parseUpstreamAddress(path);

describe("an address of the gateway", () => {
  it.each([
    ["/v1/gh/ada/engine/info/refs", "gh", "", "ada", "engine", "info/refs"],
    ["/v1/gl/a/b.git/git-receive-pack", "gl", "", "a", "b", "git-receive-pack"],
    ["/v1/cb/A-1/b_2.c", "cb", "", "A-1", "b_2.c", ""],
    ["/v1/local/team/app.git", "local", "", "team", "app", ""],
    ["/v1/gt/Git.Example.org/a/b/issues/3", "gt", "git.example.org", "a", "b", "issues/3"],
    ["/v1/gt/git.example.org:3000/a/b", "gt", "git.example.org:3000", "a", "b", ""],
    ["/v1/gt/192.0.2.1/a/b", "gt", "192.0.2.1", "a", "b", ""],
    [`/v1/gh/${"a".repeat(100)}/b`, "gh", "", "a".repeat(100), "b", ""],
  ])("%s", (path, forge, host, owner, repo, rest) => {
    expect(parse(path)).toEqual({ forge, host, owner, repo, rest });
  });

  it.each(["/", "/v1", "/v1/", "/v2/gh/a/b", "/v1/bb/a/b", "v1/gh/a/b", "/v1/GH/a/b"])(
    "%s is none",
    (path) => {
      expect(parse(path)).toBeUndefined();
    },
  );

  it.each([
    "/v1/gh",
    "/v1/gh/a",
    "/v1/gh/a/",
    "/v1/gh//b",
    "/v1/gh/a/..",
    "/v1/gh/a/b..c",
    "/v1/gh/-a/b",
    "/v1/gh/.a/b",
    "/v1/gh/a/.git",
    "/v1/gh/a/b.git.git",
    "/v1/gh/a b/c",
    "/v1/gh/a%2fb/c",
    "/v1/gh/a\\b/c",
    "/v1/gh/a/b\n",
    "/v1/gh/a/b\0",
    "/v1/gh/ä/b",
    `/v1/gh/${"a".repeat(101)}/b`,
    "/v1/gt/a/b",
    "/v1/gt/host.example.org/a",
    "/v1/gt/user@host.example.org/a/b",
    "/v1/gt/host..org/a/b",
    "/v1/gt/-host.org/a/b",
    "/v1/gt/host.org:99999/a/b",
    "/v1/gt/host.org:/a/b",
    "/v1/gt/[::1]/a/b",
    `/v1/gt/${"a.".repeat(126)}ab/a/b`,
  ])("%j is refused", (path) => {
    expect(() => parse(path)).toThrow(
      expect.objectContaining({ code: "protocol/bad-request", message: "Invalid repo name" }),
    );
  });

  it("has one key for all its spellings", () => {
    const name = { forge: "gt", host: "git.example.org", owner: "Ada", repo: "Engine" } as const;
    expect(keyOfUpstream(name)).toBe("gt/git.example.org/ada/engine");
    expect(keyOfUpstream({ ...name, forge: "gh", host: "" })).toBe("gh/ada/engine");
  });

  it("takes a forge's word only for names that it may have", () => {
    expect(["a", "a.b", "a_-", ".github"].map(isName)).toEqual([true, true, true, false]);
  });
});
