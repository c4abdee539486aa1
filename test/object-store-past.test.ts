/** What repositories were, under names of their own (`past`): with the real git, by each way in, for who may read the repository. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AuthorizationRequest } from "../src/engine/authorization.js";
import { createGitServer } from "../src/server/git-server.js";
import { type ObjectStorage, openObjectStorage } from "../src/server/object-storage.js";
import type { LfsRequest } from "../src/transport/ssh/lfs-authenticate.js";
import { basicOf, type Doors, gitHeaders, openDoors, type Person } from "./support/doors.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { embeddedStorages } from "./support/object-storages.js";

let client: GitClient;
let tree: GitClient;
let store: ObjectStorage;
let doors: Doors;
const asked: LfsRequest[] = [];
/** Of three generations of team/app. */
const tips: string[] = [];
let history: Awaited<ReturnType<ObjectStorage["history"]>>;

beforeAll(async () => {
  client = createWorkspace();
  store = await openObjectStorage({ ...(await embeddedStorages().open(client.directory)), witnesses: false });
  doors = await openDoors(client, {
    repositories: store,
    past: true,
    api: true,
    policies: [
      { effect: "deny", users: ["eve"], operations: ["read"], refs: ["refs/heads/secret"] },
      { effect: "allow", users: ["ada"] },
      { effect: "allow", users: ["eve"], operations: ["read"] },
    ],
    sshServer: {
      lfsAuthenticate: (request) => {
        asked.push(request);
        return { href: "https://lfs.example.org/" };
      },
    },
  });
  await client.run("init", "-q", "tree");
  tree = client.in("tree");
  for (const [i, refs] of [["main"], ["main", "main:secret"], ["main"]].entries()) {
    await writeFile(join(tree.directory, "file"), `${i}\n`);
    await tree.run("add", ".");
    await tree.run("commit", "-q", "-m", `${i}`);
    tips.push(await tree.run("rev-parse", "main"));
    await tree.run(...as("ada"), "push", "-q", `${doors.httpUrl}/team/app.git`, ...refs);
  }
  history = await store.history("team/app");
});
afterAll(async () => {
  await doors.close();
  await store.close();
  removeDirectory(client);
});

const as = (person: Person): readonly string[] => gitHeaders(person === "stranger" ? {} : basicOf(person));
const list = (person: Person, name: string): Promise<GitResult> =>
  client.try(...as(person), "ls-remote", `${doors.httpUrl}/${name}.git`);
const timeOf = (generation: number): string =>
  new Date(history.find((one) => one.generation === generation)?.timeMs ?? 0).toISOString();

it("is cloned by number and by time, in each version of the protocol", async () => {
  for (const version of ["0", "2"]) {
    const copy = `copy-${version}.git`;
    const url = `${doors.httpUrl}/team/app@{1}.git`;
    await client.run(...as("ada"), "-c", `protocol.version=${version}`, "clone", "-q", "--bare", url, copy);
    expect(await client.in(copy).run("for-each-ref", "--format=%(refname) %(objectname)")).toBe(
      `refs/heads/main ${tips[0]}`,
    );
    await client.in(copy).run("fsck", "--strict");
  }
  // The next generation may be of the same millisecond: of a time the last one counts.
  const at = timeOf(3);
  expect((await list("ada", `team/app@{${at}}`)).stdout).toContain(`${tips[2]}\trefs/heads/main`);
  expect((await list("ada", "team/app@{2}")).stdout).toContain(`${tips[1]}\trefs/heads/secret`);
  // What is asked for there is looked for there, and what came later is not found.
  const late = await client
    .in("copy-2.git")
    .try(...as("ada"), "fetch", "-q", `${doors.httpUrl}/team/app@{1}.git`, tips[2] ?? "");
  expect(late).toMatchObject({ stderr: expect.stringContaining("not our ref") });
});

it("is had over SSH and git://, and as an archive", async () => {
  const env = doors.sshAs("ada").environment;
  const ssh = `ssh://git@127.0.0.1:${doors.sshPort}/team/app@{1}.git`;
  expect((await client.tryWith({ env }, "ls-remote", ssh)).stdout).toContain(`${tips[0]}\trefs/heads/main`);
  const archived = await client.tryWith({ env }, "archive", `--remote=${ssh}`, "main");
  expect([archived.status, archived.stdout]).toEqual([0, expect.stringContaining("\x000\n")]);
  const open = createGitServer({
    repositories: store,
    past: true,
    gitDaemon: { exportAll: true },
    log: () => undefined,
  });
  try {
    const { git } = await open.listen({ http: 0, git: 0 });
    expect(await client.run("ls-remote", `${git?.url}/team/app@{1}.git`)).toContain(tips[0]);
  } finally {
    await open.close({ graceMs: 0 });
  }
});

it("is had at the API's address of the repository", async () => {
  const id = (await (
    await fetch(`${doors.httpUrl}/repositories/team%2Fapp`, { headers: basicOf("ada") })
  ).json()) as {
    id: string;
  };
  expect((await list("ada", `repositories/${id.id}@{1}`)).stdout).toContain(`${tips[0]}\trefs/heads/main`);
});

it("is for whom the repository is, with the refs that they may see", async () => {
  expect((await list("eve", "team/app")).stdout).not.toContain("secret");
  const { status, stdout } = await list("eve", "team/app@{2}");
  expect([status, stdout]).toEqual([0, `${tips[1]}\tHEAD\n${tips[1]}\trefs/heads/main\n`]);
  for (const name of ["team/app", "team/app@{1}", "team/other@{1}"])
    expect((await list("stranger", name)).stderr, name).toMatch(
      /could not read Username|Authentication failed/,
    );
});

it("cannot be pushed to, or made", async () => {
  for (const url of [
    `${doors.httpUrl}/team/app@{1}.git`,
    `ssh://git@127.0.0.1:${doors.sshPort}/team/app@{1}.git`,
  ]) {
    const { environment: env } = doors.sshAs("ada");
    const { status, stderr } = await tree.tryWith({ env }, ...as("ada"), "push", url, "main:refs/heads/new");
    expect(status).not.toBe(0);
    expect(stderr).toMatch(/can be read only|403/);
  }
  const made = await tree.try(...as("ada"), "push", `${doors.httpUrl}/team/new@{1}.git`, "main");
  expect(made.status).not.toBe(0);
  expect(await store.open("team/new")).toBeUndefined();
  expect(await store.history("team/app")).toEqual(history);
});

it("has the repository's large files, to be read", async () => {
  const call = (operation: string) =>
    doors.sshAs("ada").ssh(["git@127.0.0.1", `git-lfs-authenticate 'team/app@{1}.git' ${operation}`]);
  expect(await call("upload")).toMatchObject({ status: 1, stderr: expect.stringContaining("read only") });
  expect(asked).toEqual([]);
  expect((await call("download")).status).toBe(0);
  expect(asked).toMatchObject([{ repository: "team/app", operation: "download" }]);
});

it.each([
  ["team/app@{9}", 404, "does not exist, or is kept no more"],
  ["team/app@{2001-01-01}", 404, "does not exist, or is kept no more"],
  ["team/no@{1}", 404, "does not exist, or is kept no more"],
  ["team/app@{yesterday}", 404, "no point in time"],
])("says what is wrong with %s", async (name, status, text) => {
  const answer = await fetch(`${doors.httpUrl}/${name}.git/info/refs?service=git-upload-pack`, {
    headers: basicOf("ada"),
  });
  expect([answer.status, await answer.text()]).toEqual([status, expect.stringContaining(text)]);
});

describe("the option", () => {
  it("tells `authorize` the repository and the point in time", async () => {
    const requests: AuthorizationRequest[] = [];
    const server = createGitServer({
      repositories: store,
      past: true,
      log: () => undefined,
      resolveRepository: (name) => (name === "public" ? "team/app" : undefined),
      authorize(request) {
        requests.push(request);
        return request.at === undefined
          ? { allowed: true }
          : { allowed: false, reason: "what was is for nobody" };
      },
    });
    try {
      const { url } = (await server.listen({ http: 0 })).http;
      await client.run("ls-remote", `${url}/public.git`);
      const { stderr } = await client.try("ls-remote", `${url}/public@{1}.git`);
      expect(stderr).toContain("what was is for nobody");
      expect(requests.at(-1)).toMatchObject({
        repository: "team/app",
        operation: "fetch",
        at: { generation: 1 },
      });
    } finally {
      await server.close({ graceMs: 0 });
    }
  });

  it("is off unless it is asked for", async () => {
    const server = createGitServer({ repositories: store, log: () => undefined });
    try {
      const { url } = (await server.listen({ http: 0 })).http;
      expect((await client.try("ls-remote", `${url}/team/app@{1}.git`)).status).not.toBe(0);
    } finally {
      await server.close({ graceMs: 0 });
    }
  });

  it("is refused where nothing is kept of what was", () => {
    for (const repositories of [client.directory, store.asOf(Date.now())])
      expect(() => createGitServer({ repositories, past: true })).toThrow(
        expect.objectContaining({ code: "server/bad-configuration" }),
      );
    expect(() =>
      createGitServer({ repositories: store, past: "yes" as unknown as boolean, log: () => undefined }),
    ).toThrow(expect.objectContaining({ code: "server/bad-configuration" }));
  });
});
