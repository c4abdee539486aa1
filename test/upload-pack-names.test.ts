/**
 * Files of every mode and names that are hard to spell, of files and of refs: out of a clone as they went in, from disk
 * and after a push to memory.
 */
import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { commitHead, data, importRepository } from "./support/fast-import.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let disk: TestServer;
let memory: TestServer;

beforeEach(async () => {
  workspace = createWorkspace();
  disk = await createTestServer({ repositories: workspace.directory, durability: "none" });
  memory = await createTestServer();
});
afterEach(async () => {
  await disk.close();
  await memory.close();
  removeDirectory(workspace);
});

describe("modes and names", () => {
  const NAMES = [
    "space in name",
    "quote\"d'",
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "umlaut-äöü",
    "umlaut-a\u0308",
    "emoji-🐳",
    "-dash",
    "~tilde",
    "x".repeat(250),
    `${"deep/".repeat(60)}end`,
    "a",
    "a.b",
    "a-b",
    "a/b".replace("a", "a0"),
    "0",
    "COM1",
  ];

  it("come out as they went in, and out of a push to memory", async () => {
    const quote = (name: string): string =>
      `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
    const files = NAMES.map((name) => `M 100644 inline ${quote(name)}\n${data(name)}`);
    const app = await importRepository(
      workspace,
      "app",
      [
        commitHead("refs/heads/main", 0, "odd"),
        ...files,
        `M 100755 inline bin/run\n${data("#!/bin/sh\n")}`,
        `M 120000 inline bin/link\n${data("../a")}`,
        `M 120000 inline bin/dangling\n${data("/nowhere/at all")}`,
        `M 160000 ${"5".repeat(40)} module\n`,
        `M 100644 inline empty\n${data("")}`,
      ].join(""),
    );
    // A mode that old programs wrote: group-writable.
    const tree = await app.run("rev-parse", "main^{tree}");
    const blob = await app.run("rev-parse", "main:a");
    const made = await app.tryWith(
      {
        input: Buffer.concat([
          Buffer.from("100664 old\0", "latin1"),
          Buffer.from(blob, "hex"),
          Buffer.from("40000 sub\0", "latin1"),
          Buffer.from(tree, "hex"),
        ]),
      },
      "hash-object",
      "-t",
      "tree",
      "-w",
      "--stdin",
      "--literally",
    );
    const older = await app.run("commit-tree", "-m", "old modes", "-p", "main", made.stdout.trim());
    await app.run("update-ref", "refs/heads/old-modes", older);
    await app.run("push", "-q", "--mirror", memory.urlOf("app"));
    for (const [name, url] of [
      ["disk", disk.urlOf("app")],
      ["memory", memory.urlOf("app")],
    ] as const) {
      for (const version of [0, 2]) {
        const directory = `${name}-${version}`;
        await workspace.run("-c", `protocol.version=${version}`, "clone", "-q", url, directory);
        const copy = workspace.in(directory);
        expect(await copy.run("ls-tree", "-rz", "main")).toBe(await app.run("ls-tree", "-rz", "main"));
        expect(await copy.run("status", "--porcelain")).toBe("");
        expect(await copy.run("rev-parse", "origin/old-modes^{tree}")).toBe(made.stdout.trim());
        expect(readlinkSync(join(copy.directory, "bin", "link"))).toBe("../a");
        await copy.run("fsck");
      }
    }
  });

  it("stand in names of refs too", async () => {
    const refs = [
      "refs/heads/ümlaut",
      "refs/heads/a/b/c",
      "refs/tags/1.0-β",
      "refs/heads/x'y\"z",
      "refs/notes/@x",
    ];
    const app = await importRepository(
      workspace,
      "app",
      refs.map((ref, i) => `${commitHead(ref, i, ref)}M 100644 inline f\n${data(ref)}`).join(""),
    );
    await app.run("push", "-q", "--mirror", memory.urlOf("app"));
    const expected = await app.run("for-each-ref", "--format=%(objectname)%09%(refname)");
    for (const url of [disk.urlOf("app"), memory.urlOf("app")]) {
      for (const version of [0, 2]) {
        expect(await workspace.run("-c", `protocol.version=${version}`, "ls-remote", url)).toBe(expected);
      }
    }
    await workspace.run("clone", "-q", "-b", "ümlaut", disk.urlOf("app"), "copy");
  });
});
