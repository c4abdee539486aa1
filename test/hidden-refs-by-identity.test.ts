/**
 * Refs that policies hide from some: not shown, and nothing that only they lead to is given out, in any version, over any
 * transport, by any service, whatever the repository's own configuration would allow.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createGitServer, type GitServer, type Listening } from "../src/server/git-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { send } from "./support/raw-http.js";
import { command, packetsOf, requestBytes, type RawRequest } from "./support/raw-fetch.js";
import { formatCommands, RECEIVE_PACK_TYPE, sealPack, UPLOAD_PACK_TYPE } from "./support/raw-push.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

const CONFIGURATION: Readonly<Record<string, string>> = {
  "uploadpack.allowAnySHA1InWant": "true",
  "uploadpack.allowTipSHA1InWant": "true",
  "uploadpack.allowReachableSHA1InWant": "true",
  "uploadpack.allowRefInWant": "true",
  "uploadpack.allowFilter": "true",
  "uploadpack.advertiseBundleURIs": "true",
  "transfer.advertiseObjectInfo": "true",
  "uploadarchive.allowUnreachable": "true",
  "bundle.version": "1",
  "bundle.mode": "all",
  "bundle.all.uri": "https://cdn.example.org/all.bundle",
};

let workspace: GitClient;
let server: GitServer;
let listening: Listening;
/** What only the hidden branch leads to. */
let secret: Record<"commit" | "tree" | "blob" | "tag", string>;
let main: string;
let clones = 0;
const environments = new Map<string, NodeJS.ProcessEnv>();

beforeAll(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "work");
  const work = workspace.in("work");
  const commit = async (name: string): Promise<string> => {
    writeFileSync(join(work.directory, name), `${name}\n`);
    await work.run("add", "-A");
    await work.run("commit", "-q", "-m", name);
    return work.run("rev-parse", "HEAD");
  };
  main = await commit("open");
  await work.run("checkout", "-q", "-b", "secret/plan");
  const oid = await commit("plan");
  await work.run("tag", "-a", "-m", "of the plan", "secret-1");
  secret = {
    commit: oid,
    tree: await work.run("rev-parse", "HEAD^{tree}"),
    blob: await work.run("rev-parse", "HEAD:plan"),
    tag: await work.run("rev-parse", "secret-1"),
  };
  const root = join(workspace.directory, "served");
  mkdirSync(root);
  await workspace.run("clone", "-q", "--bare", work.directory, join(root, "app.git"));
  const served = workspace.in("served/app.git");
  await served.run("symbolic-ref", "HEAD", "refs/heads/main");
  for (const [key, value] of Object.entries(CONFIGURATION)) await served.run("config", key, value);
  const users = ["eve", "@anonymous"];
  server = createGitServer({
    repositories: root,
    durability: "none",
    sshServer: { hostKeyDirectory: inject("hostKeyDirectory") },
    gitDaemon: { exportAll: true },
    log: () => undefined,
    authenticate: (credentials) => ({ user: "user" in credentials ? credentials.user : "" }),
    policies: [
      { effect: "deny", operations: ["read"], refs: ["refs/heads/secret/**", "refs/tags/secret-*"], users },
      { effect: "allow", operations: ["read"] },
      { effect: "allow", users: ["@users"] },
    ],
  });
  listening = await server.listen({ http: 0, ssh: 0, git: 0 });
  const keys = [makeSshKey(workspace.directory, "key").path];
  const client = createSshClient({ directory: workspace.directory, port: listening.ssh?.port ?? 0, keys });
  environments.set("ssh", client.environment);
});
afterAll(async () => {
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});

const TRANSPORTS = ["http", "ssh", "git"] as const;
type Transport = (typeof TRANSPORTS)[number];

/** git:// knows no names: there, everybody is nobody, who may see no more than Eve. */
const urlOf = (user: string, transport: Transport): string =>
  ({
    http: `${listening.http.url}/app.git`,
    ssh: `ssh://${user}@127.0.0.1:${listening.ssh?.port}/app.git`,
    git: `${listening.git?.url}/app.git`,
  })[transport];

/** Anybody may read here, and git would not sign in by itself. */
const signedIn = (user: string): readonly string[] => [
  "-c",
  `http.extraHeader=Authorization: ${basic(user)["Authorization"]}`,
];

async function inEmpty(user: string, transport: Transport, ...args: readonly string[]): Promise<GitResult> {
  const name = `clone-${clones++}`;
  await workspace.run("init", "-q", name);
  return workspace.in(name).tryWith({ env: environments.get(transport) ?? {} }, ...signedIn(user), ...args);
}

const basic = (user: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:x`).toString("base64")}`,
});
async function post(user: string, version: 0 | 1 | 2, request: RawRequest): Promise<string> {
  const { body } = await send(`${listening.http.url}/app.git/git-upload-pack`, {
    body: requestBytes(request),
    headers: { ...basic(user), "Content-Type": UPLOAD_PACK_TYPE, "Git-Protocol": `version=${version}` },
  });
  return (await packetsOf(body)).packets.join("\n");
}

describe.each(TRANSPORTS)("over %s", (transport) => {
  it.each([0, 1, 2])("version %i shows and gives out what may be seen, and no more", async (version) => {
    const protocol = ["-c", `protocol.version=${version}`];
    const listed = await inEmpty("eve", transport, ...protocol, "ls-remote", urlOf("eve", transport));
    expect(listed.stdout).toBe(`${main}\tHEAD\n${main}\trefs/heads/main\n`);
    for (const [kind, oid] of Object.entries(secret)) {
      const fetched = await inEmpty(
        "eve",
        transport,
        ...protocol,
        "fetch",
        "-q",
        urlOf("eve", transport),
        oid,
      );
      expect([kind, fetched.status]).not.toEqual([kind, 0]);
      expect([kind, fetched.stderr]).toEqual([kind, expect.stringMatching(/not our ref|unadvertised/)]);
      if (transport === "git") continue;
      const own = await inEmpty(
        "owner",
        transport,
        ...protocol,
        "fetch",
        "-q",
        urlOf("owner", transport),
        oid,
      );
      expect([kind, own.status, own.stderr]).toEqual([kind, 0, ""]);
    }
    const named = await inEmpty(
      "eve",
      transport,
      ...protocol,
      "fetch",
      urlOf("eve", transport),
      "secret/plan",
    );
    expect(named.stderr).toContain("couldn't find remote ref");
    expect(
      (await inEmpty("eve", transport, ...protocol, "fetch", "-q", urlOf("eve", transport), main)).stderr,
    ).toBe("");
  });

  it("archives what may be seen, and no more, by names and by ids", async () => {
    if (transport === "http") return;
    const archive = (user: string, what: string): Promise<GitResult> =>
      inEmpty(user, transport, "archive", `--remote=${urlOf(user, transport)}`, what);
    for (const what of ["secret/plan", "refs/heads/secret/plan", "secret-1", ...Object.values(secret)]) {
      const { status, stdout } = await archive("eve", what);
      expect([what, status === 0, stdout]).toEqual([what, false, ""]);
    }
    expect((await archive("eve", "main")).status).toBe(0);
    if (transport === "ssh") expect((await archive("owner", secret.commit)).status).toBe(0);
  });
});

describe("raw requests over HTTP", () => {
  const done = ["no-progress\n", "done\n"];

  it.each(["commit", "tree", "blob", "tag"] as const)("get no hidden %s, in any version", async (kind) => {
    const oid = secret[kind];
    for (const version of [0, 1] as const) {
      const body = [`want ${oid} no-progress\n`, Buffer.from("0000"), "done\n"];
      expect(await post("eve", version, body)).toContain(`not our ref ${oid}`);
      expect(await post("owner", version, body)).not.toContain("not our ref");
    }
    const fetch = command("fetch", `want ${oid}\n`, ...done);
    expect(await post("eve", 2, fetch)).toContain(`not our ref ${oid}`);
    expect(await post("owner", 2, fetch)).toContain("packfile");
  });

  it("get no ref by its name, no size, no word that it is there", async () => {
    const byName = command("fetch", "want-ref refs/heads/secret/plan\n", ...done);
    expect(await post("eve", 2, byName)).toMatch(/unknown ref refs\/heads\/secret\/plan/);
    expect(await post("owner", 2, byName)).toContain(`${secret.commit} refs/heads/secret/plan`);
    const sizes = command("object-info", "size\n", ...Object.values(secret).map((oid) => `oid ${oid}\n`));
    const absent = command("object-info", "size\n", `oid ${"1".repeat(40)}\n`);
    const unknown = (await post("eve", 2, absent)).replaceAll("1".repeat(40), "OID");
    for (const line of (await post("eve", 2, sizes)).split("\n").slice(1, -1))
      expect(unknown.split("\n")).toContain(line.replace(/[0-9a-f]{40}/, "OID"));
    expect(await post("owner", 2, sizes)).toContain(`${secret.blob} 5`);
    // Who says that he has it does not learn that the server has it too.
    const have = command("fetch", `want ${main}\n`, `have ${secret.commit}\n`);
    expect(await post("eve", 2, have)).not.toContain(`ACK ${secret.commit}`);
    expect(await post("owner", 2, have)).toContain(`ACK ${secret.commit}`);
    const listed = command("ls-refs", "peel\n", "symrefs\n", "ref-prefix refs/heads/secret/\n");
    expect(await post("eve", 2, listed)).toBe("flush");
  });

  it("get no bundles and no plain files, which know no refs", async () => {
    const advertised = async (user: string): Promise<string> =>
      (
        await send(`${listening.http.url}/app.git/info/refs?service=git-upload-pack`, {
          headers: { ...basic(user), "Git-Protocol": "version=2" },
        })
      ).body.toString();
    expect(await advertised("owner")).toContain("bundle-uri");
    expect(await advertised("eve")).not.toContain("bundle-uri");
    const ask = ["command=bundle-uri\n", Buffer.from("0000")];
    expect(await post("owner", 2, ask)).toContain("https://cdn.example.org/all.bundle");
    expect(await post("eve", 2, ask)).not.toContain("cdn.example.org");
    for (const path of [
      "HEAD",
      "info/refs",
      "objects/info/packs",
      `objects/${secret.blob.replace(/^../, "$&/")}`,
    ]) {
      const { status } = await send(`${listening.http.url}/app.git/${path}`, { headers: basic("eve") });
      expect([path, status]).toEqual([path, 403]);
    }
  });

  it("cannot give a name of their own to what is hidden", async () => {
    const body = Buffer.concat([
      Buffer.from(formatCommands([{ newOid: secret.commit, name: "refs/heads/stolen" }])),
      sealPack(0),
    ]);
    const headers = { "Content-Type": RECEIVE_PACK_TYPE };
    const push = async (user: string): Promise<string> =>
      (
        await send(`${listening.http.url}/app.git/git-receive-pack`, {
          body,
          headers: { ...headers, ...basic(user) },
        })
      ).body.toString();
    expect(await push("eve")).toContain("ng refs/heads/stolen missing necessary objects");
    expect(await push("owner")).toContain("ok refs/heads/stolen");
    await workspace.in("served/app.git").run("update-ref", "-d", "refs/heads/stolen");
  });
});
