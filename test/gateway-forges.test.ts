/**
 * The gateway's forges against stand-ins of GitHub, GitLab and Gitea, whose every request and answer is held to what the
 * forges publish of their APIs.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createForge } from "../src/gateway/forges/create-forge.js";
import type { Forge } from "../src/gateway/forges/forge.js";
import { type ForgeSettings, forgePlace } from "../src/gateway/forges/forge-settings.js";
import { createCheckedApi } from "./support/forges/checked-api.js";
import { readDescription } from "./support/forges/forge-description.js";
import type { StandInRepository } from "./support/forges/forge-state.js";
import { startForgeWithGit } from "./support/forges/forge-with-git.js";
import { startGitea } from "./support/forges/gitea-stand-in.js";
import { startGitHub } from "./support/forges/github-stand-in.js";
import { startGitLab } from "./support/forges/gitlab-stand-in.js";
import type { StandInForge, StandInOptions } from "./support/forges/stand-in-forge.js";
import { createWorkspace, removeDirectory } from "./support/git-client.js";

const NAME = { owner: "ada", repo: "engine" };
const TOKENS = { "secret-token-1": "bot", "secret-token-2": "second-bot" };
const SECRETS = ["secret-token", "a secret title", "a secret body"];

const FORGES = [
  {
    what: "GitHub",
    start: startGitHub,
    show: "GET /repos/{owner}/{repo}",
    open: "POST /repos/{owner}/{repo}/pulls",
    pullAt: "/ada/engine/pull/",
    issueAt: "/ada/engine/issues/",
    signedInAs: "x-access-token",
  },
  {
    what: "GitLab",
    start: startGitLab,
    show: "GET /projects/{id}",
    open: "POST /projects/{id}/merge_requests",
    pullAt: "/ada/engine/-/merge_requests/",
    issueAt: "/ada/engine/-/issues/",
    signedInAs: "oauth2",
  },
  {
    what: "Gitea",
    start: startGitea,
    show: "GET /repos/{owner}/{repo}",
    open: "POST /repos/{owner}/{repo}/pulls",
    pullAt: "/ada/engine/pulls/",
    issueAt: "/ada/engine/issues/",
    signedInAs: "bot",
  },
] as const;

const failing = (code: string, message?: RegExp): Error =>
  expect.objectContaining({
    code,
    ...(message && { message: expect.stringMatching(message) as string }),
  }) as Error;

describe.each(FORGES)("$what", ({ start, show, open, pullAt, issueAt, signedInAs }) => {
  let server: StandInForge;
  let upstream: StandInRepository;
  let forge: Forge;
  const others: StandInForge[] = [];

  beforeEach(async () => {
    server = await start({ accounts: TOKENS });
    upstream = server.state.add({ owner: "ada", name: "engine", defaultBranch: "trunk" });
    forge = await createForge(server.settings);
  });
  afterEach(async () => {
    for (const each of [server, ...others.splice(0)]) {
      await each.close();
      expect(each.violations).toEqual([]);
    }
  });

  const another = async (
    options: StandInOptions,
    settings: Partial<ForgeSettings> = {},
  ): Promise<readonly [StandInForge, Forge, StandInRepository]> => {
    const each = await start({ accounts: TOKENS, ...options });
    others.push(each);
    const repository = each.state.add({ owner: "ada", name: "engine" });
    return [each, await createForge({ ...each.settings, ...settings }), repository];
  };
  const withSettings = async (settings: Partial<ForgeSettings>): Promise<Forge> =>
    createForge({ ...server.settings, ...settings });
  const count = (operation: string): number =>
    server.requests.filter((each) => each.operation === operation).length;

  describe("a repository", () => {
    it("is found, by the name that the forge has for it", async () => {
      Object.assign(upstream, { isArchived: true });
      expect(await forge.find({ owner: "ADA", repo: "Engine" })).toEqual({
        owner: "ada",
        repo: "engine",
        defaultBranch: "trunk",
        sizeBytes: server.settings.name === "gl" ? undefined : 12 * 1024,
        isEmpty: false,
        isArchived: true,
        isPrivate: false,
        cloneUrl: `${server.url}/ada/engine.git`,
        htmlUrl: "https://forge.example/ada/engine",
      });
      server.state.renamed.set("ada/old", upstream);
      expect(await forge.find({ owner: "ada", repo: "old" })).toMatchObject({ owner: "ada", repo: "engine" });
    });

    it("is none where there is none", async () => {
      expect(await forge.find({ owner: "ada", repo: "nothing" })).toBeUndefined();
    });

    it("may be empty, or private", async () => {
      server.state.add({ owner: "ada", name: "empty", isEmpty: true, sizeKiB: 0 });
      server.state.add({ owner: "ada", name: "tiny", sizeKiB: 0 });
      server.state.add({ owner: "ada", name: "hidden", isPrivate: true });
      expect(await forge.find({ owner: "ada", repo: "empty" })).toMatchObject({ isEmpty: true });
      expect(await forge.find({ owner: "ada", repo: "tiny" })).toMatchObject({ isEmpty: false });
      expect(await forge.find({ owner: "ada", repo: "hidden" })).toMatchObject({ isPrivate: true });
    });

    it("has files, and those that are too large", async () => {
      const text = "DENY_ALL: true\n# über\n";
      upstream.files.set(".gitgost.yml", text);
      upstream.files.set("docs/a b#c.md", "x");
      upstream.files.set("large", "x".repeat(65_536));
      upstream.files.set("larger", "x".repeat(65_537));
      expect((await forge.readFile(NAME, ".gitgost.yml"))?.toString()).toBe(text);
      expect((await forge.readFile(NAME, "docs/a b#c.md"))?.toString()).toBe("x");
      expect((await forge.readFile(NAME, "large"))?.length).toBe(65_536);
      await expect(forge.readFile(NAME, "larger")).rejects.toThrow(
        failing("forge/bad-answer", /65537|65536/),
      );
      expect(await forge.readFile(NAME, "nothing")).toBeUndefined();
      expect(await forge.readFile(NAME, "docs")).toBeUndefined();
    });

    it("has templates for issues", async () => {
      expect(await forge.issueTemplates(NAME)).toEqual([]);
      const directory = {
        gh: ".github/ISSUE_TEMPLATE",
        gl: ".gitlab/issue_templates",
        gt: ".gitea/issue_template",
        cb: "",
      };
      const where = directory[server.settings.name];
      upstream.files.set(`${where}/bug.md`, "what is wrong?");
      expect(await forge.issueTemplates(NAME)).toMatchObject([{ body: "what is wrong?", kind: "markdown" }]);
      if (server.settings.name === "gl") return;
      upstream.files.set(`${where}/form.yml`, "name: form");
      upstream.files.set(`${where}/config.yml`, "blank_issues_enabled: false");
      expect(await forge.issueTemplates(NAME)).toEqual([
        { name: "bug.md", body: "what is wrong?", kind: "markdown" },
        { name: "form.yml", body: "name: form", kind: "form" },
      ]);
    });
  });

  describe("a fork", () => {
    it("is made once, and is there when it is told of", async () => {
      const made: string[] = [];
      const [each, own] = await another({
        forkLooks: 3,
        onFork: (from, fork) => void made.push(`${from.owner}/${from.name} to ${fork.owner}/${fork.name}`),
        gitUrl: "https://git.example/all",
      });
      const fork = await own.fork(NAME, { account: "bot" });
      expect(fork).toEqual({
        owner: "bot",
        repo: "engine",
        cloneUrl: "https://git.example/all/bot/engine.git",
        credentials: { username: signedInAs, password: "secret-token-1" },
      });
      expect(each.state.find("bot", "engine")?.looksUntilReady).toBeLessThanOrEqual(0);
      expect(await own.fork(NAME, { account: "BOT" })).toEqual(fork);
      expect(made).toEqual(["ada/engine to bot/engine"]);
      expect(await own.fork(NAME, { account: "second-bot" })).toMatchObject({
        owner: "second-bot",
        credentials: { password: "secret-token-2" },
      });
    });

    it("is found under any name, and is no other repository of that name", async () => {
      const mine = server.state.add({ owner: "bot", name: "engine" });
      const fork = await forge.fork(NAME, { account: "bot" });
      expect(fork.owner).toBe("bot");
      expect(fork.repo).not.toBe("engine");
      expect(server.state.find("bot", fork.repo)?.parent).toBe(upstream);
      expect(await forge.fork(NAME, { account: "bot" })).toEqual(fork);
      expect(server.state.repositories.filter(({ owner }) => owner === "bot")).toHaveLength(2);
      expect(mine.parent).toBeUndefined();
    });

    it("is waited for, but not for ever", async () => {
      const [, own] = await another({ forkLooks: Infinity }, { forkTimeoutMs: 20 });
      await expect(own.fork(NAME)).rejects.toThrow(failing("forge/unreachable", /within 20 ms/));
    });

    it("is not what a forge says is one", async () => {
      const [each, own, repository] = await another({
        // While nobody looks, it becomes another.
        onFork: (_upstream, fork) => void Object.assign(fork, { parent: each.state.find("ada", "other") }),
      });
      each.state.add({ owner: "ada", name: "other" });
      expect(repository.parent).toBeUndefined();
      await expect(own.fork(NAME)).rejects.toThrow(failing("forge/refused", /no fork/));
    });

    it("is none of a repository that is empty, or that is not there", async () => {
      if (server.settings.name !== "gl") {
        server.state.add({ owner: "ada", name: "empty", isEmpty: true, sizeKiB: 0 });
        await expect(forge.fork({ owner: "ada", repo: "empty" })).rejects.toThrow(
          failing("forge/refused", /empty/),
        );
      }
      await expect(forge.fork({ owner: "ada", repo: "nothing" })).rejects.toThrow(failing("forge/not-found"));
    });

    it("needs an account", async () => {
      const reading = await withSettings({ tokens: [] });
      expect(await reading.find(NAME)).toMatchObject({ owner: "ada" });
      expect(await reading.gitCredentials()).toBeUndefined();
      await expect(reading.fork(NAME)).rejects.toThrow(failing("forge/refused", /github-token/));
      await expect(forge.fork(NAME, { account: "nobody" })).rejects.toThrow(
        failing("forge/refused", /'nobody'/),
      );
    });
  });

  describe("a pull request", () => {
    const about = { head: "gitgost-1", base: "trunk", title: "fix\nthe engine", body: "why\n" };

    it("is opened once for a branch, by whose fork it is, and found by it", async () => {
      const fork = await forge.fork(NAME, { account: "second-bot" });
      expect(await forge.findPullRequest(NAME, { fork, head: "gitgost-1" })).toBeUndefined();
      const pull = await forge.openPullRequest(NAME, { ...about, fork });
      expect(pull).toEqual({
        number: 1,
        url: `https://forge.example${pullAt}1`,
        state: "open",
        title: "fix the engine",
        comments: 0,
        updatedAtMs: Date.parse(upstream.pulls[0]?.updatedAt ?? ""),
      });
      expect(upstream.pulls).toMatchObject([
        { author: "second-bot", branch: "gitgost-1", base: "trunk", body: "why\n", state: "open" },
      ]);
      expect(await forge.openPullRequest(NAME, { ...about, fork })).toEqual(pull);
      expect(count(open)).toBe(1);
      await forge.openPullRequest(NAME, { ...about, fork, head: "gitgost-2" });
      expect(await forge.findPullRequest(NAME, { fork, head: "gitgost-1" })).toEqual(pull);
      expect(await forge.findPullRequest(NAME, { fork, head: "gitgost-2" })).toMatchObject({ number: 2 });
      expect(await forge.findPullRequest(NAME, { fork, head: "gitgost-" })).toBeUndefined();
      expect(
        await forge.findPullRequest(NAME, { fork: { ...fork, owner: "bot" }, head: "gitgost-1" }),
      ).toBeUndefined();
    });

    it("is closed, and then another is opened", async () => {
      const fork = await forge.fork(NAME, { account: "second-bot" });
      await forge.openPullRequest(NAME, { ...about, fork });
      await forge.closePullRequest(NAME, 1);
      await forge.closePullRequest(NAME, 1);
      expect(await forge.pullRequest(NAME, 1)).toMatchObject({ state: "closed" });
      expect(await forge.findPullRequest(NAME, { fork, head: "gitgost-1" })).toMatchObject({
        state: "closed",
      });
      expect(await forge.openPullRequest(NAME, { ...about, fork })).toMatchObject({
        number: 2,
        state: "open",
      });
      expect(await forge.findPullRequest(NAME, { fork, head: "gitgost-1" })).toMatchObject({ number: 2 });
      Object.assign(upstream.pulls[1] ?? {}, { state: "merged" });
      expect(await forge.pullRequest(NAME, 2)).toMatchObject({ state: "merged" });
      expect(await forge.pullRequest(NAME, 9)).toBeUndefined();
      await expect(forge.closePullRequest(NAME, 9)).rejects.toThrow(failing("forge/not-found"));
    });

    it("is cut to what the forge takes", async () => {
      const fork = await forge.fork(NAME);
      const title = `${"x".repeat(253)}😀${"y".repeat(100)}`;
      await forge.openPullRequest(NAME, { ...about, fork, title, body: "z".repeat(100_000) });
      expect(upstream.pulls[0]?.title).toBe(`${"x".repeat(253)}…`);
      expect(upstream.pulls[0]?.body).toHaveLength(65_000);
    });

    it("is refused for reasons that can be told", async () => {
      const fork = await forge.fork(NAME);
      upstream.isArchived = true;
      await expect(forge.openPullRequest(NAME, { ...about, fork })).rejects.toThrow(failing("forge/refused"));
    });

    it("is not opened again where nobody knows whether it was", async () => {
      const fork = await forge.fork(NAME);
      for (const status of [500, 502, 0]) {
        server.failNext(open, { status });
        await expect(forge.openPullRequest(NAME, { ...about, fork })).rejects.toThrow(
          failing("forge/unreachable"),
        );
      }
      expect(count(open)).toBe(3);
      expect(await forge.openPullRequest(NAME, { ...about, fork })).toMatchObject({ number: 1 });
    });
  });

  describe("issues and comments", () => {
    it("are written, and comments removed by whose they are", async () => {
      upstream.labels.push("bug", "Help");
      const issue = await forge.openIssue(NAME, { title: "broken", body: "how", labels: ["help"] });
      expect(issue).toEqual({ number: 1, url: `https://forge.example${issueAt}1` });
      expect(upstream.issues).toMatchObject([{ title: "broken", body: "how" }]);
      expect(upstream.issues[0]?.labels.map((each) => each.toLowerCase())).toEqual(["help"]);
      await forge.openIssue(NAME, { title: "again", body: "" });

      const fork = await forge.fork(NAME);
      const pull = await forge.openPullRequest(NAME, {
        fork,
        head: "b",
        base: "trunk",
        title: "t",
        body: "",
      });
      const first = await forge.comment(NAME, { on: "issue", number: 1, body: "one" });
      const second = await forge.comment(NAME, { on: "pull", number: pull.number, body: "two" });
      expect(server.state.comments).toMatchObject([
        { on: "issue", number: 1, body: "one" },
        { on: "pull", number: pull.number, body: "two" },
      ]);
      // In turn.
      expect(new Set(server.state.comments.map(({ author }) => author)).size).toBe(2);
      expect(first.url.startsWith(`${issue.url}#`)).toBe(true);
      expect(second.url.startsWith(`${pull.url}#`)).toBe(true);
      expect(await forge.pullRequest(NAME, pull.number)).toMatchObject({ comments: 1 });

      for (const { id } of [first, second, first]) await forge.deleteComment(NAME, id);
      expect(server.state.comments).toEqual([]);
      await expect(forge.deleteComment(NAME, "../../user")).rejects.toThrow(failing("forge/not-found"));
      await expect(forge.comment(NAME, { on: "issue", number: 77, body: "x" })).rejects.toThrow(
        failing("forge/not-found"),
      );
    });

    it("are in discussions where there are any", async () => {
      upstream.discussions.add(5);
      const comment = { on: "discussion", number: 5, body: "three" } as const;
      if (server.settings.name !== "gh") {
        await expect(forge.comment(NAME, comment)).rejects.toThrow(
          failing("forge/refused", /no discussions/),
        );
        return;
      }
      const { id, url } = await forge.comment(NAME, comment);
      expect(url).toMatch(/^https:\/\/forge\.example\/ada\/engine\/discussions\/5#discussioncomment-\d+$/);
      expect(server.state.comments).toMatchObject([{ on: "discussion", number: 5, body: "three" }]);
      await forge.deleteComment(NAME, id);
      await forge.deleteComment(NAME, id);
      expect(server.state.comments).toEqual([]);
      await expect(forge.comment(NAME, { ...comment, number: 6 })).rejects.toThrow(
        failing("forge/not-found"),
      );
    });
  });

  describe("a forge that has enough", () => {
    it.each([
      [429, { "Retry-After": "120" }, 120_000],
      [403, { "Retry-After": "120" }, 120_000],
      [429, {}, 60_000],
    ])("(%s %j) is asked by another account, and by none until then", async (status, headers, waitMs) => {
      server.failNext(show, { status, headers, body: { message: "enough" } });
      expect(await forge.find(NAME)).toMatchObject({ owner: "ada" });
      const asked = server.requests.filter((each) => each.operation === show).map(({ account }) => account);
      expect(new Set(asked).size).toBe(2);
      expect(asked.at(-1)).not.toBe(asked[0]);
      server.failNext(show, { status, headers, body: { message: "enough" } });
      const before = Date.now();
      const error: unknown = await forge.find(NAME).catch((each: unknown) => each);
      expect(error).toEqual(failing("forge/exhausted", /takes no more requests/));
      const { untilMs } = (error as { details: { untilMs: number } }).details;
      expect(untilMs - before).toBeGreaterThan(waitMs - 10_000);
      expect(untilMs - before).toBeLessThan(waitMs + 10_000);
      const requests = server.requests.length;
      await expect(forge.find(NAME)).rejects.toThrow(failing("forge/exhausted"));
      expect(server.requests).toHaveLength(requests);
    });

    it("says when its limit begins anew", async () => {
      const resetSeconds = Math.ceil(Date.now() / 1000) + 900;
      const gone = { "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": String(resetSeconds) };
      const own = await withSettings({ tokens: ["secret-token-1"] });
      server.failNext(show, { status: 403, headers: gone, body: { message: "API rate limit exceeded" } });
      await expect(own.find(NAME)).rejects.toThrow(
        expect.objectContaining({ code: "forge/exhausted", details: { untilMs: resetSeconds * 1000 } }),
      );
    });

    it("says so of the one account that something is to be done by", async () => {
      const fork = await forge.fork(NAME, { account: "bot" });
      server.failNext(open, { status: 429, headers: { "Retry-After": "50" } });
      const pull = { fork, head: "b", base: "trunk", title: "t", body: "" };
      await expect(forge.openPullRequest(NAME, pull)).rejects.toThrow(failing("forge/exhausted"));
      await expect(forge.openPullRequest(NAME, pull)).rejects.toThrow(failing("forge/exhausted"));
      await expect(forge.fork(NAME, { account: "bot" })).rejects.toThrow(failing("forge/exhausted"));
      expect(await forge.fork(NAME)).toMatchObject({ owner: "second-bot" });
      expect(count(open)).toBe(1);
    });

    it("is no forge that forbids something", async () => {
      server.failNext(show, {
        status: 403,
        body: { message: "Resource not accessible by personal access token" },
      });
      await expect(forge.find(NAME)).rejects.toThrow(failing("forge/refused", /the account may not/));
      expect(await forge.find(NAME)).toBeDefined();
    });
  });

  describe("a forge that fails", () => {
    it("is asked again where asking does no harm", async () => {
      server.failNext(show, { status: 502 });
      server.failNext(show, { status: 0 });
      expect(await forge.find(NAME)).toMatchObject({ owner: "ada" });
      expect(count(show)).toBe(3);
      server.failNext(show, { status: 503 }, 3);
      await expect(forge.find(NAME)).rejects.toThrow(failing("forge/unreachable", /503/));
      expect(count(show)).toBe(6);
    });

    it("does not know a token, and is asked by another", async () => {
      server.failNext(show, { status: 401, body: { message: "Bad credentials" } });
      expect(await forge.find(NAME)).toBeDefined();
      const own = await withSettings({ tokens: ["nobodys-token"] });
      await expect(own.find(NAME)).rejects.toThrow(failing("forge/refused", /does not accept the token/));
    });

    it.each([
      ["no JSON", "<html>"],
      ["a list", []],
      ["null", null],
      ["fields of other kinds", { id: "x", name: 5, path: 5, owner: 3, namespace: [], empty: "no" }],
      [
        "names that would lead elsewhere",
        {
          id: 1,
          name: "../../x",
          path: "../../x",
          owner: { login: "a/b" },
          namespace: { full_path: "a/b" },
          default_branch: "main",
          size: 1,
          empty: false,
          archived: false,
          private: false,
        },
      ],
    ])("answers %s, and nothing is made of it", async (_what, body) => {
      server.failNext(show, { status: 200, body });
      await expect(forge.find(NAME)).rejects.toThrow(failing("forge/bad-answer"));
    });

    it("answers more than is read", async () => {
      const own = await withSettings({ answerBytesMax: 100 });
      await expect(own.find(NAME)).rejects.toThrow(failing("forge/bad-answer", /100 bytes/));
    });

    it("does not answer", async () => {
      const own = await withSettings({ requestTimeoutMs: 30, retriesMax: 1 });
      const release = server.hold(show);
      await expect(own.find(NAME)).rejects.toThrow(failing("forge/unreachable", /30 ms/));
      release();
    });

    it("keeps nobody who has left", async () => {
      const leaving = new AbortController();
      const release = server.hold(show);
      const found = forge.find(NAME, { signal: leaving.signal });
      setImmediate(() => leaving.abort());
      await expect(found).rejects.toThrow(failing("base/aborted"));
      await expect(forge.find(NAME, { signal: AbortSignal.abort() })).rejects.toThrow(
        failing("base/aborted"),
      );
      release();
    });

    it("is called at addresses that may be called alone", async () => {
      const own = await withSettings({ allowAddresses: [] });
      await expect(own.find(NAME)).rejects.toThrow(failing("forge/unreachable", /may not be called/));
      expect(server.requests).toEqual([]);
    });

    it("leads nobody elsewhere, and no token", async () => {
      let asked = 0;
      const elsewhere = createServer((_request, response) => {
        asked++;
        response.end("{}");
      });
      elsewhere.listen(0, "127.0.0.1");
      await once(elsewhere, "listening");
      const { port } = elsewhere.address() as AddressInfo;
      for (const status of [301, 302, 307, 308]) {
        server.failNext(show, { status, headers: { Location: `http://127.0.0.1:${port}/` } });
        await expect(forge.find(NAME)).rejects.toThrow(failing("forge/bad-answer", /redirected/));
      }
      server.failNext(show, { status: 307, headers: { Location: "?again" } }, 20);
      await expect(forge.find(NAME)).rejects.toThrow(failing("forge/refused"));
      expect(asked).toBe(0);
      elsewhere.close();
    });
  });

  it("is asked by a person's own token, which is in nothing that is told", async () => {
    const person = await start({ accounts: { ...TOKENS, "secret-token-of-jane": "jane" } });
    others.push(person);
    const repository = person.state.add({ owner: "ada", name: "engine" });
    const own = (await createForge({ ...person.settings, tokens: ["secret-token-1"] })).withToken(
      "secret-token-of-jane",
    );
    const fork = await own.fork(NAME);
    expect(fork).toMatchObject({ owner: "jane", credentials: { password: "secret-token-of-jane" } });
    const pull = { fork, head: "b", base: "main", title: "a secret title", body: "a secret body" };
    await own.openPullRequest(NAME, pull);
    expect(repository.pulls).toMatchObject([{ author: "jane" }]);

    const told: unknown[] = [];
    for (const [status, body] of [
      [
        422,
        {
          message: "Validation Failed: a secret title, secret-token-of-jane",
          errors: [{ value: "a secret body" }],
        },
      ],
      [401, { message: "secret-token-of-jane is no token" }],
      [403, { message: "a secret body" }],
      [500, { message: "a secret title" }],
      [0, undefined],
      [200, "a secret title"],
    ] as const) {
      person.failNext(open, { status, body });
      told.push(
        await own.openPullRequest(NAME, { ...pull, head: `b${status}` }).catch((error: unknown) => error),
      );
    }
    expect(told.every((each) => each instanceof Error)).toBe(true);
    const text = inspect(told, { depth: 20, showHidden: true });
    for (const secret of SECRETS) expect(text).not.toContain(secret);
    expect(inspect(own, { depth: 20, showHidden: true })).not.toContain("secret-token");
    for (const token of ["", "a\r\nX: y", "ü", "x".repeat(1025)])
      expect(() => own.withToken(token)).toThrow(failing("forge/refused", /no token/));
  });

  it("gives its credentials for Git, in turn where it can", async () => {
    const passwords = [await forge.gitCredentials(), await forge.gitCredentials()].map(
      (each) => each?.password,
    );
    expect(new Set(passwords)).toEqual(new Set(["secret-token-1", "secret-token-2"]));
  });
});

it("has forks that Git can push to, by the fork's credentials and no others", async () => {
  const { forge: server, git, addRepository, close } = await startForgeWithGit(startGitea);
  const workspace = createWorkspace();
  try {
    const upstream = await addRepository({ owner: "ada", name: "engine" });
    const forge = await createForge(server.settings);
    const { cloneUrl = "" } = (await forge.find(NAME)) ?? {};
    const fork = await forge.fork(NAME);
    expect([cloneUrl, fork.cloneUrl]).toEqual([git.urlOf("ada/engine"), git.urlOf("bot/engine")]);
    await workspace.run("clone", "-q", cloneUrl, ".");
    const { username, password } = fork.credentials;
    const signedIn = (url: string): string => url.replace("http://", `http://${username}:${password}@`);
    await workspace.run("push", "-q", signedIn(fork.cloneUrl), "main:gitgost-1");
    expect((await workspace.try("push", "-q", signedIn(cloneUrl), "main:gitgost-1")).status).not.toBe(0);
    expect((await workspace.try("push", "-q", fork.cloneUrl, "main:gitgost-2")).status).not.toBe(0);
    await forge.openPullRequest(NAME, { fork, head: "gitgost-1", base: "main", title: "t", body: "" });
    expect(upstream.pulls).toHaveLength(1);
    expect(server.violations).toEqual([]);
  } finally {
    removeDirectory(workspace);
    await close();
  }
});

describe("GitHub's pace", () => {
  it("keeps writers waiting, but nobody who has left", async () => {
    const server = await startGitHub();
    server.state.add({ owner: "ada", name: "engine" });
    const forge = await createForge({ ...server.settings, isPaced: true });
    await forge.openIssue(NAME, { title: "one", body: "" });
    const leaving = new AbortController();
    const second = forge.openIssue(NAME, { title: "two", body: "" }, { signal: leaving.signal });
    setImmediate(() => leaving.abort());
    await expect(second).rejects.toThrow(failing("base/aborted"));
    expect(server.requests.filter(({ operation }) => operation.startsWith("POST"))).toHaveLength(1);
    await server.close();
    expect(server.violations).toEqual([]);
  });
});

describe("what forges publish of their APIs", () => {
  const DESCRIBED = [
    ["github", "/repos/{owner}/{repo}/pulls", "head"],
    ["gitea", "/repos/{owner}/{repo}/pulls", "head"],
    ["forgejo", "/repos/{owner}/{repo}/pulls", "head"],
    ["gitlab", "/projects/{id}/merge_requests", "source_branch"],
  ] as const;
  const GOOD = { title: "t", base: "b", head: "h", target_branch: "b", source_branch: "h" };

  it.each(DESCRIBED)("is held to: %s", (name, path, head) => {
    const api = createCheckedApi([readDescription(name)]);
    const nothing = new URLSearchParams();
    const fields =
      name === "gitlab" ? ["title", "target_branch", "source_branch"] : ["title", "base", "head"];
    const body: Record<string, unknown> = Object.fromEntries(
      Object.entries(GOOD).filter(([key]) => fields.includes(key)),
    );
    const open = `POST ${path}`;
    expect(api.wrongRequest(open, nothing, body)).toBe("");
    expect(api.wrongRequest(open, nothing, { ...body, titel: "t" })).toMatch(/additional properties/);
    expect(api.wrongRequest(open, nothing, { ...body, [head]: 5 })).toMatch(/must be string/);
    expect(api.wrongRequest(`GET ${path}`, new URLSearchParams({ state: "all" }), undefined)).toBe("");
    expect(api.wrongRequest(`GET ${path}`, new URLSearchParams({ state: "ajar" }), undefined)).not.toBe("");
    expect(api.wrongRequest(`GET ${path}`, new URLSearchParams({ stat: "all" }), undefined)).toMatch(
      /knows no/,
    );
    const answer = api.filled(open, 201, { state: name === "gitlab" ? "opened" : "open", title: "t" });
    expect(api.wrongAnswer(open, 201, answer)).toBe("");
    expect(api.wrongAnswer(open, 201, { ...(answer as object), titel: "t" })).toMatch(
      /additional properties/,
    );
    expect(api.wrongAnswer(open, 201, { ...(answer as object), title: 5 })).toMatch(/must be string/);
    expect(api.wrongAnswer(open, 299, answer)).toMatch(/does not answer 299/);
    expect(api.match("GET", "/nothing/of/the/kind")).toBeUndefined();
  });
});

describe("settings of a forge", () => {
  it.each([
    [{ name: "gt" }, /host/],
    [{ name: "gh", webUrl: "ftp://github.com" }, /address/],
    [{ name: "gh", apiUrl: "https://user:pass@github.com" }, /address/],
    [{ name: "gh", tokens: ["a\nb"] }, /token/],
    [{ name: "gh", tokens: [""] }, /token/],
    [{ name: "gh", allowAddresses: ["everything"] }, /everything/],
  ] as const)("are refused: %j", async (settings, why) => {
    await expect(createForge(settings)).rejects.toThrow(failing("server/bad-configuration", why));
  });

  it("know where the APIs are", () => {
    const apiOf = (settings: ForgeSettings): string => forgePlace(settings).apiUrl;
    expect(apiOf({ name: "gh" })).toBe("https://api.github.com");
    expect(apiOf({ name: "gh", webUrl: "https://github.example.org/" })).toBe(
      "https://github.example.org/api/v3",
    );
    expect(apiOf({ name: "gl" })).toBe("https://gitlab.com");
    expect(apiOf({ name: "gt", host: "git.example.org:3000" })).toBe("https://git.example.org:3000");
  });

  it("know where the forges are", async () => {
    for (const [name, host] of [
      ["gh", "github.com"],
      ["gl", "gitlab.com"],
      ["cb", "codeberg.org"],
    ] as const)
      expect(await createForge({ name })).toMatchObject({ name, host });
    expect(await createForge({ name: "gt", host: "git.example.org" })).toMatchObject({
      host: "git.example.org",
    });
  });
});
