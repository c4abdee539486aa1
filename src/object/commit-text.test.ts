import { describe, expect, it } from "vitest";
import { parseCommitText, subjectOf } from "./commit-text.js";

const commit = (headers: string, message: string, encoding: BufferEncoding = "utf8"): Buffer =>
  Buffer.from(`tree ${"0".repeat(40)}\n${headers}\n\n${message}`, encoding);

describe("parseCommitText", () => {
  it("reads who, when and why", () => {
    const headers = "author Ada <ada@x> 1700000000 +0100\ncommitter Bob B. <> 5 -0230\ngpgsig a\n b";
    expect(parseCommitText(commit(headers, "why\n"))).toEqual({
      author: { name: "Ada", email: "ada@x", seconds: 1_700_000_000 },
      committer: { name: "Bob B.", email: "", seconds: 5 },
      message: "why\n",
    });
  });

  it("decodes what says its encoding, and takes one that nobody knows for UTF-8", () => {
    const latin = parseCommitText(commit("author Bl\xe5 <> 1 +0\nencoding ISO-8859-1", "\xfcber", "latin1"));
    expect([latin.author.name, latin.message]).toEqual(["Blå", "über"]);
    expect(parseCommitText(commit("encoding klingon", "über")).message).toBe("über");
  });

  it("takes what it cannot read for nothing", () => {
    const nobody = { name: "", email: "", seconds: 0 };
    for (const bytes of ["", "tree", "\n\n", "author >x< y\n"].map((text) => Buffer.from(text)))
      expect(parseCommitText(bytes)).toMatchObject({ committer: nobody, message: "" });
    const far = parseCommitText(commit("author A <a> 99999999999999999999 +0", ""));
    expect(new Date(far.author.seconds * 1000).getTime()).toBe(0);
  });
});

describe("subjectOf", () => {
  it.each([
    ["one\n", "one"],
    ["\n \n one\n two \n\nbody", "one two"],
    ["", ""],
    ["\n\n", ""],
  ])("%j is %j", (message, subject) => expect(subjectOf(message)).toBe(subject));

  it("takes no longer than the message is long", () => {
    expect(subjectOf(`a${" ".repeat(2_000_000)}b`)).toHaveLength(2_000_002);
    expect(subjectOf("\n".repeat(2_000_000))).toBe("");
    expect(subjectOf("\n \t".repeat(1_000_000))).toBe("");
  });
});
