/** Contributions without an account, with the real git client, against a forge that is a stand-in with real repositories. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import type { StandInRepository } from "./support/forges/forge-state.js";
import type { GitClient, GitResult } from "./support/git-client.js";
import {
  type GatewayWithForge,
  type RunningGateway,
  startGatewayWithForge,
} from "./support/gateway-with-forge.js";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

let surroundings: GatewayWithForge;
let running: RunningGateway;
let number = 0;

beforeAll(async () => {
  surroundings = await startGatewayWithForge();
  running = await surroundings.start();
});
afterAll(async () => {
  await surroundings.close();
  expect(surroundings.forge.forge.violations).toEqual([]);
});

interface Project {
  readonly upstream: StandInRepository;
  readonly client: GitClient;
  commit(name: string, text?: string, message?: string): Promise<string>;
  push(...args: readonly string[]): Promise<GitResult>;
}

/** An upstream of its own with a few files, and a clone of it. */
async function project(about: Partial<StandInRepository> = {}, by = running): Promise<Project> {
  const name = `engine-${++number}`;
  const upstream = await surroundings.forge.addRepository(
    { owner: "ada", name, ...about },
    async (client) => {
      writeFileSync(join(client.directory, "README"), "An engine.\n".repeat(200));
      // Checked where they are pushed, and not pushed again.
      writeFileSync(join(client.directory, ".gitattributes"), "* text=auto\n");
      writeFileSync(join(client.directory, ".gitmodules"), "");
      await client.run("add", ".");
      await client.run("commit", "-q", "-m", "begin");
      await client.run("tag", "-a", "-m", "first", "v1");
      await client.run("branch", "stable");
    },
  );
  const client = await surroundings.cloneBy(by, "ada", name);
  return {
    upstream,
    client,
    async commit(file, text = `${file}\n`, message = `Add ${file}`) {
      writeFileSync(join(client.directory, file), text);
      await client.run("add", ".");
      await client.run("commit", "-q", "-m", message);
      return client.run("rev-parse", "HEAD");
    },
    push: (...args) => client.try("push", ...args),
  };
}

const remoteLines = ({ stderr }: GitResult): string =>
  stderr
    .split("\n")
    .filter((line) => line.startsWith("remote: ") || line.startsWith("remote:"))
    .map((line) => line.slice(8).trimEnd())
    .filter((line) => line !== "" && !/^(?:Anonymized|Unpacking|Resolving|Receiving)/.test(line))
    .join("\n");
/** What is said, and why the ref was not taken. */
const reported = (result: GitResult): readonly string[] => {
  expect(result.status).toBe(1);
  const [, reason = ""] = /! \[remote rejected\][^\n]*\((.*)\)$/m.exec(result.stderr) ?? [];
  return [...remoteLines(result).split("\n"), reason];
};
const hashIn = (result: GitResult): string => /PR hash: {2}([0-9a-f]{8})/.exec(result.stderr)?.[1] ?? "";
/** As if its time had come. */
async function letGo(id: string): Promise<void> {
  const database = await openDatabase(parseDatabaseLocation(`sqlite:${surroundings.database}`));
  await database.db.updateTable("contributions").set({ lease_expires_at: 0 }).where("id", "=", id).execute();
  await database.close();
}
const forkOf = (upstream: StandInRepository): string => surroundings.forge.git.urlOf(`bot/${upstream.name}`);

describe("a contribution", () => {
  it("becomes a pull request with nothing of the person in its commits", async () => {
    const { upstream, client, commit, push } = await project();
    await commit(
      "README",
      `${"An engine.\n".repeat(200)}With steam.\n`,
      "Say more\n\nSigned-off-by: Ada <ada@example.org>",
    );
    const old = await commit("boiler.txt");
    const result = await push("gost", "HEAD:main");
    expect(result).toMatchObject({ status: 0 });
    const [pull] = upstream.pulls;
    expect(pull).toMatchObject({ author: "bot", base: "main", title: "Anonymous contribution via gitGost" });
    expect(remoteLines(result)).toBe(
      [
        "SUCCESS! A pull request has been opened:",
        `  https://forge.example/ada/${upstream.name}/pulls/1`,
        "Author:   @gitgost-anonymous <anonymous@gitgost.local>",
        "Commits:  2",
        `Branch:   ${pull?.branch} -> main`,
        `PR hash:  ${hashIn(result)}`,
        "To update it, push again with its hash:",
        `  git push -f -o pr-hash=${hashIn(result)} gost HEAD:main`,
      ].join("\n"),
    );
    expect(result.stderr).toMatch(/HEAD -> main$/m);
    await client.run("fetch", "-q", forkOf(upstream), `+refs/heads/${pull?.branch}:refs/theirs`);
    expect(await client.run("rev-parse", "refs/theirs^{tree}")).toBe(
      await client.run("rev-parse", `${old}^{tree}`),
    );
    expect(await client.run("log", "--format=%an <%ae> %cn <%ce> %s", "origin/stable..refs/theirs")).toBe(
      ["Add boiler.txt", "Say more"]
        .map(
          (subject) =>
            `@gitgost-anonymous <anonymous@gitgost.local> @gitgost-anonymous <anonymous@gitgost.local> ${subject}`,
        )
        .join("\n"),
    );
    expect(await client.run("log", "-1", "--format=%B", "refs/theirs^")).toBe("Say more");
    expect(await client.run("log", "-1", "--format=%ad %cd", "refs/theirs")).toMatch(/\+0000 .*\+0000$/);
    expect(await client.run("rev-parse", "refs/theirs~2")).toBe(await client.run("rev-parse", "v1^{}"));
  });
});

describe("an update", () => {
  it("moves the branch of the pull request that the hash names, and a closed one becomes a new one", async () => {
    const { upstream, client, commit, push } = await project({ defaultBranch: "master" });
    await commit("one.txt");
    const first = await push("gost", "HEAD:my-fix");
    const [pull] = upstream.pulls;
    // There is no such branch upstream: the default one is meant, whatever its name.
    expect(pull).toMatchObject({ base: "master" });
    await client.run("commit", "-q", "--amend", "-m", "Add one, better");
    const hash = hashIn(first);
    const second = await push("-f", "-o", `pr-hash=${hash}`, "gost", "HEAD:my-fix");
    expect(remoteLines(second)).toContain("SUCCESS! The pull request has been updated:");
    expect(hashIn(second)).toBe(hash);
    expect(upstream.pulls).toHaveLength(1);
    await client.run("fetch", "-q", forkOf(upstream), `+refs/heads/${pull?.branch}:refs/theirs`);
    expect(await client.run("log", "-1", "--format=%s", "refs/theirs")).toBe("Add one, better");

    // Its branch has gone there: it comes back.
    await client.run(
      "push",
      "-q",
      forkOf(upstream).replace("http://", "http://x:token-of-bot@"),
      `:${pull?.branch}`,
    );
    expect((await push("-f", "-o", `pr-hash=${hash}`, "gost", "HEAD:my-fix")).status).toBe(0);

    if (pull !== undefined) pull.state = "closed";
    const third = await push("-f", "-o", `pr-hash=${hash}`, "gost", "HEAD:my-fix");
    expect(remoteLines(third)).toMatch(
      new RegExp(`^The pull request of ${hash} is closed: a new one will be opened\\.\nSUCCESS! A pull`),
    );
    expect(hashIn(third)).not.toBe(hash);
    expect(upstream.pulls).toHaveLength(2);
  });

  it("of a hash that nobody knows, or of another upstream, is refused", async () => {
    const { upstream, commit, push } = await project();
    await commit("one.txt");
    expect(reported(await push("-o", "pr-hash=0123abcd", "gost", "HEAD:main"))).toEqual([
      `There is no contribution 0123abcd to ada/${upstream.name}.`,
      "unknown pr-hash",
    ]);
    expect(reported(await push("-o", "pr-hash=nonsense", "gost", "HEAD:main"))).toEqual([
      "A PR hash has 8 hexadecimal digits: git push -o pr-hash=HASH",
      "bad pr-hash",
    ]);
    expect(upstream.pulls).toEqual([]);
  });
});

describe("a push that is refused", () => {
  it("says so in the client, and leaves nothing", async () => {
    const { upstream, client, commit, push } = await project();
    await commit("one.txt");
    await client.run("tag", "mine");
    const cases: readonly (readonly [readonly string[], string, string])[] = [
      [["gost", "mine"], "A pull request carries commits, not tags: push a branch.", "tags are not taken"],
      [["gost", ":stable"], "Nothing of the upstream can be deleted from here.", "deletion refused"],
      [
        ["gost", "HEAD:a", "HEAD:b"],
        "A contribution is one branch: push one ref at a time.",
        "one branch at a time",
      ],
      [
        ["gost", "HEAD:refs/notes/x"],
        "Only branches can be contributed: git push gost HEAD:my-branch",
        "not a branch",
      ],
      [
        ["gost", "HEAD~1:refs/heads/news"],
        "Every commit of this branch is in the upstream already.",
        "nothing to contribute",
      ],
    ];
    for (const [args, line, reason] of cases) expect(reported(await push(...args))).toEqual([line, reason]);
    expect(upstream.pulls).toEqual([]);
    expect(surroundings.forge.forge.state.forkOf(upstream, "bot")).toBeUndefined();
  });

  it("is refused where the forge fails, in words of what failed", async () => {
    const { upstream, commit, push } = await project();
    await commit("one.txt");
    const { forge } = surroundings.forge;
    const api = "POST /repos/{owner}/{repo}/forks";
    forge.failNext(api, { status: 403, body: { message: "no" } });
    expect(reported(await push("gost", "HEAD:main"))).toEqual([
      "Failed to ask the forge: forge.example refuses to fork the repository (403).",
      "refused by the forge",
    ]);
    forge.failNext("GET /repos/{owner}/{repo}", { status: 503 }, 3);
    expect(reported(await push("gost", "HEAD:main"))).toEqual([
      "Failed to ask the forge: the forge cannot be reached, or fails. Try again later; nothing was opened.",
      "the forge cannot be reached",
    ]);
    const resetAt = Math.floor(Date.now() / 1000) + 2;
    forge.failNext(api, { status: 429, headers: { "x-ratelimit-reset": String(resetAt) } });
    expect(reported(await push("gost", "HEAD:main"))).toEqual([
      expect.stringMatching(
        /^Failed to ask the forge: forge.example takes no more requests from this service before [-0-9T:]+Z; try again then\.$/,
      ) as string,
      "the forge takes no more for now",
    ]);
    expect(upstream.pulls).toEqual([]);
    // The account rests as long as the forge has said.
    await expect
      .poll(async () => (await push("gost", "HEAD:main")).status, { timeout: 20_000, interval: 500 })
      .toBe(0);
    expect(upstream.pulls).toHaveLength(1);
  });

  it("is refused where the upstream is empty, archived or too large", async () => {
    const { client, commit, push, upstream } = await project();
    await commit("one.txt");
    await surroundings.forge.addRepository({ owner: "ada", name: "empty", isEmpty: true });
    expect(reported(await push(running.urlOf("ada", "empty"), "HEAD:main"))).toEqual([
      "The upstream has no commits: a pull request has nothing to stand on.",
      "the upstream is empty",
    ]);
    upstream.isArchived = true;
    expect(reported(await push("gost", "HEAD:main"))[1]).toBe("the upstream is archived");
    upstream.isArchived = false;
    upstream.sizeKiB = 500_000;
    expect(reported(await push("gost", "HEAD:main"))[1]).toBe("the upstream is too large");
    // The default branch goes between the clone and the push.
    upstream.sizeKiB = 12;
    upstream.defaultBranch = "gone";
    expect(reported(await push("gost", "HEAD:news"))).toEqual([
      "The upstream has no branch 'gone', which is its default one. Push to one that it has.",
      "the upstream's branch is gone",
    ]);
    expect((await client.try("ls-remote", running.urlOf("ada", "nothing"))).stderr).toContain(
      "there is no public repository ada/nothing on forge.example",
    );
  });
});

describe("an account of the person's own", () => {
  it("opens the pull request, and is written down nowhere", async () => {
    const own = await startGatewayWithForge({ accounts: { "token-of-bot": "bot", "token-of-cleo": "cleo" } });
    try {
      const by = await own.start({ forges: [{ ...own.forge.forge.settings, tokens: ["token-of-bot"] }] });
      const upstream = await own.forge.addRepository({ owner: "ada", name: "engine" });
      const client = await own.cloneBy(by, "ada", "engine");
      await client.run("commit", "-q", "--allow-empty", "-m", "Turn faster");
      const withToken = (token: string, ...more: readonly string[]): Promise<GitResult> =>
        client.try("push", "-f", "-o", `github-token=${token}`, ...more, "gost", "HEAD:main");
      const first = await withToken("token-of-cleo");
      expect(first).toMatchObject({ status: 0 });
      expect(upstream.pulls).toMatchObject([{ author: "cleo" }]);
      const update = ["-o", `pr-hash=${hashIn(first)}`];
      expect(reported(await client.try("push", "-f", ...update, "gost", "HEAD:main"))[1]).toBe(
        "token needed",
      );
      expect(await withToken("token-of-cleo", ...update)).toMatchObject({ status: 0 });
      expect(reported(await withToken("token-of-nobody"))).toEqual([
        "Failed to ask the forge: forge.example does not accept the token (401).",
        "refused by the forge",
      ]);
      expect(upstream.pulls).toHaveLength(1);
      for (const text of [own.databaseBytes().toString("latin1"), by.logged()])
        for (const secret of ["cleo", "token-of"]) expect(text).not.toContain(secret);
    } finally {
      await own.close();
    }
  });
});

describe("a push whose pull request cannot be opened at once", () => {
  const OPEN = "POST /repos/{owner}/{repo}/pulls";

  it("is told so, and it is opened later, once", async () => {
    const { upstream, commit, push } = await project();
    await commit("one.txt");
    surroundings.forge.forge.failNext(OPEN, { status: 502 });
    const result = await push("gost", "HEAD:main");
    expect(result.status).toBe(0);
    expect(remoteLines(result)).toContain(
      "Your commits have arrived. The pull request will be opened as soon as the forge can:",
    );
    const hash = hashIn(result);
    expect(await running.gateway.store.byHash(hash)).toMatchObject({ state: "pushed" });
    expect(upstream.pulls).toEqual([]);
    expect(reported(await push("-f", "-o", `pr-hash=${hash}`, "gost", "HEAD:main"))[1]).toBe(
      "not opened yet",
    );
    const row = await running.gateway.store.byHash(hash);
    await letGo(row?.id ?? "");
    await running.gateway.repair();
    expect(await running.gateway.store.byHash(hash)).toMatchObject({ state: "opened", title: "", body: "" });
    expect(upstream.pulls).toHaveLength(1);
    expect(upstream.pulls[0]?.body).toContain("Add one.txt");
  });

  it("is taken up by the next process where this one dies between the push and the pull request", async () => {
    const dying = await surroundings.start({ limits: { leaseMs: 100 } });
    const { upstream, commit, push } = await project({}, dying);
    await commit("one.txt");
    const release = surroundings.forge.forge.hold(OPEN);
    const pushing = push("gost", "HEAD:main");
    const asked = surroundings.forge.forge.requests.length;
    await expect
      .poll(() => surroundings.forge.forge.requests.slice(asked).map(({ operation }) => operation))
      .toContain(OPEN);
    await dying.close();
    expect((await pushing).status).not.toBe(0);
    release();
    const next = await surroundings.start({ limits: { leaseMs: 100 } });
    await expect
      .poll(async () => (await next.gateway.repair(), next.gateway.store.recent(1)))
      .toMatchObject([{ state: "opened", upstream: { repo: upstream.name } }]);
    expect(upstream.pulls).toHaveLength(1);
    await next.close();
  });
});

describe("what is passed on", () => {
  const asSetUp = (upstream: StandInRepository): string =>
    surroundings.forge.git.urlOf(`ada/${upstream.name}`).replace("http://", "http://set-up:set-up@");
  /** The upstream goes on, unknown to the client. */
  const goOn = async (upstream: StandInRepository, client: GitClient, file: string): Promise<string> => {
    await client.run("fetch", "-q", asSetUp(upstream), "main:refs/elsewhere");
    await client.run("checkout", "-q", "--detach", "refs/elsewhere");
    writeFileSync(join(client.directory, file), `${file}\n`);
    await client.run("add", ".");
    await client.run("commit", "-q", "-m", `Upstream's ${file}`);
    await client.run("push", "-q", asSetUp(upstream), "HEAD:main");
    const oid = await client.run("rev-parse", "HEAD");
    await client.run("checkout", "-q", "main");
    await client.run("update-ref", "-d", "refs/elsewhere");
    return oid;
  };
  const theirs = async (upstream: StandInRepository, client: GitClient): Promise<readonly string[]> => {
    const branch = upstream.pulls.at(-1)?.branch ?? "";
    await client.run("fetch", "-q", forkOf(upstream), `+refs/heads/${branch}:refs/theirs`);
    return (await client.run("rev-list", "refs/theirs")).split("\n");
  };

  it("leaves commits of the upstream as they are, which a client that is behind sends again", async () => {
    const { upstream, client, commit, push } = await project();
    const known = await goOn(upstream, client, "theirs-1.txt");
    await client.run("merge", "-q", "--ff-only", known);
    await goOn(upstream, client, "theirs-2.txt");
    await commit("mine.txt");
    // Neither main's new tip nor the commit before it is named to git by anything that it has.
    expect(await push("gost", "HEAD:my-fix")).toMatchObject({ status: 0 });
    const commits = await theirs(upstream, client);
    expect(commits).toHaveLength(3);
    expect(commits[1]).toBe(known);
  });

  it("may be large, and come at the same moment as another", async () => {
    const { upstream, client, commit } = await project();
    await commit(
      "large.bin",
      Array.from({ length: 400_000 }, (_, i) => (i * 2_654_435_761) % 99_991).join(" "),
    );
    const [one, other] = await Promise.all(
      ["HEAD:one", "HEAD:other"].map((ref) => client.try("push", "gost", ref)),
    );
    expect([one, other]).toMatchObject([{ status: 0 }, { status: 0 }]);
    expect(new Set(upstream.pulls.map(({ branch }) => branch)).size).toBe(2);
    expect(await theirs(upstream, client)).toHaveLength(2);
    expect(await client.run("rev-parse", "refs/theirs:large.bin")).toBe(
      await client.run("rev-parse", "HEAD:large.bin"),
    );
  });

  it("brings a fork what it lacks of its upstream", async () => {
    const { upstream, client, commit, push } = await project();
    await commit("one.txt");
    expect((await push("gost", "HEAD:main")).status).toBe(0);
    await client.run("reset", "-q", "--hard", "origin/main");
    const later = await goOn(upstream, client, "theirs.txt");
    await client.run("pull", "-q", "--ff-only", "origin", "main");
    expect(await client.run("rev-parse", "HEAD")).toBe(later);
    await commit("two.txt");
    expect(await push("gost", "HEAD:main")).toMatchObject({ status: 0 });
    expect((await theirs(upstream, client))[1]).toBe(later);
  });

  it("is one commit where that is asked for, without what it has taken back", async () => {
    const { upstream, client, commit, push } = await project();
    await commit("secret.txt", "a secret\n");
    const secret = await client.run("rev-parse", "HEAD:secret.txt");
    await client.run("rm", "-q", "secret.txt");
    await commit("one.txt");
    expect((await push("-o", "squash", "-o", "title=One commit", "gost", "HEAD:main")).status).toBe(0);
    expect(await theirs(upstream, client)).toHaveLength(2);
    expect(upstream.pulls[0]?.title).toBe("One commit");
    const fork = await surroundings.forge.git.server.store.open(`bot/${upstream.name}`);
    const snapshot = await fork?.snapshot();
    expect(await snapshot?.objects.has(secret)).toBe(false);
    snapshot?.release();
  });

  it("holds, like the database and the log, nothing of the person", async () => {
    const { upstream, client, push } = await project();
    const secrets = ["Zoë Quixote", "zoe.quixote@secret.example", "+0545", "Z\xf6e", "quixote-handle"];
    writeFileSync(join(client.directory, "mill.txt"), "turns\n");
    await client.run("add", ".");
    const env = {
      GIT_AUTHOR_NAME: "Zoë Quixote",
      GIT_AUTHOR_EMAIL: "zoe.quixote@secret.example",
      GIT_AUTHOR_DATE: "1700000001 +0545",
      GIT_COMMITTER_NAME: "Zoë Quixote",
      GIT_COMMITTER_EMAIL: "1+quixote-handle@users.noreply.github.com",
      GIT_COMMITTER_DATE: "1700000002 +0545",
    };
    const message =
      "Fix the mill\n\nAsked by Zoë Quixote <zoe.quixote@secret.example>, @quixote-handle.\n\nSigned-off-by: Zoë Quixote <zoe.quixote@secret.example>\nChange-Id: I0123456789012345678901234567890123456789\n";
    await client.tryWith({ env, input: message }, "commit", "-q", "-F", "-");
    await client.tryWith(
      { env, input: message },
      "-c",
      "i18n.commitEncoding=ISO-8859-1",
      "commit",
      "-q",
      "--allow-empty",
      "-F",
      "-",
    );
    const original = await client.run("rev-parse", "HEAD");
    const result = await push(
      "-o",
      "title=Zoë Quixote fixes the mill",
      "-o",
      "secret-option=zoe.quixote@secret.example",
      "gost",
      "HEAD:main",
    );
    expect(result).toMatchObject({ status: 0 });
    expect(result.stderr).toContain("The push option 'secret-option' is not known here.");
    const fork = await surroundings.forge.git.server.store.open(`bot/${upstream.name}`);
    const snapshot = await fork?.snapshot();
    const texts: Buffer[] = [surroundings.databaseBytes(), Buffer.from(running.logged())];
    texts.push(Buffer.from(JSON.stringify(surroundings.forge.forge.requests)));
    for (const pack of snapshot?.objects.packs ?? [])
      for (let i = 0; i < pack.objectCount; i++) {
        const object = await snapshot?.objects.read(pack.index.oidAt(i));
        texts.push(object?.data ?? Buffer.alloc(0));
      }
    expect(await snapshot?.objects.has(original)).toBe(false);
    snapshot?.release();
    // Where they came from is logged neither.
    expect(running.logged()).toContain("git-receive-pack 200");
    expect(running.logged()).not.toMatch(/"address":"/);
    const all = Buffer.concat(texts);
    expect(all.includes("turns\n")).toBe(true);
    for (const secret of [...secrets, "I01234567890", original])
      for (const encoding of ["utf8", "latin1"] as const)
        expect([secret, encoding, all.includes(Buffer.from(secret, encoding))]).toEqual([
          secret,
          encoding,
          false,
        ]);
  });
});

describe("an address", () => {
  it("is fetched from as from the forge, in every protocol", async () => {
    const { client } = await project();
    for (const version of ["0", "2"]) {
      const name = `copy-${version}`;
      await client.run(
        "-c",
        `protocol.version=${version}`,
        "clone",
        "-q",
        await client.run("remote", "get-url", "gost"),
        name,
      );
      expect(await client.in(name).run("rev-parse", "HEAD", "v1")).toBe(
        await client.run("rev-parse", "HEAD", "v1"),
      );
    }
  });

  it("advertises heads and tags with these capabilities and no others", async () => {
    const { client } = await project();
    const url = await client.run("remote", "get-url", "gost");
    const text = await (await fetch(`${url}/info/refs?service=git-receive-pack`)).text();
    expect(text).toMatch(/^001f# service=git-receive-pack\n0000/);
    expect(/\0(.*)\n/.exec(text)?.[1]).toBe(
      "report-status delete-refs side-band-64k quiet ofs-delta push-options",
    );
    expect([...text.matchAll(/ (refs\/[^\0\n]*)/g)].map(([, name]) => name)).toEqual([
      "refs/heads/main",
      "refs/heads/stable",
      "refs/tags/v1",
    ]);
  });

  it("of nothing that there can be is refused", async () => {
    const at = async (path: string, init?: RequestInit): Promise<readonly [number, string]> => {
      const answer = await fetch(`${running.server.url}${path}`, init);
      return [answer.status, await answer.text()];
    };
    const base = "/v1/gt/forge.example";
    expect(await at(`${base}/ada/..x/info/refs?service=git-receive-pack`)).toEqual([
      400,
      '{"error":"Invalid repo name"}',
    ]);
    expect((await at(`${base}/ada/engine/info/refs?service=git-annex`))[0]).toBe(400);
    expect((await at("/v1/gh/ada/engine/info/refs?service=git-upload-pack"))[0]).toBe(404);
    expect((await at("/v1/gt/other.example/ada/engine/info/refs?service=git-upload-pack"))[0]).toBe(404);
    expect((await at(`${base}/ada/engine/nothing`))[0]).toBe(404);
    surroundings.forge.forge.failNext("GET /repos/{owner}/{repo}", { status: 503 }, 3);
    expect(await at(`${base}/ada/engine-0/info/refs?service=git-upload-pack`)).toEqual([
      502,
      "the forge cannot be reached now; try again later\n",
    ]);
    await surroundings.forge.addRepository({ owner: "ada", name: "private", isPrivate: true });
    expect((await at(`${base}/ada/private/info/refs?service=git-upload-pack`))[0]).toBe(404);
  });

  it("takes no pack that is broken, or too large", async () => {
    const { upstream, client, commit } = await project();
    const tip = await commit("one.txt");
    const url = await client.run("remote", "get-url", "gost");
    const line = (text: string): string => (text.length + 4).toString(16).padStart(4, "0") + text;
    const command = line(`${"0".repeat(40)} ${tip} refs/heads/x\0 report-status side-band-64k`);
    const post = async (pack: string): Promise<string> => {
      const answer = await fetch(`${url}/git-receive-pack`, {
        method: "POST",
        headers: { "Content-Type": "application/x-git-receive-pack-request" },
        body: `${command}0000${pack}`,
      });
      expect(answer.status).toBe(200);
      return answer.text();
    };
    expect(await post("PACK\0\0\0\x02\0\0\0\x01garbage")).toMatch(
      /unpack [^o][^]*ng refs\/heads\/x unpacker error/,
    );
    expect(await post("")).toMatch(/ng refs\/heads\/x unpacker error/);
    const small = await surroundings.start({ limits: { pushBytesMax: 1000 } });
    await commit("noise.txt", Array.from({ length: 4000 }, (_, i) => (i * 7919) % 1009).join(" "));
    const result = await client.try("push", small.urlOf("ada", upstream.name), "HEAD:main");
    expect(result.stderr).toContain("remote: A push may have at most 1000 bytes.");
    expect(result.stderr).toMatch(/unpack(?:er)? (?:failed|error)/);
    const strict = await surroundings.start({ limits: { commitBytesMax: 1000 } });
    expect((await client.try("push", strict.urlOf("ada", upstream.name), "HEAD:main")).status).toBe(1);
    expect(upstream.pulls).toEqual([]);
  });
});
