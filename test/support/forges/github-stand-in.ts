/** GitHub, as far as the gateway asks it: REST by GitHub's own description, discussions by hand (GraphQL is in none). */
import { readDescription } from "./forge-description.js";
import type { ForgeState, StandInPull, StandInRepository } from "./forge-state.js";
import {
  type Call,
  type Handlers,
  type Reply,
  type StandInForge,
  type StandInOptions,
  startStandIn,
} from "./stand-in-forge.js";

export async function startGitHub(options: StandInOptions = {}): Promise<StandInForge> {
  return startStandIn(
    {
      name: "gh",
      prefix: "",
      descriptions: [readDescription("github")],
      tokenOf: ({ headers }) => /^(?:token|bearer) (.+)$/i.exec(headers.authorization ?? "")?.[1] ?? "",
      handlers,
      other: (path, call, state) => (path === "/graphql" ? graphql(call, state) : undefined),
    },
    options,
  );
}

const NOT_FOUND: Reply = { status: 404, body: { message: "Not Found" } };

function handlers(state: ForgeState, options: Required<StandInOptions>, url: string): Handlers {
  const showAlone = (repository: StandInRepository): Record<string, unknown> => ({
    id: repository.id,
    name: repository.name,
    full_name: `${repository.owner}/${repository.name}`,
    owner: { login: repository.owner },
    private: repository.isPrivate,
    archived: repository.isArchived,
    default_branch: repository.defaultBranch,
    size: repository.sizeKiB,
    fork: repository.parent !== undefined,
  });
  const show = (repository: StandInRepository): Record<string, unknown> => ({
    ...showAlone(repository),
    ...(repository.parent && {
      parent: showAlone(repository.parent),
      source: showAlone(rootOf(repository)),
    }),
  });
  const showPull = (pull: StandInPull, isWhole: boolean): Record<string, unknown> => ({
    number: pull.number,
    state: pull.state === "open" ? "open" : "closed",
    title: pull.title,
    body: pull.body,
    user: { login: pull.author },
    updated_at: pull.updatedAt,
    merged_at: pull.state === "merged" ? pull.updatedAt : null,
    head: {
      ref: pull.branch,
      label: `${pull.head.owner}:${pull.branch}`,
      user: { login: pull.head.owner },
      repo: { name: pull.head.name, full_name: `${pull.head.owner}/${pull.head.name}` },
    },
    ...(isWhole && { comments: commentsOf(state, pull), merged: pull.state === "merged" }),
  });
  const withRepository =
    (handle: (repository: StandInRepository, call: Call) => Promise<Reply> | Reply) =>
    (call: Call): Promise<Reply> | Reply => {
      const { owner = "", repo = "" } = call.parameters;
      const moved = state.renamed.get(`${owner}/${repo}`);
      if (moved !== undefined)
        return { status: 301, headers: { Location: `${url}/repos/${moved.owner}/${moved.name}` }, body: {} };
      const repository = state.find(owner, repo);
      return repository === undefined ? NOT_FOUND : handle(repository, call);
    };
  const withPull = (handle: (pull: StandInPull, call: Call) => Reply) =>
    withRepository(({ pulls }, call) => {
      const pull = pulls.find(({ number }) => String(number) === call.parameters["pull_number"]);
      return pull === undefined ? NOT_FOUND : handle(pull, call);
    });

  return {
    "GET /user": ({ account }) =>
      account === ""
        ? { status: 401, body: { message: "Requires authentication" } }
        : { status: 200, body: { login: account } },
    "GET /repos/{owner}/{repo}": withRepository((repository) => {
      if (repository.looksUntilReady-- > 0) return NOT_FOUND;
      return { status: 200, body: show(repository) };
    }),
    "GET /repos/{owner}/{repo}/git/ref/{ref}": withRepository((repository, { parameters }) => {
      if (repository.isEmpty) return { status: 409, body: { message: "Git Repository is empty." } };
      const isThere = parameters["ref"] === `heads/${repository.defaultBranch}`;
      return isThere ? { status: 200, body: { ref: `refs/${parameters["ref"]}` } } : NOT_FOUND;
    }),
    "GET /repos/{owner}/{repo}/contents/{path}": withRepository(({ files }, { parameters }) => {
      const { path = "" } = parameters;
      const file = files.get(path);
      if (file !== undefined) return { status: 200, body: showFile(path, file) };
      const inside = [...files].filter(([name]) => name.startsWith(`${path}/`));
      const listed = inside.map(([name]) => ({
        type: "file",
        name: name.slice(path.length + 1),
        path: name,
      }));
      return inside.length > 0 ? { status: 200, body: listed } : NOT_FOUND;
    }),
    "POST /repos/{owner}/{repo}/forks": withRepository(async (upstream, { account, body }) => {
      if (upstream.isEmpty)
        return {
          status: 403,
          body: {
            message:
              "The repository exists, but it contains no Git content. Empty repositories cannot be forked.",
          },
        };
      const existing = state.forkOf(upstream, account);
      if (existing !== undefined) return { status: 202, body: show(existing) };
      const wanted = typeof body["name"] === "string" ? body["name"] : upstream.name;
      const fork = state.add({
        owner: account,
        name: state.find(account, wanted) === undefined ? wanted : `${wanted}-1`,
        defaultBranch: upstream.defaultBranch,
        parent: upstream,
        looksUntilReady: options.forkLooks,
      });
      await options.onFork(upstream, fork);
      return { status: 202, body: show(fork) };
    }),
    "GET /repos/{owner}/{repo}/pulls": withRepository(({ pulls }, { query }) => {
      const head = query.get("head");
      const found = pulls
        .filter((pull) => head === null || head === `${pull.head.owner}:${pull.branch}`)
        .filter((pull) => query.get("state") === "all" || pull.state === "open")
        .toReversed();
      return {
        status: 200,
        body: found.slice(0, Number(query.get("per_page") ?? 30)).map((pull) => showPull(pull, false)),
      };
    }),
    "POST /repos/{owner}/{repo}/pulls": withRepository((upstream, { body, account }) => {
      const [owner = "", branch = ""] = String(body["head"]).split(":");
      const head = state.forkOf(upstream, owner);
      if (upstream.isArchived)
        return { status: 403, body: { message: "Repository was archived so is read-only." } };
      if (head === undefined) return { status: 422, body: { message: "Validation Failed" } };
      const base = String(body["base"]);
      if (
        upstream.pulls.some((pull) => pull.state === "open" && pull.head === head && pull.branch === branch)
      )
        return {
          status: 422,
          body: { message: `Validation Failed: A pull request already exists for ${owner}:${branch}.` },
        };
      const pull = state.openPull(upstream, {
        author: account,
        head,
        branch,
        base,
        title: String(body["title"]),
        body: String(body["body"]),
      });
      return { status: 201, body: showPull(pull, true) };
    }),
    "GET /repos/{owner}/{repo}/pulls/{pull_number}": withPull((pull) => ({
      status: 200,
      body: showPull(pull, true),
    })),
    "PATCH /repos/{owner}/{repo}/pulls/{pull_number}": withPull((pull, { body, account }) => {
      if (account !== pull.author) return { status: 403, body: { message: "Must have push access" } };
      if (body["state"] === "closed") pull.state = "closed";
      return { status: 200, body: showPull(pull, true) };
    }),
    "POST /repos/{owner}/{repo}/issues": withRepository((repository, { body, account }) => {
      const issue = state.openIssue(repository, {
        author: account,
        title: String(body["title"]),
        body: String(body["body"]),
        labels: body["labels"] as string[],
      });
      return { status: 201, body: { number: issue.number, title: issue.title } };
    }),
    "POST /repos/{owner}/{repo}/issues/{issue_number}/comments": withRepository((repository, call) => {
      const number = Number(call.parameters["issue_number"]);
      const isPull = repository.pulls.some((pull) => pull.number === number);
      if (!isPull && !repository.issues.some((issue) => issue.number === number)) return NOT_FOUND;
      const { id } = state.comment({
        repository,
        on: isPull ? "pull" : "issue",
        number,
        author: call.account,
        body: String(call.body["body"]),
      });
      return { status: 201, body: { id, user: { login: call.account } } };
    }),
    "DELETE /repos/{owner}/{repo}/issues/comments/{comment_id}": withRepository((_repository, call) => {
      const index = state.comments.findIndex(({ id }) => String(id) === call.parameters["comment_id"]);
      if (index < 0) return NOT_FOUND;
      if (state.comments[index]?.author !== call.account)
        return { status: 403, body: { message: "Must have admin rights" } };
      state.comments.splice(index, 1);
      return { status: 204 };
    }),
  };
}

function graphql({ body, account }: Call, state: ForgeState): Reply {
  const query = String(body["query"]);
  const variables = (body["variables"] ?? {}) as Readonly<Record<string, unknown>>;
  const missing: Reply = {
    status: 200,
    body: {
      data: null,
      errors: [{ type: "NOT_FOUND", message: "Could not resolve", path: [], locations: [] }],
    },
  };
  if (query.includes("addDiscussionComment")) {
    const [owner = "", name = "", number] = String(variables["discussion"]).split("/");
    const repository = state.find(owner, name);
    if (repository === undefined) return missing;
    const { id } = state.comment({
      repository,
      on: "discussion",
      number: Number(number),
      author: account,
      body: String(variables["body"]),
    });
    return {
      status: 200,
      body: { data: { addDiscussionComment: { comment: { id: `DC_${id}`, databaseId: id } } } },
    };
  }
  if (query.includes("deleteDiscussionComment")) {
    const index = state.comments.findIndex(({ id }) => `DC_${id}` === variables["id"]);
    if (index < 0) return missing;
    state.comments.splice(index, 1);
    return { status: 200, body: { data: { deleteDiscussionComment: { comment: { id: variables["id"] } } } } };
  }
  const repository = state.find(String(variables["owner"]), String(variables["repo"]));
  const number = Number(variables["number"]);
  if (repository?.discussions.has(number) !== true) return missing;
  return {
    status: 200,
    body: {
      data: { repository: { discussion: { id: `${repository.owner}/${repository.name}/${number}` } } },
    },
  };
}

function rootOf(repository: StandInRepository): StandInRepository {
  return repository.parent === undefined ? repository : rootOf(repository.parent);
}

function showFile(path: string, text: string): Record<string, unknown> {
  return {
    type: "file",
    encoding: "base64",
    size: Buffer.byteLength(text),
    name: path.slice(path.lastIndexOf("/") + 1),
    path,
    // In lines, as GitHub writes it.
    content: Buffer.from(text).toString("base64").replace(/.{60}/g, "$&\n"),
  };
}

function commentsOf(state: ForgeState, pull: StandInPull): number {
  return state.comments.filter(({ on, number }) => on === "pull" && number === pull.number).length;
}
