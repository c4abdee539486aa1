import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isGitwharfError } from "../../base/errors.js";
import { parseSshCommand } from "./command-line.js";

describe("parseSshCommand", () => {
  it.each([
    ["git-upload-pack '/app.git'", "git-upload-pack", "app"],
    ["git-upload-pack 'team/app'", "git-upload-pack", "team/app"],
    ["git upload-pack 'app.git/'", "git-upload-pack", "app"],
    ["git-receive-pack app.git", "git-receive-pack", "app"],
    ["git receive-pack '/a'b'/c'", "git-receive-pack", "ab/c"],
    ["git-upload-archive 'app'", "git-upload-archive", "app"],
  ])("%s", (text, service, name) => expect(parseSshCommand(text)).toEqual({ service, name }));

  it("reads git-lfs-authenticate", () => {
    const expected = { service: "git-lfs-authenticate", name: "team/app", lfsOperation: "download" };
    expect(parseSshCommand("git-lfs-authenticate team/app.git download")).toEqual(expected);
    expect(parseSshCommand(`git-lfs-authenticate '/team/app' download ${"0".repeat(64)}`)).toEqual(expected);
  });

  it.each([
    "",
    "git-upload-pack",
    "git-upload-pack ",
    "git-upload-pack 'app",
    "git-upload-pack 'app' 'b'",
    "git-upload-pack 'app'; id",
    "git-upload-pack 'app' && id",
    "git-upload-pack $(id)",
    "git-upload-pack `id`",
    'git-upload-pack "app"',
    "git-upload-pack a\\pp",
    "git-upload-pack 'app'\nid",
    " git-upload-pack 'app'",
    "GIT-UPLOAD-PACK 'app'",
    "git-upload-pack\t'app'",
    "git  upload-pack 'app'",
    "git-shell -c id",
    "git-lfs-authenticate app",
    "git-lfs-authenticate app delete",
    "scp -t /tmp",
    "bash",
  ])("refuses %j", (text) => {
    expect(() => parseSshCommand(text)).toThrow(expect.objectContaining({ code: "protocol/bad-request" }));
  });

  it.each([
    "git-upload-pack '../app'",
    "git-upload-pack '--upload-pack=id'",
    "git-upload-pack '/etc/../app'",
    "git-upload-pack '//app'",
    "git-upload-pack 'a'\\''b'",
    "git-upload-pack ''",
    "git-upload-pack 'app\0'",
    "git-upload-pack --help",
    "git-upload-pack '~root/app'",
  ])("refuses the name in %j", (text) => {
    expect(() => parseSshCommand(text)).toThrow(expect.objectContaining({ code: "storage/bad-name" }));
  });

  it("lets nothing but its own errors escape, and no odd name", () => {
    const pieces = fc.constantFrom(
      "git",
      "-",
      " ",
      "upload-pack",
      "'",
      "\\",
      "!",
      "app",
      "/",
      ".",
      "\0",
      "é",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string()), { maxLength: 12 }), (parts) => {
        try {
          expect(parseSshCommand(`git-upload-pack ${parts.join("")}`).name).toMatch(
            /^[A-Za-z0-9_][A-Za-z0-9._/-]*$/,
          );
        } catch (error) {
          expect(isGitwharfError(error, "protocol/bad-request", "storage/bad-name")).toBe(true);
        }
      }),
    );
  });
});
