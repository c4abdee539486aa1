/** The small files of a build: Procfile, gitwharf.yml, .slugignore, what bin/release prints; and what the pusher sees. */
import { describe, expect, it } from "vitest";
import { createBuildOutput } from "./build-output.js";
import { parseBuildSettings } from "./build-settings.js";
import { parseRelease } from "./buildpack.js";
import { createBuildpackSources } from "./buildpack-source.js";
import { parseProcfile } from "./procfile.js";
import { parseSlugIgnore } from "./slug-ignore.js";
import { createTerminalText } from "./terminal-text.js";
import { formatSize } from "./write-slug.js";

describe("a Procfile", () => {
  it("has a process a line", () => {
    expect(
      parseProcfile("web: node x.js --port=$PORT\r\n# no: comment\nworker:  ./run  \n\nnothing\n"),
    ).toEqual({
      web: "node x.js --port=$PORT",
      worker: "./run",
    });
  });

  it("may name a process as it likes", () => {
    expect(Object.entries(parseProcfile("__proto__: x\nconstructor: y\n"))).toEqual([
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
  });

  it("is read in one go, however long a line is", () => {
    const long = " ".repeat(1_000_000);
    expect(parseProcfile(`web:${long}a${long}b${long}`)).toEqual({ web: `a${long}b` });
  });

  it("has no more than a hundred", () => {
    const lines = (count: number): string => Array.from({ length: count }, (_, i) => `p${i}: x\n`).join("");
    expect(Object.keys(parseProcfile(lines(100)))).toHaveLength(100);
    expect(() => parseProcfile(lines(101))).toThrow(/more than 100/);
  });
});

describe("gitwharf.yml", () => {
  it("says how to build", () => {
    expect(
      parseBuildSettings(
        "build: [npm ci, npm test]\nprocesses:\n  web: node .\nnetwork: true\nbuildpack: x\n",
      ),
    ).toEqual({
      commands: ["npm ci", "npm test"],
      staticDirectory: undefined,
      processTypes: { web: "node ." },
      buildpack: "x",
      network: true,
    });
    expect(parseBuildSettings("build: make\nstatic: ./dist/\n")).toMatchObject({
      commands: ["make"],
      staticDirectory: "dist",
    });
    expect(parseBuildSettings("static: .").staticDirectory).toBe(".");
    expect(parseBuildSettings("").commands).toEqual([]);
  });

  it.each([
    "static: ../..",
    "static: /etc",
    "static: a/../../b",
    "buidl: x",
    "build: {a: b}",
    "network: maybe",
    `build: [${"x,".repeat(100)}x]`,
    "processes: x",
    "- a",
  ])("is refused: %s", (text) => expect(() => parseBuildSettings(text)).toThrow(/^gitwharf\.yml: /));
});

describe("bin/release", () => {
  it("names processes, variables and addons", () => {
    expect(
      parseRelease(
        "addons:\n  - redis\nconfig_vars:\n  A: b\n  not a name: c\ndefault_process_types:\n  web: x\n",
      ),
    ).toEqual({ processTypes: { web: "x" }, config: { A: "b" }, addons: ["redis"] });
    expect(parseRelease("--- {}\n")).toEqual({ processTypes: {}, config: {}, addons: [] });
  });
});

describe(".slugignore", () => {
  const isIgnored = parseSlugIgnore("# comment\n*.psd\n/test\nspec/\ndocs/*.md\n!kept.psd\n");
  it.each<[string, boolean, boolean]>([
    ["a.psd", false, true],
    ["deep/in/a.psd", false, true],
    ["test", true, true],
    ["test", false, true],
    ["src/test", true, false],
    ["spec", true, true],
    ["spec", false, false],
    ["src/spec", true, true],
    ["docs/a.md", false, true],
    ["docs/deep/a.md", false, false],
    ["kept.psd", false, true],
    ["a.ps", false, false],
  ])("%s", (path, isDirectory, expected) => expect(isIgnored(path, isDirectory)).toBe(expected));
});

it(".slugignore with many slashes is read in one go", () => {
  expect(parseSlugIgnore(`${"/".repeat(1_000_000)}x`)("x", false)).toBe(true);
});

describe("what a build says", () => {
  it("has headings, details and whole lines", async () => {
    let text = "";
    const output = createBuildOutput((bytes) => void (text += Buffer.from(bytes).toString("utf8")));
    await output.heading("Building");
    await output.detail("one\ntwo");
    const lines = output.indented();
    for (const part of ["a", "b\n\nc", "\nunfinished"]) await lines.write(Buffer.from(part));
    await lines.end();
    await output.raw(Buffer.from("no line feed"));
    await output.warning("wrong");
    expect(text).toBe(
      "-----> Building\n       one\n       two\n       ab\n\n       c\n       unfinished\nno line feed\n !     wrong\n",
    );
  });

  it.each<[number, string]>([
    [0, "0B"],
    [1023, "1023B"],
    [10_240, "10K"],
    [26_843_546, "25.6M"],
    [1_073_741_824, "1G"],
    [131_072_000, "125M"],
  ])("%d bytes are %s", (bytes, text) => expect(formatSize(bytes)).toBe(text));

  it("is a text without escape sequences, wherever they are cut", () => {
    const bytes = Buffer.from("\x1b[1;31mréd\x1b[0m \x1b]0;title\x07x\r\ny\rz \x1b(B!\n");
    for (let cut = 0; cut <= bytes.length; cut++) {
      const terminal = createTerminalText();
      const text = terminal.add(bytes.subarray(0, cut)) + terminal.add(bytes.subarray(cut)) + terminal.end();
      expect(text).toBe("réd x\ny\rz !\n");
    }
  });

  it("keeps colours for who can show them, and none goes on behind it", () => {
    const bytes = Buffer.from("\x1b[1;31mréd\x1b[0m\x1b[2K \x1b]0;title\x07x\x1b[32m\r\ny\n");
    for (let cut = 0; cut <= bytes.length; cut++) {
      const terminal = createTerminalText({ keepsColours: true });
      const text = terminal.add(bytes.subarray(0, cut)) + terminal.add(bytes.subarray(cut)) + terminal.end();
      expect(text).toBe("\x1b[1;31mréd\x1b[0m x\x1b[32m\ny\n\x1b[0m");
    }
  });

  it("holds back no more than a sequence's length", () => {
    const terminal = createTerminalText();
    expect(terminal.add(Buffer.from(`\x1b]${"x".repeat(10_000)}`)).length).toBeGreaterThan(9000);
  });
});

describe("BUILDPACK_URL", () => {
  const sources = createBuildpackSources({
    named: [{ name: "ours/node", directory: "/srv/node" }],
    allowed: ["https://github.com/heroku/*"],
  });

  it("is a name that is known, or an address that is allowed", () => {
    expect(sources.resolve("ours/node")).toMatchObject({ directory: "/srv/node" });
    expect(sources.resolve("https://github.com/heroku/x#v1")).toEqual({
      url: "https://github.com/heroku/x",
      ref: "v1",
    });
    expect(sources.resolve("https://github.com/heroku/x")).toMatchObject({ ref: "HEAD" });
  });

  it.each([
    "https://github.com/evil/x",
    "https://github.com/heroku/x/y",
    "https://github.com/heroku/../evil/x",
    "https://github.com/heroku/%2e%2e/evil",
    "https://github.com@evil.example/heroku/x",
    "https://github.com\\@evil.example/heroku/x",
    "http://github.com/heroku/x",
    "ext::sh -c touch% /tmp/x",
    "--upload-pack=touch",
    "file:///etc",
    "/etc",
    "https://github.com/heroku/x#--upload-pack=x",
    "https://github.com/heroku/x#a:refs/heads/b",
    "https://github.com/heroku/x#a..b",
  ])("is refused: %s", (text) => expect(() => sources.resolve(text)).toThrow(/not allowed here/));
});
