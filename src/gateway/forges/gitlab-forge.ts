/** GitLab, by gitbeaker's resources over a requester of ours. Merge requests are pull requests here. */
import {
  IssueNotes,
  Issues,
  MergeRequestNotes,
  MergeRequests,
  Projects,
  ProjectTemplates,
  RepositoryFiles,
  Users,
} from "@gitbeaker/core";
import { createRequesterFn } from "@gitbeaker/requester-utils";
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

interface Asked {
  readonly signal?: AbortSignal | undefined;
  readonly token?: string;
}

/** Whatever the account is, GitLab signs a token in under this name. */
const USERNAME = "oauth2";
/** Its type knows of no pages; without one, gitbeaker follows them to the last. */
const FIRST_FORKS = { page: 1, perPage: 50 };
const PULLS_MAX = 20;

export function createGitLabForge(place: ForgePlace, pool: TokenPool): Forge {
  const { webUrl, gitUrl, host } = place;
  const caller = createForgeCaller(place, pool);
  const { ask, find } = caller;

  /** What each of gitbeaker's resources is made with. */
  const options = ({ token, fetch }: Access) => ({
    host: place.apiUrl,
    ...(token === undefined ? {} : { oauthToken: token }),
    // Their limits and times are ForgeCaller's.
    rateLimits: {},
    queryTimeout: null,
    requesterFn: createRequesterFn(
      async (_service, request) => request,
      async (endpoint, request = {}) => askWith(fetch, endpoint, request),
    ),
  });
  const whoAmI = async (access: Access): Promise<string> =>
    new Answer(await new Users(options(access)).showCurrentUser(), "user").name("username");

  const pageOf = ({ owner, repo }: UpstreamName): string => `${webUrl}/${owner}/${repo}`;
  const readPull = (name: UpstreamName, pull: Answer): PullRequest => {
    const number = pull.count("iid");
    const state = pull.text("state");
    return {
      number,
      url: `${pageOf(name)}/-/merge_requests/${number}`,
      state: state === "merged" ? "merged" : state === "opened" ? "open" : "closed",
      title: pull.text("title"),
      comments: pull.has("user_notes_count") ? pull.count("user_notes_count") : 0,
      updatedAtMs: pull.timeMs("updated_at"),
    };
  };

  async function project(name: ForkName, asked: Asked): Promise<Answer | undefined> {
    return find(
      { what: "show a repository", ...asked },
      async (access) => new Answer(await new Projects(options(access)).show(idOf(name)), "project"),
    );
  }

  async function mergeRequest(name: UpstreamName, number: number, asked: Asked): Promise<Answer | undefined> {
    return find(
      { what: "show a pull request", ...asked },
      async (access) =>
        new Answer(await new MergeRequests(options(access)).show(idOf(name), number), "merge_request"),
    );
  }

  async function existingFork(
    name: UpstreamName,
    account: string,
    asked: Asked,
  ): Promise<Answer | undefined> {
    const forks = await ask({ what: "list forks", isRepeatable: true, ...asked }, async (access) =>
      new Projects(options(access)).allForks(idOf(name), { owned: true, ...FIRST_FORKS }),
    );
    return answers(forks, "forks").find((fork) =>
      sameAccount(fork.at("namespace").text("full_path"), account),
    );
  }

  async function makeFork(name: UpstreamName, account: string, asked: Asked): Promise<Answer | undefined> {
    // The second where a repository that is none of ours has the first.
    for (const path of [name.repo, `${name.repo.slice(0, 60)}-of-${name.owner.slice(0, 35)}`]) {
      if ((await project({ owner: account, repo: path }, asked)) !== undefined) continue;
      const made = await ask({ what: "fork the repository", ...asked }, async (access) =>
        new Projects(options(access)).fork(idOf(name), { namespacePath: account, path, name: path }),
      );
      return new Answer(made, "fork");
    }
    return undefined;
  }

  const forge: Forge = {
    name: place.name,
    host,
    async find(name, { signal } = {}): Promise<UpstreamRepository | undefined> {
      const found = await project(name, { signal });
      if (found === undefined) return undefined;
      const renamed = nameOf(found);
      // Who is not signed in is told less.
      const isEmpty = found.has("empty_repo") ? found.flag("empty_repo") : !found.has("default_branch");
      const size = found.maybe("statistics");
      return {
        ...renamed,
        defaultBranch: found.has("default_branch")
          ? branchName(found.text("default_branch"), "project.default_branch")
          : "main",
        sizeBytes: size?.has("repository_size") ? size.count("repository_size") : undefined,
        isEmpty,
        isArchived: found.has("archived") && found.flag("archived"),
        isPrivate: found.has("visibility") && found.text("visibility") !== "public",
        cloneUrl: `${gitUrl}/${renamed.owner}/${renamed.repo}.git`,
        htmlUrl: pageOf(renamed),
      };
    },
    async readFile(name, path, { signal } = {}) {
      const found = await find({ what: "show a file", signal }, async (access) =>
        new RepositoryFiles(options(access)).show(idOf(name), path, "HEAD"),
      );
      return found === undefined ? undefined : readContent(found, FILE_BYTES_MAX);
    },
    async fork(name, { signal, account: wanted } = {}) {
      const { token, account } = await caller.signIn(wanted, signal, whoAmI);
      const asked = { signal, token };
      const upstream = await project(name, asked);
      if (upstream === undefined)
        throw new GitwharfError("forge/not-found", `${host} has no such repository to fork`);
      const made = (await existingFork(name, account, asked)) ?? (await makeFork(name, account, asked));
      const fork = made === undefined ? undefined : nameOf(made);
      const whole =
        fork &&
        (await caller.poll(signal, async () => {
          const found = await project(fork, asked);
          return found !== undefined && hasEnded(found) ? found : undefined;
        }));
      if (fork !== undefined && whole === undefined)
        throw new GitwharfError(
          "forge/unreachable",
          `${host} did not make the fork within ${place.forkTimeoutMs} ms`,
        );
      const isGood =
        whole?.maybe("forked_from_project")?.count("id") === upstream.count("id") && !hasFailed(whole);
      if (fork === undefined || !isGood || !sameAccount(fork.owner, account))
        throw new GitwharfError(
          "forge/refused",
          `what ${host} has of that name in our account is no fork of the repository`,
        );
      return {
        ...fork,
        cloneUrl: `${gitUrl}/${fork.owner}/${fork.repo}.git`,
        credentials: { username: USERNAME, password: token },
      };
    },
    async findPullRequest(name, { fork, head }, { signal } = {}) {
      const source = await project(fork, { signal });
      if (source === undefined) return undefined;
      const listed = await ask({ what: "list pull requests", signal, isRepeatable: true }, async (access) =>
        new MergeRequests(options(access)).all({
          projectId: idOf(name),
          sourceBranch: head,
          page: 1,
          perPage: PULLS_MAX,
        }),
      );
      const own = answers(listed, "merge_requests").filter(
        (pull) =>
          pull.text("source_branch") === head && pull.maybeCount("source_project_id") === source.count("id"),
      );
      return preferOpen(own.map((pull) => readPull(name, pull)));
    },
    async openPullRequest(name, { fork, head, base, title, body }, { signal } = {}) {
      const { token } = await caller.signIn(fork.owner, signal, whoAmI);
      const already = await forge.findPullRequest(name, { fork, head }, { ...(signal && { signal }) });
      if (already?.state === "open") return already;
      const target = await project(name, { signal, token });
      if (target === undefined) throw new GitwharfError("forge/not-found", `${host} has no such repository`);
      const opened = await ask({ what: "open a pull request", signal, token }, async (access) =>
        new MergeRequests(options(access)).create(idOf(fork), head, base, forgeTitle(title), {
          targetProjectId: target.count("id"),
          description: forgeBody(body),
          allowCollaboration: true,
        }),
      );
      return readPull(name, new Answer(opened, "merge_request"));
    },
    async pullRequest(name, number, { signal } = {}) {
      const found = await mergeRequest(name, number, { signal });
      return found === undefined ? undefined : readPull(name, found);
    },
    async closePullRequest(name, number, { signal } = {}) {
      const found = await mergeRequest(name, number, { signal });
      if (found === undefined)
        throw new GitwharfError("forge/not-found", `${host} has no pull request ${number}`);
      if (found.text("state") !== "opened") return;
      const { token } = await caller.signIn(found.at("author").text("username"), signal, whoAmI);
      await ask({ what: "close a pull request", signal, token, isRepeatable: true }, async (access) =>
        new MergeRequests(options(access)).edit(idOf(name), number, { stateEvent: "close" }),
      );
    },
    async openIssue(name, { title, body, labels = [] }, { signal } = {}) {
      const { token } = await caller.signIn(undefined, signal, whoAmI);
      const opened = await ask({ what: "open an issue", signal, token }, async (access) =>
        new Issues(options(access)).create(idOf(name), forgeTitle(title), {
          description: forgeBody(body),
          ...(labels.length > 0 && { labels: labels.map((label) => label.replaceAll(",", " ")).join(",") }),
        }),
      );
      const number = new Answer(opened, "issue").count("iid");
      return { number, url: `${pageOf(name)}/-/issues/${number}` };
    },
    async comment(name, { on, number, body }, { signal } = {}) {
      if (on === "discussion") throw new GitwharfError("forge/refused", `${host} has no discussions`);
      const { token, account } = await caller.signIn(undefined, signal, whoAmI);
      const made = await ask({ what: "comment", signal, token }, async (access) =>
        on === "pull"
          ? new MergeRequestNotes(options(access)).create(idOf(name), number, forgeBody(body))
          : new IssueNotes(options(access)).create(idOf(name), number, forgeBody(body)),
      );
      const id = new Answer(made, "note").count("id");
      const kind = on === "pull" ? "merge_requests" : "issues";
      return {
        id: `${account}/${on}/${number}/${id}`,
        url: `${pageOf(name)}/-/${kind}/${number}#note_${id}`,
      };
    },
    async deleteComment(name, id, { signal } = {}) {
      const [, account, on, number, note] = /^([^/]+)\/(issue|pull)\/(\d{1,15})\/(\d{1,15})$/.exec(id) ?? [];
      if (account === undefined) throw new GitwharfError("forge/not-found", `there is no comment '${id}'`);
      const { token } = await caller.signIn(account, signal, whoAmI);
      await find({ what: "delete a comment", signal, token }, async (access) =>
        on === "pull"
          ? new MergeRequestNotes(options(access)).remove(idOf(name), Number(number), Number(note))
          : new IssueNotes(options(access)).remove(idOf(name), Number(number), Number(note)),
      );
    },
    async issueTemplates(name, { signal } = {}) {
      const listed = await find({ what: "list templates", signal }, async (access) =>
        new ProjectTemplates(options(access)).all(idOf(name), "issues", { page: 1, perPage: TEMPLATES_MAX }),
      );
      const templates: IssueTemplate[] = [];
      for (const each of answers(listed ?? [], "templates").slice(0, TEMPLATES_MAX)) {
        const key = each.text("key");
        const found = await find({ what: "show a template", signal }, async (access) =>
          new ProjectTemplates(options(access)).show(idOf(name), "issues", key),
        );
        if (found === undefined) continue;
        const body = new Answer(found, "template").text("content");
        if (body.length <= FILE_BYTES_MAX) templates.push({ name: key, body, kind: "markdown" });
      }
      return templates;
    },
    async gitCredentials() {
      const token = pool.take();
      return token === undefined ? undefined : { username: USERNAME, password: token };
    },
    withToken: (token) => createGitLabForge(place, createOwnTokenPool(token, host)),
  };
  return forge;
}

/** gitbeaker escapes the slash. */
function idOf({ owner, repo }: ForkName): string {
  return `${owner}/${repo}`;
}

/** Of a group in a group the gateway's addresses know nothing: its path is no name. */
function nameOf(project: Answer): ForkName {
  return { owner: project.at("namespace").name("full_path"), repo: project.name("path") };
}

/** A copy is made by a job. Who may not know how it goes is told of the repository alone. */
function hasEnded(project: Answer): boolean {
  if (hasFailed(project)) return true;
  if (project.has("import_status")) return ["finished", "none"].includes(project.text("import_status"));
  return project.has("empty_repo") && !project.flag("empty_repo");
}

function hasFailed(project: Answer): boolean {
  return project.has("import_status") && project.text("import_status") === "failed";
}

function sameAccount(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/** gitbeaker's own asks by the global fetch, and ten times where it is told to wait. */
async function askWith(
  fetch: Access["fetch"],
  endpoint: string,
  request: Readonly<Record<string, unknown>>,
): Promise<{ body: Record<string, unknown>; headers: Record<string, string>; status: number }> {
  const { prefixUrl, searchParams, method, headers, body } = request;
  const url = new URL(endpoint, `${String(prefixUrl).replace(/\/$/, "")}/`);
  if (typeof searchParams === "string") url.search = searchParams;
  const response = await fetch(url, {
    method: String(method),
    headers: headers as Record<string, string>,
    ...(typeof body === "string" ? { body } : {}),
  });
  const text = await response.text();
  return {
    body: (text === "" ? null : JSON.parse(text)) as Record<string, unknown>,
    headers: Object.fromEntries(response.headers.entries()),
    status: response.status,
  };
}
