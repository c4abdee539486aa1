/**
 * Names of repositories that lead out of the served directory, and links inside repositories that do. Seen at Gogs
 * (CVE-2026-52813; CVE-2025-8110: through a symbolic link) and soft-serve (#631). Over HTTP: bad-input-paths.test.ts; here
 * over SSH and git://, and with what stands inside a repository.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { basicOf, type Doors, openDoors, overGit, overHttp, overSsh } from "./support/doors.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { openRequest } from "./support/open-request.js";
import { pktLine, send } from "./support/raw-http.js";
import { pushOfBlob } from "./support/raw-push.js";

/** Each would be `outside/secret.git`, something inside `app.git`, or nothing, to who takes it for a path. */
const NAMES = [
  "../outside/secret.git",
  "/../outside/secret.git",
  "app.git/../../outside/secret.git",
  "./../outside/secret",
  "..",
  ".",
  "..\\outside\\secret.git",
  "%2e%2e/outside/secret.git",
  "..%2foutside%2fsecret.git",
  "\u2025/outside/secret.git",
  "\uff0e\uff0e/outside/secret.git",
  "link.git",
  "link",
  "directory/secret.git",
  "directory/new.git",
  "app.git/hooks",
  "app.git/objects",
  ".gitwharf",
  ".git",
  "-oProxyCommand=id",
  "~root/secret",
  "~/secret",
  "~",
  "C:/outside",
  "a\nb",
  "a b",
];

let workspace: GitClient;
let root: string;
let doors: Doors;
beforeAll(async () => {
  workspace = createWorkspace();
  root = join(workspace.directory, "repositories");
  for (const name of ["repositories/app.git", "outside/secret.git"])
    await workspace.run("init", "-q", "--bare", name);
  symlinkSync("../outside/secret.git", join(root, "link.git"));
  symlinkSync("../outside", join(root, "directory"));
  doors = await openDoors(workspace, {
    repositories: root,
    durability: "none",
    policies: [{ effect: "allow" }],
  });
});
afterAll(async () => {
  await doors.close();
  removeDirectory(workspace);
});

const listOf = (directory: string): readonly string[] =>
  readdirSync(directory, { recursive: true, encoding: "utf8" }).toSorted();

describe("Gogs CVE-2026-52813, soft-serve #631: a path in place of a name", () => {
  let before: readonly unknown[];
  const now = (): readonly unknown[] => [
    listOf(join(workspace.directory, "outside")),
    readdirSync(root).toSorted(),
  ];
  beforeEach(() => {
    before = now();
  });

  it.each(NAMES)("%j over SSH", async (name) => {
    const quoted = `'${name.replaceAll("'", "'\\''")}'`;
    for (const [service, bytes] of [
      ["git-upload-pack", "0000"],
      ["git-receive-pack", pushOfBlob("raw", "raw\n")],
      ["git-upload-archive", "0000"],
    ] as const) {
      const answer = await doors.sshAs("ada").ssh(["git@127.0.0.1", `${service} ${quoted}`], bytes);
      expect(answer).toMatchObject({ status: 1, stdout: "" });
      expect(answer.stderr).not.toContain(workspace.directory);
    }
    expect(now()).toEqual(before);
  });

  it.each(NAMES)("%j over git://", async (name) => {
    for (const path of [name, `/${name}`]) {
      for (const [service, bytes] of [
        ["git-upload-pack", "0000"],
        ["git-receive-pack", pushOfBlob("raw", "raw\n")],
        ["git-upload-archive", "0000"],
      ] as const) {
        const head = pktLine(`${service} ${path}\0host=127.0.0.1\0`);
        const request = await openRequest(
          doors.gitUrl,
          Buffer.concat([Buffer.from(head), Buffer.from(bytes)]),
        );
        request.socket.end();
        const answer = await request.closed;
        expect(answer).toMatch(/^[0-9a-f]{4}ERR /);
        expect(answer).not.toContain(workspace.directory);
      }
    }
    expect(now()).toEqual(before);
  });
});

// Nothing that is pushed makes a link there. Directories that an operator has linked are followed, as by git.
describe("Gogs CVE-2025-8110: a link inside a repository that leads out of it", () => {
  const outside = (): string => join(workspace.directory, "outside-file");
  const repository = (): string => join(root, "linked.git");
  const secretOid = "1234567890123456789012345678901234567890";
  const calls = () => [overHttp(doors, basicOf("ada")), overSsh(doors, "ada"), overGit(doors)];
  const read = () => overGit(doors)("git-upload-pack", "linked", "0000");

  beforeEach(async () => {
    rmSync(repository(), { recursive: true, force: true });
    await workspace.run("init", "-q", "--bare", "repositories/linked.git");
    const pushed = await overSsh(doors, "ada")("git-receive-pack", "linked", pushOfBlob("first", "first\n"));
    expect(pushed).toContain("unpack ok");
    writeFileSync(outside(), `${secretOid}\n`);
  });

  it("is neither read nor written through as a ref", async () => {
    symlinkSync(outside(), join(repository(), "refs/tags/link"));
    expect(await read()).not.toContain(secretOid);
    for (const call of calls()) {
      await call("git-receive-pack", "linked", pushOfBlob("link", "new\n"));
      expect(readFileSync(outside(), "utf8")).toBe(`${secretOid}\n`);
    }
    const answer = await send(`${doors.httpUrl}/linked.git/refs/tags/link`, { headers: basicOf("ada") });
    expect(answer.body.toString()).not.toContain(secretOid);
  });

  it("gives out no file as an object or a pack", async () => {
    const objects = join(repository(), "objects/ab");
    mkdirSync(objects, { recursive: true });
    const name = "c".repeat(38);
    symlinkSync(outside(), join(objects, name));
    const { status, body } = await send(`${doors.httpUrl}/linked.git/objects/ab/${name}`, {
      headers: basicOf("ada"),
    });
    expect(status).not.toBe(200);
    expect(body.toString()).not.toContain(secretOid);
  });

  it("runs no hook, and reads no configuration, that a push could bring", async () => {
    const ran = join(workspace.directory, "ran");
    writeFileSync(join(repository(), "hooks/pre-receive"), `#!/bin/sh\ntouch '${ran}'\n`, { mode: 0o755 });
    for (const [key, value] of [
      ["core.fsmonitor", `touch ${ran}`],
      ["core.sshCommand", `touch ${ran}`],
      ["core.hooksPath", repository()],
      ["uploadpack.packObjectsHook", `touch ${ran}`],
      ["include.path", outside()],
    ] as const)
      await workspace.run("config", "-f", join(repository(), "config"), key, value);
    for (const [i, call] of calls().entries()) {
      expect(await call("git-receive-pack", "linked", pushOfBlob(`new-${i}`, "new\n"))).toContain(
        "unpack ok",
      );
    }
    expect(await read()).toContain("refs/tags/new-2");
    expect(existsSync(ran)).toBe(false);
  });
});
