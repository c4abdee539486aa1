/**
 * Whether a private repository exists is nobody's business: who may not read it gets, over every transport, the answer
 * that he would get if it were not there, and no repository is looked for to give it.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import type { RepositoryStore } from "../src/storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { openRequest } from "./support/open-request.js";
import { pktLine, send } from "./support/raw-http.js";
import { blobOid, pushOfBlob, RECEIVE_PACK_TYPE, UPLOAD_PACK_TYPE } from "./support/raw-push.js";
import { createSshClient, type SshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

let workspace: GitClient;
let app: GitClient;
let store: RepositoryStore;
let server: GitServer;
let listening: Listening;
let eve: SshClient;
let blob: string;
/** Names that the store was asked for. */
let touched: string[] = [];

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  blob = (await app.tryWith({ input: "secret\n" }, "hash-object", "-w", "--stdin")).stdout.trim();
  await app.run("tag", "secret", blob);
  const plain = createDiskRepositoryStore({
    directory: join(workspace.directory, "served"),
    durability: "none",
  });
  store = new Proxy(plain, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (typeof args[0] === "string") touched.push(args[0]);
        return Reflect.apply(value as (...all: unknown[]) => unknown, target, args);
      };
    },
  });
  server = createGitServer({
    repositories: store,
    autoCreate: "push",
    gitDaemon: { exportAll: true, receivePack: true },
    log: () => undefined,
    authenticate: (credentials) => {
      if (credentials.kind === "basic")
        return credentials.password === "x" ? { user: credentials.user } : undefined;
      return { user: "eve" };
    },
    sshServer: { lfsAuthenticate: () => ({ href: "https://lfs.example.org" }) },
    // Eve has a place of her own, so that she is somebody; owner has all.
    policies: [
      { effect: "allow", users: ["owner"] },
      { effect: "allow", users: ["eve"], repositories: ["eve/**"] },
      { effect: "allow", repositories: ["public/**"], operations: ["read"] },
    ],
  });
  listening = await server.listen({ http: 0, ssh: 0, git: 0 });
  const owner = listening.http.url.replace("://", "://owner:x@");
  await app.run("push", "-q", `${owner}/team/private.git`, "main", "secret");
  const port = listening.ssh?.port ?? 0;
  eve = createSshClient({
    directory: workspace.directory,
    port,
    keys: [makeSshKey(workspace.directory, "eve").path],
  });
});
afterAll(async () => {
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});

/** What is there, what is not, another spelling of what is there, a neighbour and what cannot be. */
const NAMES = [
  "team/private",
  "team/missing",
  "team/Private",
  "TEAM/PRIVATE",
  "team/private/x",
  "none",
] as const;

/** With the name taken out, they are all the same. */
async function sameFor(ask: (name: string) => Promise<string>): Promise<string> {
  touched = [];
  const answers: string[] = [];
  for (const name of NAMES) answers.push((await ask(name)).replaceAll(name, "NAME"));
  expect(new Set(answers).size, answers.join("\n---\n")).toBe(1);
  // Nothing on disk was asked: what takes no look takes no time either.
  expect(touched).toEqual([]);
  return answers[0] ?? "";
}

const shown = ({ status, stdout, stderr }: GitResult): string => `${status}\n${stdout}\n${stderr}`;

describe("over HTTP", () => {
  const WHO = { eve: { Authorization: `Basic ${Buffer.from("eve:x").toString("base64")}` }, nobody: {} };
  const oid = "a".repeat(40);
  const REQUESTS: Record<
    string,
    { readonly path: string; readonly type?: string; readonly body?: () => Buffer | string }
  > = {
    "discovery of a fetch": { path: "/info/refs?service=git-upload-pack" },
    "discovery of a push": { path: "/info/refs?service=git-receive-pack" },
    "dumb refs": { path: "/info/refs" },
    HEAD: { path: "/HEAD" },
    "the list of packs": { path: "/objects/info/packs" },
    alternates: { path: "/objects/info/alternates" },
    "a loose object": { path: `/objects/${blobOid("secret\n").replace(/^../, "$&/")}` },
    "a pack": { path: `/objects/pack/pack-${oid}.pack` },
    "a raw fetch": {
      path: "/git-upload-pack",
      type: UPLOAD_PACK_TYPE,
      body: () => `${pktLine(`want ${blob}`)}00000009done\n`,
    },
    "a raw push": { path: "/git-receive-pack", type: RECEIVE_PACK_TYPE, body: () => pushOfBlob("x", "x") },
  };

  it.each(Object.entries(WHO))("%s learns nothing by any request", async (who, credentials) => {
    for (const [what, { path, type, body }] of Object.entries(REQUESTS)) {
      const answer = await sameFor(async (name) => {
        const {
          status,
          headers,
          body: text,
        } = await send(`${listening.http.url}/${name}.git${path}`, {
          headers: {
            ...credentials,
            ...(type === undefined ? {} : { "Content-Type": type, "Git-Protocol": "version=2" }),
          },
          ...(body === undefined ? {} : { body: body() }),
        });
        const told = JSON.stringify({ ...headers, date: "", "x-request-id": "", "content-length": "" });
        return `${status} ${told} ${text.toString()}`;
      });
      expect([what, answer.slice(0, 4)]).toEqual([what, who === "nobody" ? "401 " : "404 "]);
      expect(answer).not.toContain("location");
    }
  });

  it("with a name that lacks .git or has a slash too many, it is no other", async () => {
    for (const form of [
      "/NAME/info/refs?service=git-upload-pack",
      "//NAME.git/info/refs?service=git-upload-pack",
    ]) {
      await sameFor(async (name) => {
        const { status, headers, body } = await send(listening.http.url, {
          path: form.replace("NAME", name),
          headers: WHO.eve,
        });
        return `${status} ${headers.location} ${body.toString()}`;
      });
    }
  });

  it("git says the same of each, and a push makes nothing", async () => {
    const url = listening.http.url.replace("://", "://eve:x@");
    for (const version of ["0", "1", "2"]) {
      const protocol = ["-c", `protocol.version=${version}`];
      expect(
        await sameFor(async (name) => shown(await app.try(...protocol, "ls-remote", `${url}/${name}.git`))),
      ).toContain("not found");
    }
    expect(
      await sameFor(async (name) => shown(await app.try("push", `${url}/${name}.git`, "main:x"))),
    ).toContain("not found");
    expect(existsSync(join(workspace.directory, "served", "team", "missing.git"))).toBe(false);
    expect((await app.try("push", "-q", `${url}/eve/own.git`, "main")).stderr).toBe("");
  });
});

describe("over SSH", () => {
  it.each([
    ["git-upload-pack", "git-upload-pack 'NAME.git'"],
    ["git upload-pack", "git upload-pack '/NAME'"],
    ["git-receive-pack", "git-receive-pack 'NAME.git'"],
    ["git-upload-archive", "git-upload-archive 'NAME.git'"],
    ["git-lfs-authenticate download", "git-lfs-authenticate NAME.git download"],
    ["git-lfs-authenticate upload", "git-lfs-authenticate NAME.git upload"],
  ])("%s tells nothing", async (_, command) => {
    const answer = await sameFor(async (name) =>
      shown(await eve.ssh(["eve@127.0.0.1", command.replace("NAME", name)], "0000")),
    );
    expect(answer).toMatch(/^1\n\ngitwharf: repository 'NAME' does not exist/);
  });

  it("git archive --remote tells nothing", async () => {
    const { environment: env } = eve;
    const url = `ssh://eve@127.0.0.1:${listening.ssh?.port}`;
    const answer = await sameFor(async (name) =>
      shown(await app.tryWith({ env }, "archive", `--remote=${url}/${name}.git`, "main")),
    );
    expect(answer).toContain("does not exist");
  });
});

describe("over git://", () => {
  it.each(["git-upload-pack", "git-receive-pack", "git-upload-archive"])(
    "%s tells nothing",
    async (service) => {
      for (const extra of ["", "\0version=1\0", "\0version=2\0"]) {
        const answer = await sameFor(async (name) => {
          const line = pktLine(`${service} /${name}.git\0host=localhost\0${extra}`);
          const request = await openRequest(listening.git?.url ?? "", line);
          // The length of the line is that of the name.
          return (await request.closed).slice(4);
        });
        expect(answer).toMatch(/^ERR access denied or repository not exported: \/NAME.git$/);
      }
    },
  );
});

it("who may read it gets it by all of these ways, so that the tests above would see a difference", async () => {
  const owner = listening.http.url.replace("://", "://owner:x@");
  expect(await app.run("ls-remote", `${owner}/team/private.git`)).toContain("refs/tags/secret");
  touched = [];
  const headers = { Authorization: `Basic ${Buffer.from("owner:x").toString("base64")}` };
  expect((await send(`${listening.http.url}/team/private.git/HEAD`, { headers })).status).toBe(200);
  expect(touched).toContain("team/private");
});
