/**
 * Objects that are in the repository and not for this caller: asked for by id, laid hold of by naming them in a push, taken
 * as the base of a delta, put into an archive. Seen wherever "it is in storage" is taken for "you may have it": forks
 * that share objects, hidden refs, wants of any id.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatDeltaEntry, formatEntry } from "../src/pack/pack-writer.js";
import { basicOf, type Doors, gitHeaders, openDoors, overGit, overHttp, overSsh } from "./support/doors.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { pktLine } from "./support/raw-http.js";
import { blobOid, formatCommands, sealPack } from "./support/raw-push.js";

const SECRET = "the secret of refs/heads/hidden\n";

describe("what a hidden ref leads to", () => {
  let workspace: GitClient;
  let doors: Doors;
  let work: GitClient;
  let secretCommit: string;
  const secretBlob = blobOid(SECRET);
  const eve = (): string[] => gitHeaders(basicOf("eve"));
  const url = (): string => `${doors.httpUrl}/app.git`;

  beforeAll(async () => {
    workspace = createWorkspace();
    doors = await openDoors(workspace, {
      policies: [
        { effect: "deny", operations: ["read"], refs: ["refs/heads/hidden"], users: ["eve", "@anonymous"] },
        { effect: "allow" },
      ],
      anonymousRead: [],
    });
    await workspace.run("init", "-q", "work");
    work = workspace.in("work");
    await work.run("commit", "-q", "--allow-empty", "-m", "one");
    const ada = gitHeaders(basicOf("ada"));
    await work.run(...ada, "push", "-q", url(), "main");
    writeFileSync(join(work.directory, "secret"), SECRET);
    await work.run("add", "-A");
    await work.run("commit", "-q", "-m", "secret");
    secretCommit = await work.run("rev-parse", "HEAD");
    await work.run(...ada, "push", "-q", url(), "main:hidden");
  });
  afterAll(async () => {
    await doors.close();
    removeDirectory(workspace);
  });

  const calls = () =>
    [
      ["http", overHttp(doors, basicOf("eve"))],
      ["ssh", overSsh(doors, "eve")],
      ["git", overGit(doors)],
    ] as const;

  it("is not given to who knows its ids, by any version over any transport", async () => {
    for (const oid of [secretCommit, secretBlob]) {
      for (const [transport, call] of calls()) {
        const want = `${pktLine(`want ${oid} ofs-delta\n`)}0000${pktLine("done\n")}`;
        const answer = await call("git-upload-pack", "app", want);
        expect(answer, transport).toContain("not our ref");
        expect(answer).not.toContain("PACK");
      }
      await workspace.run("init", "-q", `asks-${oid}`);
      const asks = workspace.in(`asks-${oid}`);
      for (const version of [0, 1, 2]) {
        const fetched = await asks.try(
          ...eve(),
          "-c",
          `protocol.version=${version}`,
          "fetch",
          "-q",
          url(),
          oid,
        );
        expect(fetched.status).not.toBe(0);
      }
      expect((await asks.try("cat-file", "-e", oid)).status).not.toBe(0);
    }
  });

  it("is not laid hold of by a push that names it", async () => {
    await workspace.run(...eve(), "clone", "-q", url(), "names");
    const names = workspace.in("names");
    const made = await names.tryWith({ input: `100644 blob ${secretBlob}\tsecret\n` }, "mktree", "--missing");
    const commit = await names.run("commit-tree", "-m", "mine", made.stdout.trim());
    const packed = await names.tryWith(
      { input: `${commit}\n${made.stdout.trim()}\n` },
      "pack-objects",
      "-q",
      "p",
    );
    expect(packed.status).toBe(0);
    const pack = readFileSync(join(names.directory, `p-${packed.stdout.trim()}.pack`));
    for (const [transport, call] of calls()) {
      for (const newOid of [commit, secretBlob, secretCommit]) {
        const commands = formatCommands([{ newOid, name: `refs/heads/${transport}` }]);
        const answer = await call("git-receive-pack", "app", Buffer.concat([Buffer.from(commands), pack]));
        expect(answer, transport).not.toContain(`ok refs/heads/${transport}`);
        expect(answer).toMatch(/ng refs\/heads\/\w+ missing necessary objects|unpack .*missing/);
      }
    }
    expect(await workspace.run(...eve(), "ls-remote", url())).not.toMatch(/heads\/(?:http|ssh|git)/);
  });

  it("is no base of a delta that would copy it", async () => {
    const size = Buffer.byteLength(SECRET);
    // "Copy all of the base, and add a character."
    const delta = Buffer.from([size, size + 1, 0x90, size, 1, 0x21]);
    const pack = sealPack(2, formatEntry("blob", Buffer.from("mine\n")), formatDeltaEntry(secretBlob, delta));
    const commands = formatCommands([{ newOid: blobOid(`${SECRET}!`), name: "refs/tags/copied" }]);
    for (const [, call] of calls()) {
      const answer = await call("git-receive-pack", "app", Buffer.concat([Buffer.from(commands), pack]));
      expect(answer).not.toContain("ok refs/tags/copied");
    }
    expect(await workspace.run(...eve(), "ls-remote", url())).not.toContain("copied");
  });

  it("is in no archive", async () => {
    const ssh = doors.sshAs("eve").environment;
    for (const remote of [`ssh://git@127.0.0.1:${doors.sshPort}/app.git`, `${doors.gitUrl}/app.git`]) {
      for (const what of ["hidden", secretCommit, `${secretCommit}:secret`]) {
        const archived = await workspace.tryWith({ env: ssh }, "archive", `--remote=${remote}`, what);
        expect(archived.status).not.toBe(0);
        expect(archived.stdout).not.toContain("the secret");
      }
    }
  });
});
