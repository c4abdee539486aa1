/**
 * GitHub, and GitHub Enterprise Server, by Octokit. Its throttling plugin keeps the pace that GitHub asks writers for; limits,
 * accounts and retries are ForgeCaller's. Discussions are in GraphQL alone.
 */
import { Octokit } from "@octokit/rest";
import { throttling } from "@octokit/plugin-throttling";
import { createHash } from "node:crypto";
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
import { ForgeRefusal } from "./forge-refusal.js";
import type { ForgePlace } from "./forge-settings.js";
import { forgeBody, forgeTitle } from "./forge-text.js";
import { Answer, answers, branchName } from "./read-answer.js";
import { createOwnTokenPool, type TokenPool } from "./token-pool.js";

const Client = Octokit.plugin(throttling);
type Client = InstanceType<typeof Client>;

const silent = (): void => undefined;

/** GitHub signs one in by the token alone. */
const USERNAME = "x-access-token";

const TEMPLATE_DIRECTORY = ".github/ISSUE_TEMPLATE";
const SINGLE_TEMPLATES = [".github/ISSUE_TEMPLATE.md", "ISSUE_TEMPLATE.md", "docs/ISSUE_TEMPLATE.md"];

export function createGitHubForge(place: ForgePlace, pool: TokenPool): Forge {
  const { webUrl, gitUrl, host } = place;
  const caller = createForgeCaller(place, pool);
  const { ask, find } = caller;

  const client = ({ token, fetch }: Access): Client =>
    new Client({
      baseUrl: place.apiUrl,
      userAgent: "gitwharf",
      ...(token === undefined ? {} : { auth: token }),
      request: { fetch },
      log: { debug: silent, info: silent, warn: silent, error: silent },
      throttle: {
        enabled: place.isPaced,
        // One line of writers for each account; the token itself is in no list.
        id: `${place.apiUrl} ${createHash("sha256")
          .update(token ?? "")
          .digest("base64url")
          .slice(0, 12)}`,
        onRateLimit: () => false,
        onSecondaryRateLimit: () => false,
      },
    });
  const whoAmI = async (access: Access): Promise<string> =>
    new Answer((await client(access).rest.users.getAuthenticated()).data, "user").name("login");

  const pullUrl = ({ owner, repo }: UpstreamName, number: number): string =>
    `${webUrl}/${owner}/${repo}/pull/${number}`;
  const readPull = (name: UpstreamName, pull: Answer): PullRequest => {
    const number = pull.count("number");
    return {
      number,
      url: pullUrl(name, number),
      state: pull.has("merged_at") ? "merged" : pull.text("state") === "open" ? "open" : "closed",
      title: pull.text("title"),
      comments: pull.has("comments") ? pull.count("comments") : 0,
      updatedAtMs: pull.timeMs("updated_at"),
    };
  };

  async function hasBranch(
    { owner, repo }: UpstreamName,
    branch: string,
    { signal, token }: { readonly signal?: AbortSignal | undefined; readonly token?: string },
  ): Promise<boolean> {
    try {
      const found = await find({ what: "look for a branch", signal, token }, async (access) =>
        client(access).rest.git.getRef({ owner, repo, ref: `heads/${branch}` }),
      );
      return found !== undefined;
    } catch (error) {
      // 409: a repository without commits, or one that is being made.
      if (error instanceof GitwharfError && error.details["status"] === 409) return false;
      throw error;
    }
  }

  async function repository(
    { owner, repo }: UpstreamName,
    asked: { readonly signal?: AbortSignal | undefined; readonly token?: string },
  ): Promise<Answer | undefined> {
    return find(
      { what: "show a repository", ...asked },
      async (access) => new Answer((await client(access).rest.repos.get({ owner, repo })).data, "repository"),
    );
  }

  async function list(
    { owner, repo }: UpstreamName,
    path: string,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    return find(
      { what: "show a file", signal },
      async (access) => (await client(access).rest.repos.getContent({ owner, repo, path })).data,
    );
  }

  async function discussionId(
    { owner, repo }: UpstreamName,
    number: number,
    asked: { readonly signal: AbortSignal | undefined; readonly token: string },
  ): Promise<string> {
    const data = await ask({ what: "find a discussion", isRepeatable: true, ...asked }, async (access) =>
      graphql(client(access), DISCUSSION, { owner, repo, number }),
    );
    return new Answer(data, "data").at("repository").at("discussion").text("id");
  }

  const forge: Forge = {
    name: place.name,
    host,
    async find(name, { signal } = {}): Promise<UpstreamRepository | undefined> {
      const found = await repository(name, { signal });
      if (found === undefined) return undefined;
      const renamed = { owner: found.at("owner").name("login"), repo: found.name("name") };
      const defaultBranch = branchName(found.text("default_branch"), "repository.default_branch");
      const sizeBytes = found.count("size") * 1024;
      return {
        ...renamed,
        defaultBranch,
        sizeBytes,
        // A small one is 0 kibibytes, too.
        isEmpty: sizeBytes === 0 && !(await hasBranch(renamed, defaultBranch, { signal })),
        isArchived: found.flag("archived"),
        isPrivate: found.flag("private"),
        cloneUrl: `${gitUrl}/${renamed.owner}/${renamed.repo}.git`,
        htmlUrl: `${webUrl}/${renamed.owner}/${renamed.repo}`,
      };
    },
    async readFile(name, path, { signal } = {}) {
      const found = await list(name, path, signal);
      return found === undefined || Array.isArray(found) ? undefined : readContent(found, FILE_BYTES_MAX);
    },
    async fork(name, { signal, account: wanted } = {}) {
      const { token, account } = await caller.signIn(wanted, signal, whoAmI);
      const upstream = await repository(name, { signal, token });
      if (upstream === undefined)
        throw new GitwharfError("forge/not-found", `${host} has no such repository to fork`);
      const { owner, repo } = name;
      // It answers with the fork that there is, where there is one; asking twice makes no second.
      const made = await ask(
        { what: "fork the repository", signal, token, isRepeatable: true },
        async (access) =>
          new Answer(
            (await client(access).rest.repos.createFork({ owner, repo, default_branch_only: true })).data,
            "fork",
          ),
      );
      const fork = { owner: made.at("owner").name("login"), repo: made.name("name") };
      const branch = branchName(upstream.text("default_branch"), "repository.default_branch");
      const whole = await caller.poll(signal, async () => {
        const found = await repository(fork, { signal, token });
        return found !== undefined && (await hasBranch(fork, branch, { signal, token })) ? found : undefined;
      });
      if (whole === undefined)
        throw new GitwharfError(
          "forge/unreachable",
          `${host} did not make the fork within ${place.forkTimeoutMs} ms`,
        );
      if (fork.owner.toLowerCase() !== account.toLowerCase() || !isForkOf(whole, upstream))
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
      const found = await ask({ what: "list pull requests", signal, isRepeatable: true }, async (access) =>
        client(access).rest.pulls.list({
          ...ownerAndRepo(name),
          head: `${fork.owner}:${head}`,
          state: "all",
          sort: "created",
          direction: "desc",
          per_page: 10,
        }),
      );
      const own = answers(found.data, "pulls").filter((pull) => isOf(pull, fork, head));
      return preferOpen(own.map((pull) => readPull(name, pull)));
    },
    async openPullRequest(name, { fork, head, base, title, body }, { signal } = {}) {
      const { token } = await caller.signIn(fork.owner, signal, whoAmI);
      const already = await forge.findPullRequest(name, { fork, head }, { ...(signal && { signal }) });
      if (already?.state === "open") return already;
      const opened = await ask({ what: "open a pull request", signal, token }, async (access) =>
        client(access).rest.pulls.create({
          ...ownerAndRepo(name),
          title: forgeTitle(title),
          body: forgeBody(body),
          head: `${fork.owner}:${head}`,
          base,
          maintainer_can_modify: true,
        }),
      );
      return readPull(name, new Answer(opened.data, "pull"));
    },
    async pullRequest(name, number, { signal } = {}) {
      const found = await find({ what: "show a pull request", signal }, async (access) =>
        client(access).rest.pulls.get({ ...ownerAndRepo(name), pull_number: number }),
      );
      return found === undefined ? undefined : readPull(name, new Answer(found.data, "pull"));
    },
    async closePullRequest(name, number, { signal } = {}) {
      const about = { ...ownerAndRepo(name), pull_number: number };
      const found = await ask({ what: "show a pull request", signal, isRepeatable: true }, async (access) =>
        client(access).rest.pulls.get(about),
      );
      const pull = new Answer(found.data, "pull");
      if (pull.text("state") === "closed") return;
      const { token } = await caller.signIn(pull.at("user").text("login"), signal, whoAmI);
      await ask({ what: "close a pull request", signal, token, isRepeatable: true }, async (access) =>
        client(access).rest.pulls.update({ ...about, state: "closed" }),
      );
    },
    async openIssue(name, { title, body, labels = [] }, { signal } = {}) {
      const { token } = await caller.signIn(undefined, signal, whoAmI);
      const opened = await ask({ what: "open an issue", signal, token }, async (access) =>
        client(access).rest.issues.create({
          ...ownerAndRepo(name),
          title: forgeTitle(title),
          body: forgeBody(body),
          labels: [...labels],
        }),
      );
      const number = new Answer(opened.data, "issue").count("number");
      return { number, url: `${webUrl}/${name.owner}/${name.repo}/issues/${number}` };
    },
    async comment(name, { on, number, body }, { signal } = {}) {
      const { token, account } = await caller.signIn(undefined, signal, whoAmI);
      if (on === "discussion") {
        const discussion = await discussionId(name, number, { signal, token });
        const data = await ask({ what: "comment on a discussion", signal, token }, async (access) =>
          graphql(client(access), ADD_COMMENT, { discussion, body: forgeBody(body) }),
        );
        const made = new Answer(data, "data").at("addDiscussionComment").at("comment");
        return {
          id: `${account}/discussion/${made.text("id")}`,
          url: `${webUrl}/${name.owner}/${name.repo}/discussions/${number}#discussioncomment-${made.count("databaseId")}`,
        };
      }
      const made = await ask({ what: "comment", signal, token }, async (access) =>
        client(access).rest.issues.createComment({
          ...ownerAndRepo(name),
          issue_number: number,
          body: forgeBody(body),
        }),
      );
      const id = new Answer(made.data, "comment").count("id");
      const kind = on === "pull" ? "pull" : "issues";
      return {
        id: `${account}/issue/${id}`,
        url: `${webUrl}/${name.owner}/${name.repo}/${kind}/${number}#issuecomment-${id}`,
      };
    },
    async deleteComment(name, id, { signal } = {}) {
      const [, account, kind, comment = ""] = /^([^/]+)\/(issue|discussion)\/(.+)$/.exec(id) ?? [];
      if (account === undefined) throw new GitwharfError("forge/not-found", `there is no comment '${id}'`);
      const { token } = await caller.signIn(account, signal, whoAmI);
      await find({ what: "delete a comment", signal, token }, async (access) =>
        kind === "discussion"
          ? graphql(client(access), DELETE_COMMENT, { id: comment })
          : client(access).rest.issues.deleteComment({ ...ownerAndRepo(name), comment_id: Number(comment) }),
      );
    },
    async issueTemplates(name, { signal } = {}) {
      const call = { ...(signal && { signal }) };
      const listed = await list(name, TEMPLATE_DIRECTORY, signal);
      const names = Array.isArray(listed)
        ? answers(listed, "contents").flatMap((each) =>
            each.text("type") === "file" ? [each.text("name")] : [],
          )
        : [];
      const paths = names
        .filter((file) => /^(?!config\.ya?ml$)[^/]{1,200}\.(?:md|ya?ml)$/.test(file))
        .toSorted()
        .slice(0, TEMPLATES_MAX)
        .map((file) => `${TEMPLATE_DIRECTORY}/${file}`);
      const templates: IssueTemplate[] = [];
      for (const path of paths.length > 0 ? paths : SINGLE_TEMPLATES) {
        const body = await forge.readFile(name, path, call);
        if (body === undefined) continue;
        const kind = path.endsWith(".md") ? "markdown" : "form";
        templates.push({ name: path.slice(path.lastIndexOf("/") + 1), body: body.toString("utf8"), kind });
      }
      return templates;
    },
    async gitCredentials() {
      const token = pool.take();
      return token === undefined ? undefined : { username: USERNAME, password: token };
    },
    withToken: (token) => createGitHubForge(place, createOwnTokenPool(token, host)),
  };
  return forge;
}

function ownerAndRepo({ owner, repo }: UpstreamName): UpstreamName {
  return { owner, repo };
}

/** Of the same network: GitHub gives an account one fork in it, which may be a fork of a fork. */
function isForkOf(fork: Answer, upstream: Answer): boolean {
  if (!fork.flag("fork")) return false;
  const root = (upstream.maybe("source") ?? upstream).count("id");
  return (
    fork.maybe("source")?.count("id") === root || fork.maybe("parent")?.count("id") === upstream.count("id")
  );
}

function isOf(pull: Answer, fork: ForkName, branch: string): boolean {
  const head = pull.at("head");
  return (
    head.text("ref") === branch &&
    head.maybe("user")?.text("login").toLowerCase() === fork.owner.toLowerCase()
  );
}

const DISCUSSION = `query ($owner: String!, $repo: String!, $number: Int!) {
  repository(owner: $owner, name: $repo) { discussion(number: $number) { id } }
}`;
const ADD_COMMENT = `mutation ($discussion: ID!, $body: String!) {
  addDiscussionComment(input: { discussionId: $discussion, body: $body }) { comment { id databaseId } }
}`;
const DELETE_COMMENT = `mutation ($id: ID!) {
  deleteDiscussionComment(input: { id: $id }) { comment { id } }
}`;

/** What it refuses, GraphQL says with 200. */
async function graphql(
  client: Client,
  query: string,
  variables: Record<string, string | number>,
): Promise<unknown> {
  try {
    return await client.graphql(query, variables);
  } catch (error) {
    const errors: unknown = error instanceof Error ? Reflect.get(error, "errors") : undefined;
    if (!Array.isArray(errors)) throw error;
    const types = errors.map((each: unknown): unknown => Reflect.get(Object(each), "type"));
    if (types.includes("RATE_LIMITED")) throw new ForgeRefusal(429, {}, "");
    throw new ForgeRefusal(types.includes("NOT_FOUND") ? 404 : 403, {}, "");
  }
}
