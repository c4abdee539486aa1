/** A value in a repository's config that is none: only what asks for it is hindered, and the person reads which it is. */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { send } from "./support/raw-http.js";
import { pushOfBlob, RECEIVE_PACK_TYPE } from "./support/raw-push.js";

const PROGRAM = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));

let workspace: GitClient;
let app: GitClient;
let served: GitClient;
let server: TestServer;
let url: string;

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  await workspace.run("clone", "-q", "--bare", "app", "served/app.git");
  served = workspace.in("served/app.git");
  await app.run("commit", "-q", "--allow-empty", "-m", "two");
  server = await createTestServer({ repositories: `${workspace.directory}/served`, log: () => undefined });
  url = server.urlOf("app");
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

async function withSetting(key: string, value: string, act: () => Promise<void>): Promise<void> {
  await served.run("config", key, value);
  try {
    await act();
  } finally {
    await served.run("config", "--unset", key);
  }
}

const OF_PUSHES = [
  ["receive.fsck.missingEmail", "loud"],
  ["receive.fsck.skipList", "not/there"],
  ["receive.denyDeletes", "perhaps"],
  ["receive.denyCurrentBranch", "perhaps"],
  ["receive.keepAlive", "often"],
  ["receive.maxInputSize", "10q"],
  ["transfer.fsckObjects", "2x"],
] as const;
const OF_FETCHES = [
  ["uploadpack.allowFilter", "perhaps"],
  ["uploadpack.keepAlive", "often"],
  ["uploadpackfilter.allow", "perhaps"],
  ["lsrefs.unborn", "perhaps"],
] as const;

const named = (key: string, value: string): string => `${key.toLowerCase()} is '${value}', which `;

describe("a bad value of what only pushes ask for", () => {
  it.each(OF_PUSHES)("%s = %s", (key, value) =>
    withSetting(key, value, async () => {
      // git itself reads on in spite of it.
      expect(await app.try("ls-remote", served.directory)).toMatchObject({ status: 0 });
      for (const version of ["0", "2"]) {
        const fetched = await app.try("-c", `protocol.version=${version}`, "fetch", url, "main");
        expect(fetched).toMatchObject({ status: 0 });
      }
      const pushed = await app.try("push", url, "main:main");
      expect(pushed.status).not.toBe(0);
      expect(pushed.stderr).toContain(
        `remote: the repository's configuration is wrong: ${named(key, value)}`,
      );
      expect(pushed.stderr).not.toContain(workspace.directory);
      const body = pushOfBlob("a", "a", "report-status side-band-64k");
      const raw = await send(`${url}/git-receive-pack`, {
        body,
        headers: { "Content-Type": RECEIVE_PACK_TYPE },
      });
      expect(raw.body.toString("latin1")).toContain(named(key, value));
      expect(await served.run("for-each-ref", "--format=%(refname)")).toBe("refs/heads/main");
      expect(readdirSync(`${served.directory}/objects`).filter((name) => /incoming|tmp/.test(name))).toEqual(
        [],
      );
    }),
  );

  it("is told by the command as well", () =>
    withSetting("receive.denyDeletes", "perhaps", async () => {
      const pushed = spawnSync(process.execPath, [PROGRAM, "receive-pack", served.directory], {
        encoding: "utf8",
      });
      expect(pushed.status).toBe(1);
      expect(pushed.stderr).toContain(named("receive.denyDeletes", "perhaps"));
      const fetched = spawnSync(process.execPath, [
        PROGRAM,
        "upload-pack",
        "--advertise-refs",
        served.directory,
      ]);
      expect(fetched.status).toBe(0);
      expect(String(fetched.stdout)).toContain("refs/heads/main");
    }));
});

it.each([
  ["extensions.somethingNew", "true", "extensions.somethingnew is not known"],
  ["extensions.refStorage", "sqlite", "extensions.refStorage 'sqlite' is not known"],
])("a format that is not known is named: %s = %s", async (key, value, why) => {
  const config = (...args: readonly string[]) =>
    workspace.run("config", "--file", `${served.directory}/config`, ...args);
  await config("core.repositoryFormatVersion", "1");
  await config(key, value);
  try {
    const { stderr } = await app.try("ls-remote", url);
    expect(stderr).toContain(`remote: the repository's configuration is wrong: ${why}; ask its operator`);
    expect(stderr).not.toContain(workspace.directory);
  } finally {
    await config("--unset", key);
    await config("core.repositoryFormatVersion", "0");
  }
});

it("a severity of a message that does not exist is skipped, whatever it is", () =>
  withSetting("receive.fsck.noSuchThing", "loud", async () => {
    const pushed = await app.try("push", url, "main:skipped");
    expect(pushed.stderr).toContain("remote: warning: skipping unknown msg id 'nosuchthing'");
    expect(pushed.status).toBe(0);
    await app.run("push", "-q", url, ":skipped");
  }));

describe("a bad value of what only fetches ask for", () => {
  it.each(OF_FETCHES)("%s = %s", (key, value) =>
    withSetting(key, value, async () => {
      expect((await app.try("push", url, "main:topic")).stderr).toContain("[new branch]");
      expect((await app.try("push", url, ":topic")).stderr).toContain("[deleted]");
      const tried = [
        await app.try("-c", "protocol.version=0", "fetch", url, "main"),
        await app.try("-c", "protocol.version=2", "ls-remote", url),
        await workspace.try("clone", "-q", "--bare", "--filter=blob:none", url, `${key}.git`),
      ].filter(({ status }) => status !== 0);
      expect(tried.length).toBeGreaterThan(0);
      for (const { stderr } of tried) expect(stderr).toContain(named(key, value));
    }),
  );
});
