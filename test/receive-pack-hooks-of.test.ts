/** `gitwharf receive-pack --hooks-of`: a server's handlers and scripts for pushes over standard input and output. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { CLI } from "./support/run-gitwharf.js";

let workspace: GitClient;
let app: GitClient;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "first");
  for (const name of ["app", "team/app"]) await workspace.run("init", "-q", "--bare", `served/${name}.git`);
  mkdirSync(`${workspace.directory}/tmp`);
});
afterEach(() => removeDirectory(workspace));

function push(name: string, configuration: string, ...refspecs: readonly string[]): Promise<GitResult> {
  const file = `${workspace.directory}/config.mjs`;
  writeFileSync(file, `export default { ${configuration} };\n`);
  return app.tryWith(
    { env: { TMPDIR: `${workspace.directory}/tmp` } },
    "push",
    `--receive-pack=${process.execPath} ${CLI} receive-pack --hooks-of ${file}`,
    `${workspace.directory}/served/${name}.git`,
    ...refspecs,
  );
}
const said = ({ stderr }: GitResult): readonly string[] =>
  [...stderr.matchAll(/^remote: (.*?) *$/gm)].map(([, text = ""]) => text);
const refs = (name: string): Promise<string> =>
  workspace.in(`served/${name}.git`).run("for-each-ref", "--format=%(refname)");

describe("gitwharf receive-pack --hooks-of", () => {
  it("runs handlers and scripts under the name that the server has for a repository", async () => {
    const configuration = `
      repositories: ${JSON.stringify(`${workspace.directory}/served`)},
      authorize: () => false,
      handlers: {
        preReceive: (push) => push.print("handler " + push.transport + " " + push.repository.name + "\\n"),
        update: (_push, { shortName }) => shortName === "no" ? "not this one" : undefined,
        postReceive: (push, updates) => push.print("after " + updates.map(({ shortName }) => shortName) + "\\n"),
      },
      hooks: [
        { preReceive: "#!/bin/sh\\necho script $GITWHARF_TRANSPORT $GITWHARF_REPOSITORY" },
        { repositories: ["team/*"], preReceive: "#!/bin/sh\\necho team" },
      ]`;
    const team = await push("team/app", configuration, "main:yes", "main:no");
    expect(said(team)).toEqual(["handler stdio team/app", "script stdio team/app", "team", "after yes"]);
    expect([team.status, team.stderr]).toEqual([1, expect.stringContaining("main -> no (not this one)")]);
    expect(await refs("team/app")).toBe("refs/heads/yes");
    expect(said(await push("app", configuration, "main"))).toEqual([
      "handler stdio app",
      "script stdio app",
      "after main",
    ]);
    expect(readdirSync(`${workspace.directory}/tmp`)).toEqual([]);
  });

  it("asks hooks over HTTP, too: nobody answers at this one", async () => {
    const hook =
      '{ url: "http://127.0.0.1:1/", secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", insecure: true, allowAddresses: ["127.0.0.1"], retries: 0 }';
    const { status, stderr } = await push("app", `httpHooks: ${hook}`, "main");
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining("(the server could not ask whether you may push"),
    ]);
    expect(await refs("app")).toBe("");
  });

  it("ends what takes too long", async () => {
    const slow = await push(
      "app",
      `handlerTimeoutMs: 300, handlers: { update: () => new Promise(() => {}) }`,
      "main",
    );
    expect(slow.stderr).toContain("(the update handler took longer than 0.3 seconds)");
    expect([slow.status, await refs("app")]).toEqual([1, ""]);
  });

  it.each([
    ["handlers: { preRecieve: () => 'no' }", "preRecieve"],
    ["hooks: { preReceive: '/none/at/all' }", "names a program that cannot be run"],
    ["hoks: {}", "there is no option 'hoks'"],
  ])("takes no push with a configuration that is wrong: %s", async (configuration, why) => {
    const { status, stderr } = await push("app", configuration, "main");
    expect([status, stderr]).toEqual([128, expect.stringContaining(why)]);
    expect(await refs("app")).toBe("");
  });
});
