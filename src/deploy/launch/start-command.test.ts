import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { releaseOf } from "./launch.test.support.js";
import { environmentOf, startCommand } from "./start-command.js";

describe("starting a process", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "gitwharf-start-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const run = (command: string): string =>
    spawnSync("/bin/sh", ["-c", startCommand(command)], { cwd: directory, encoding: "utf8" }).stdout;

  it("reads what buildpacks have left", () => {
    mkdirSync(join(directory, ".profile.d"));
    writeFileSync(join(directory, ".profile.d", "node.sh"), "export FOUND=node\n");
    writeFileSync(join(directory, ".profile.d", "notes.txt"), "export FOUND=notes\n");
    writeFileSync(join(directory, ".profile"), 'export FOUND="$FOUND, profile"\n');
    expect(run('echo "$FOUND"')).toBe("node, profile\n");
  });

  it("does without, and without scripts in the directory", () => {
    expect(run("echo a && echo b")).toBe("a\nb\n");
    mkdirSync(join(directory, ".profile.d"));
    expect(run("echo a; echo b")).toBe("a\nb\n");
  });

  it("lets a single program take the shell's place, so that it is told to end", () => {
    const isExec = (command: string): boolean => startCommand(command).endsWith(`exec ${command}`);
    for (const command of [
      "node server.js",
      "./bin/web -p $PORT",
      "python3 -m http.server > log",
      "node 'a b.js'",
    ])
      expect(isExec(command), command).toBe(true);
    for (const command of [
      "cd src && node .",
      "A=1 node .",
      "exit 3",
      "node a; node b",
      "a | b",
      ". ./x",
      "$CMD",
      "(node .)",
      "",
    ])
      expect(isExec(command), command).toBe(false);
    expect(run("exit 3; echo no")).toBe("");
    expect(run("echo one")).toBe("one\n");
  });

  it("lets no configuration change where it listens or who it is", () => {
    const release = releaseOf({
      slugPath: "",
      processTypes: {},
      number: 12,
      config: { PORT: "22", DYNO: "root", GITWHARF_APP: "other", GREETING: "hello", PATH: "/opt/bin" },
    });
    const environment = environmentOf({
      release,
      name: "web.1",
      directory,
      port: 4000,
      base: { PATH: "/bin", LANG: "C" },
    });
    expect(environment).toEqual({
      PATH: "/opt/bin",
      LANG: "C",
      HOME: directory,
      GREETING: "hello",
      PORT: "4000",
      PS: "web.1",
      DYNO: "web.1",
      GITWHARF_APP: "shop",
      GITWHARF_RELEASE: "v12",
      GITWHARF_COMMIT: release.commit,
    });
  });
});
