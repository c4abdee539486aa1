/**
 * Gitea, Forgejo and Codeberg, by gitea-js: what is asked here is the same in all of them (tests hold it to the
 * descriptions of Gitea and of Forgejo).
 */
import { giteaApi } from "gitea-js";
import { GitwharfError } from "../../base/errors.js";
import type { UpstreamName } from "../upstream-name.js";
import {
  FILE_BYTES_MAX,
  type Forge,
  type ForkName,
  type IssueTemplate,
  type PullRequest,
  preferOpen,
  TEMPLATES_MAX,
  type UpstreamRepository,
} from "./forge.js";
import { type Access, createForgeCaller } from "./forge-caller.js";
import { readContent } from "./forge-file.js";
import type { ForgePlace } from "./forge-settings.js";
import { forgeBody, forgeTitle } from "./forge-text.js";
import { Answer, answers, branchName } from "./read-answer.js";
import { createOwnTokenPool, type TokenPool } from "./token-pool.js";

type Client = ReturnType<typeof giteaApi>;
interface Asked {
  readonly signal?: AbortSignal | undefined;
  readonly token?: string;
}

/** A pull request of ours is among those that moved last. */
const PULLS_A_PAGE = 30;
const PULL_PAGES_MAX = 10;
const FORKS_A_PAGE = 50;
const FORK_PAGES_MAX = 10;
const LABELS_MAX = 50;

export function createGiteaForge(place: ForgePlace, pool: TokenPool): Forge {
  const { webUrl, gitUrl, host } = place;
  const caller = createForgeCaller(place, pool);
  const { ask, find } = caller;

  const client = ({ token, fetch }: Access): Client =>
    giteaApi(place.apiUrl, {
      // Its type is that of a browser's fetch; texts are all that it asks with.
      customFetch: fetch as typeof globalThis.fetch,
      ...(token === undefined ? {} : { token }),
    });
  const whoAmI = async (access: Access): Promise<string> =>
    new Answer((await client(access).user.userGetCurrent()).data, "user").name("login");

  const pageOf = ({ owner, repo }: UpstreamName): string => `${webUrl}/${owner}/${repo}`;
  const readPull = (name: UpstreamName, pull: Answer): PullRequest => {
    const number = pull.count("number");
    const isMerged = pull.has("merged") && pull.flag("merged");
    return {
      number,
      url: `${pageOf(name)}/pulls/${number}`,
      state: isMerged ? "merged" : pull.text("state") === "open" ? "open" : "closed",
      title: pull.text("title"),
      comments: pull.has("comments") ? pull.count("comments") : 0,
      updatedAtMs: pull.timeMs("updated_at"),
    };
  };

  async function repository({ owner, repo }: UpstreamName, asked: Asked): Promise<Answer | undefined> {
    return find(
      { what: "show a repository", ...asked },
      async (access) => new Answer((await client(access).repos.repoGet(owner, repo)).data, "repository"),
    );
  }

  async function pull(
    { owner, repo }: UpstreamName,
    number: number,
    asked: Asked,
  ): Promise<Answer | undefined> {
    return find(
      { what: "show a pull request", ...asked },
      async (access) =>
        new Answer((await client(access).repos.repoGetPullRequest(owner, repo, number)).data, "pull"),
    );
  }

  /** What an account has of an upstream: under its name, or under any other. */
  async function existingFork(
    { owner, repo }: UpstreamName,
    account: string,
    upstreamId: number,
    asked: Asked,
  ): Promise<Answer | undefined> {
    const sameName = await repository({ owner: account, repo }, asked);
    if (sameName !== undefined && isForkOf(sameName, upstreamId)) return sameName;
    for (let page = 1; page <= FORK_PAGES_MAX; page++) {
      const listed = await ask({ what: "list forks", isRepeatable: true, ...asked }, async (access) =>
        client(access).repos.listForks(owner, repo, { page, limit: FORKS_A_PAGE }),
      );
      const forks = answers(listed.data, "forks");
      const own = forks.find((fork) => sameAccount(fork.at("owner").text("login"), account));
      if (own !== undefined) return own;
      if (forks.length === 0) return undefined;
    }
    return undefined;
  }

  async function makeFork(name: UpstreamName, account: string, asked: Asked): Promise<Answer | undefined> {
    const { owner, repo } = name;
    // The second where a repository that is none of ours has the first.
    for (const own of [repo, `${repo.slice(0, 60)}-of-${owner.slice(0, 35)}`]) {
      if ((await repository({ owner: account, repo: own }, asked)) !== undefined) continue;
      const made = await ask({ what: "fork the repository", ...asked }, async (access) =>
        client(access).repos.createFork(owner, repo, { name: own }),
      );
      return new Answer(made.data, "fork");
    }
    return undefined;
  }

  async function labelIds(
    { owner, repo }: UpstreamName,
    labels: readonly string[],
    asked: Asked,
  ): Promise<number[]> {
    if (labels.length === 0) return [];
    const found = await find({ what: "list labels", ...asked }, async (access) =>
      client(access).repos.issueListLabels(owner, repo, { limit: LABELS_MAX }),
    );
    const wanted = new Set(labels.map((label) => label.toLowerCase()));
    return answers(found?.data ?? [], "labels")
      .filter((label) => wanted.has(label.text("name").toLowerCase()))
      .map((label) => label.count("id"));
  }

  const forge: Forge = {
    name: place.name,
    host,
    async find(name, { signal } = {}): Promise<UpstreamRepository | undefined> {
      const found = await repository(name, { signal });
      if (found === undefined) return undefined;
      const renamed = { owner: found.at("owner").name("login"), repo: found.name("name") };
      const isEmpty = found.flag("empty");
      return {
        ...renamed,
        // Of an empty one it may be none.
        defaultBranch:
          isEmpty && !found.has("default_branch")
            ? "main"
            : branchName(found.text("default_branch") || "main", "repository.default_branch"),
        sizeBytes: found.count("size") * 1024,
        isEmpty,
        isArchived: found.flag("archived"),
        isPrivate: found.flag("private"),
        cloneUrl: `${gitUrl}/${renamed.owner}/${renamed.repo}.git`,
        htmlUrl: pageOf(renamed),
      };
    },
    async readFile({ owner, repo }, path, { signal } = {}) {
      const found = await find({ what: "show a file", signal }, async (access) =>
        client(access).repos.repoGetContents(owner, repo, path.split("/").map(encodeURIComponent).join("/")),
      );
      // Of a directory it is a list.
      return found === undefined || Array.isArray(found.data)
        ? undefined
        : readContent(found.data, FILE_BYTES_MAX);
    },
    async fork(name, { signal, account: wanted } = {}) {
      const { token, account } = await caller.signIn(wanted, signal, whoAmI);
      const asked = { signal, token };
      const upstream = await repository(name, asked);
      if (upstream === undefined)
        throw new GitwharfError("forge/not-found", `${host} has no such repository to fork`);
      if (upstream.flag("empty"))
        throw new GitwharfError("forge/refused", `${host} forks no empty repository`);
      const upstreamId = upstream.count("id");
      const made =
        (await existingFork(name, account, upstreamId, asked)) ?? (await makeFork(name, account, asked));
      const fork =
        made === undefined ? undefined : { owner: made.at("owner").name("login"), repo: made.name("name") };
      const whole =
        fork &&
        (await caller.poll(signal, async () => {
          const found = await repository(fork, asked);
          // While it is copied it has nothing in it.
          return found === undefined || found.flag("empty") ? undefined : found;
        }));
      if (fork !== undefined && whole === undefined)
        throw new GitwharfError(
          "forge/unreachable",
          `${host} did not make the fork within ${place.forkTimeoutMs} ms`,
        );
      if (
        fork === undefined ||
        whole === undefined ||
        !isForkOf(whole, upstreamId) ||
        !sameAccount(fork.owner, account)
      )
        throw new GitwharfError(
          "forge/refused",
          `what ${host} has of that name in our account is no fork of the repository`,
        );
      return {
        ...fork,
        cloneUrl: `${gitUrl}/${fork.owner}/${fork.repo}.git`,
        credentials: { username: account, password: token },
      };
    },
    async findPullRequest(name, { fork, head }, { signal } = {}) {
      const { owner, repo } = name;
      for (let page = 1; page <= PULL_PAGES_MAX; page++) {
        const listed = await ask({ what: "list pull requests", signal, isRepeatable: true }, async (access) =>
          client(access).repos.repoListPullRequests(owner, repo, {
            state: "all",
            sort: "recentupdate",
            page,
            limit: PULLS_A_PAGE,
          }),
        );
        const pulls = answers(listed.data, "pulls");
        const own = preferOpen(
          pulls.filter((each) => isOf(each, fork, head)).map((each) => readPull(name, each)),
        );
        if (own !== undefined) return own;
        // A forge may give fewer than were asked for.
        if (pulls.length === 0) return undefined;
      }
      return undefined;
    },
    async openPullRequest(name, { fork, head, base, title, body }, { signal } = {}) {
      const { token } = await caller.signIn(fork.owner, signal, whoAmI);
      const already = await forge.findPullRequest(name, { fork, head }, { ...(signal && { signal }) });
      if (already?.state === "open") return already;
      const opened = await ask({ what: "open a pull request", signal, token }, async (access) =>
        client(access).repos.repoCreatePullRequest(name.owner, name.repo, {
          title: forgeTitle(title),
          body: forgeBody(body),
          // Of an account's fork, whatever its name.
          head: `${fork.owner}:${head}`,
          base,
        }),
      );
      return readPull(name, new Answer(opened.data, "pull"));
    },
    async pullRequest(name, number, { signal } = {}) {
      const found = await pull(name, number, { signal });
      return found === undefined ? undefined : readPull(name, found);
    },
    async closePullRequest(name, number, { signal } = {}) {
      const found = await pull(name, number, { signal });
      if (found === undefined)
        throw new GitwharfError("forge/not-found", `${host} has no pull request ${number}`);
      if (found.text("state") === "closed") return;
      const { token } = await caller.signIn(found.at("user").text("login"), signal, whoAmI);
      await ask({ what: "close a pull request", signal, token, isRepeatable: true }, async (access) =>
        client(access).repos.repoEditPullRequest(name.owner, name.repo, number, { state: "closed" }),
      );
    },
    async openIssue(name, { title, body, labels = [] }, { signal } = {}) {
      const { token } = await caller.signIn(undefined, signal, whoAmI);
      const ids = await labelIds(name, labels, { signal, token });
      const opened = await ask({ what: "open an issue", signal, token }, async (access) =>
        client(access).repos.issueCreateIssue(name.owner, name.repo, {
          title: forgeTitle(title),
          body: forgeBody(body),
          labels: ids,
        }),
      );
      const number = new Answer(opened.data, "issue").count("number");
      return { number, url: `${pageOf(name)}/issues/${number}` };
    },
    async comment(name, { on, number, body }, { signal } = {}) {
      if (on === "discussion") throw new GitwharfError("forge/refused", `${host} has no discussions`);
      const { token, account } = await caller.signIn(undefined, signal, whoAmI);
      const made = await ask({ what: "comment", signal, token }, async (access) =>
        client(access).repos.issueCreateComment(name.owner, name.repo, number, { body: forgeBody(body) }),
      );
      const id = new Answer(made.data, "comment").count("id");
      const kind = on === "pull" ? "pulls" : "issues";
      return { id: `${account}/issue/${id}`, url: `${pageOf(name)}/${kind}/${number}#issuecomment-${id}` };
    },
    async deleteComment(name, id, { signal } = {}) {
      const [, account, comment] = /^([^/]+)\/issue\/(\d{1,15})$/.exec(id) ?? [];
      if (account === undefined) throw new GitwharfError("forge/not-found", `there is no comment '${id}'`);
      const { token } = await caller.signIn(account, signal, whoAmI);
      await find({ what: "delete a comment", signal, token }, async (access) =>
        client(access).repos.issueDeleteComment(name.owner, name.repo, Number(comment)),
      );
    },
    async issueTemplates(name, { signal } = {}) {
      const listed = await find({ what: "list templates", signal }, async (access) =>
        client(access).repos.repoGetIssueTemplates(name.owner, name.repo),
      );
      const templates: IssueTemplate[] = [];
      for (const each of answers(listed?.data ?? [], "templates").slice(0, TEMPLATES_MAX)) {
        const file = each.text("file_name");
        const body = await forge.readFile(name, file, { ...(signal && { signal }) });
        if (body === undefined) continue;
        const kind = file.endsWith(".md") ? "markdown" : "form";
        templates.push({ name: file.slice(file.lastIndexOf("/") + 1), body: body.toString("utf8"), kind });
      }
      return templates;
    },
    async gitCredentials({ signal } = {}) {
      if (pool.size === 0) return undefined;
      const { token, account } = await caller.signIn(undefined, signal, whoAmI);
      return { username: account, password: token };
    },
    withToken: (token) => createGiteaForge(place, createOwnTokenPool(token, host)),
  };
  return forge;
}

function isForkOf(fork: Answer, upstreamId: number): boolean {
  return fork.flag("fork") && fork.maybe("parent")?.count("id") === upstreamId;
}

function isOf(pull: Answer, fork: ForkName, branch: string): boolean {
  const head = pull.at("head");
  const repository = head.maybe("repo");
  return (
    head.text("ref") === branch &&
    repository?.text("full_name").toLowerCase() === `${fork.owner}/${fork.repo}`.toLowerCase()
  );
}

function sameAccount(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}
