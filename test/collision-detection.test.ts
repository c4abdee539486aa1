/**
 * Pushes of objects with half of a SHA-1 collision in them, by the real client to the real commands. No such Git object
 * is known: an object's header stands before its content, and the only attacks that are public were computed without
 * one. So the commands run from a copy of the build in which one module is another: its detector is the shipped one,
 * and looks at the content a second time, without the header. That reaches worker threads too.
 */
import { randomBytes } from "node:crypto";
import { cpSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SHATTERED_PREFIX } from "../src/object/shattered.test.support.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type ServeProcess, startServeOf } from "./support/serve-process.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

const LOOKS_TWICE = `
import * as original from "./collision-detection-as-shipped.js";
import { looksTwice } from "./looks-twice.test.support.js";
export const createCollisionDetector = () => looksTwice(original.createCollisionDetector());
`;

describe("a push of an object made by a SHA-1 collision attack", () => {
  let workspace: GitClient;
  let app: GitClient;
  let cli: string;
  let detecting: ServeProcess;
  let trusting: ServeProcess;

  beforeAll(async () => {
    workspace = createWorkspace();
    const build = join(workspace.directory, "build");
    cpSync(join(ROOT, "dist/src"), join(build, "dist/src"), { recursive: true });
    cpSync(join(ROOT, "package.json"), join(build, "package.json"));
    symlinkSync(join(ROOT, "node_modules"), join(build, "node_modules"));
    const module = join(build, "dist/src/object/collision-detection");
    renameSync(`${module}.js`, `${module}-as-shipped.js`);
    writeFileSync(`${module}.js`, LOOKS_TWICE);
    cli = join(build, "dist/src/cli/gitwharf.js");
    [detecting, trusting] = await Promise.all([
      startServeOf(cli, join(workspace.directory, "one")),
      startServeOf(cli, join(workspace.directory, "two"), "--no-collision-detection"),
    ]);
    await workspace.run("init", "-q", "app");
    app = workspace.in("app");
    // With so much beside them, packs are worked on by worker threads.
    writeFileSync(join(app.directory, "much"), randomBytes(2_000_000));
    await app.run("add", "much");
    await app.run("commit", "-q", "-m", "honest");
    await app.run("branch", "honest");
  });
  afterAll(async () => {
    await Promise.all([detecting.end("SIGTERM"), trusting.end("SIGTERM")]);
    removeDirectory(workspace);
  });

  const rest = Buffer.alloc(5_000_000, "and so on, ");
  it.each<[string, Buffer, readonly string[]]>([
    ["small", SHATTERED_PREFIX as Buffer, ["honest"]],
    ["in a large pack", SHATTERED_PREFIX as Buffer, []],
    ["large itself, in a large pack", Buffer.concat([SHATTERED_PREFIX, rest]), []],
    ["large itself, in a small pack", Buffer.concat([SHATTERED_PREFIX, rest]), ["honest"]],
  ])("is refused, says which object, and leaves nothing: %s", async (name, content, before) => {
    const branch = name.replaceAll(/[ ,]+/g, "-");
    await app.run("checkout", "-q", "-B", branch, "honest");
    writeFileSync(join(app.directory, "attack.pdf"), content);
    await app.run("add", "attack.pdf");
    await app.run("commit", "-q", "-m", "attack");
    const blob = await app.run("rev-parse", "HEAD:attack.pdf");

    const url = `${detecting.url}/${branch}.git`;
    if (before.length > 0) await app.run("push", "-q", url, ...before);
    // A repository that its first push would have made is not there before, nor after.
    const list = (): Promise<string> => app.run("ls-remote", url).catch(() => "");
    const listed = await list();
    const refused = await app.try("push", url, branch);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain(`object ${blob} of the pack shows signs of a SHA-1 collision attack`);
    expect(await list()).toBe(listed);
    await app.run("push", "-q", url, "honest:refs/heads/later");

    await app.run("push", "-q", `${trusting.url}/${branch}.git`, branch);
  });

  it("is refused over standard input and output as well, unless told otherwise", async () => {
    await app.run("checkout", "-q", "-B", "stdio", "honest");
    writeFileSync(join(app.directory, "attack.pdf"), SHATTERED_PREFIX);
    await app.run("add", "attack.pdf");
    await app.run("commit", "-q", "-m", "attack");
    await workspace.run("init", "-q", "--bare", "stdio.git");
    const target = join(workspace.directory, "stdio.git");
    const push = (options: string): ReturnType<GitClient["try"]> =>
      app.try("push", `--receive-pack=${process.execPath} ${cli} receive-pack${options}`, target, "stdio");
    const refused = await push("");
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("shows signs of a SHA-1 collision attack");
    expect(await push(" --no-collision-detection")).toMatchObject({ status: 0 });
  });
});
