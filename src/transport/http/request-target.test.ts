import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isGitwharfError } from "../../base/errors.js";
import { parseRequestTarget } from "./request-target.js";

describe("parseRequestTarget", () => {
  it("knows the routes of git-http-backend", () => {
    expect(parseRequestTarget("/a/b.git/info/refs?service=git-upload-pack")).toEqual({
      kind: "info-refs",
      repository: "a/b",
      service: "git-upload-pack",
    });
    expect(parseRequestTarget("/app/git-receive-pack")).toEqual({
      kind: "service",
      repository: "app",
      service: "git-receive-pack",
    });
    expect(parseRequestTarget("/app.git/HEAD")).toEqual({ kind: "file", repository: "app", path: "HEAD" });
    const loose = `objects/ab/${"0".repeat(38)}`;
    expect(parseRequestTarget(`/app.git/${loose}`)).toEqual({ kind: "file", repository: "app", path: loose });
    const id = "01234567-89ab-4cde-8f01-23456789abcd";
    const bundle = { kind: "bundle", repository: "a/app", id };
    expect(parseRequestTarget(`/a/app.git/bundles/${id}.bundle`)).toEqual(bundle);
    expect(parseRequestTarget(`/a/app.git/bundles/${id}.pack`)).toBeUndefined();
  });

  it.each([
    "/",
    "",
    "/app",
    "/app.git/config",
    "/app.git/objects/pack/../../config",
    "/app%2fb/HEAD",
    "/a\\b/HEAD",
    "/app%00/HEAD",
    "/app.git/hooks/update",
  ])("finds nothing at %s", (url) => {
    expect(parseRequestTarget(url)).toBeUndefined();
  });

  it.each([
    "/../x/info/refs",
    "/a/../b/HEAD",
    "/%2e%2e/x/HEAD",
    "/.git/HEAD",
    "//etc/HEAD",
    "/a//b/HEAD",
    "/-x/HEAD",
    "/a.lock/HEAD",
    "/con/HEAD",
    "/%zz/HEAD",
    "/é/HEAD",
    `/${"a/".repeat(9)}HEAD`,
  ])("refuses the name in %s", (url) => {
    expect(() => parseRequestTarget(url)).toThrow(expect.objectContaining({ code: "storage/bad-name" }));
  });

  it("lets nothing but its own error escape, and never a name that could leave the root", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.webPath(),
          fc.string().map((s) => `/${s}/info/refs`),
        ),
        (url) => {
          try {
            const target = parseRequestTarget(url);
            if (target !== undefined) expect(target.repository).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._/-]*$/);
            expect(target?.repository.split("/") ?? []).not.toContain("..");
          } catch (error) {
            expect(isGitwharfError(error, "storage/bad-name")).toBe(true);
          }
        },
      ),
    );
  });
});
