/** Gitea and Forgejo, as far as the gateway asks them: what both descriptions have. */
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

export async function startGitea(
  options: StandInOptions = {},
  name: "cb" | "gt" = "gt",
): Promise<StandInForge> {
  return startStandIn(
    {
      name,
      prefix: "/api/v1",
      descriptions: [readDescription("gitea"), readDescription("forgejo")],
      tokenOf: ({ headers }) => /^(?:token|bearer) (.+)$/i.exec(headers.authorization ?? "")?.[1] ?? "",
      handlers,
    },
    options,
  );
}

const NOT_FOUND: Reply = { status: 404, body: { message: "The target couldn't be found." } };

function handlers(state: ForgeState, options: Required<StandInOptions>, url: string): Handlers {
  const show = (repository: StandInRepository): Record<string, unknown> => ({
    id: repository.id,
    name: repository.name,
    full_name: `${repository.owner}/${repository.name}`,
    owner: { login: repository.owner },
    private: repository.isPrivate,
    archived: repository.isArchived,
    empty: repository.isEmpty || repository.looksUntilReady > 0,
    default_branch: repository.defaultBranch,
    size: repository.sizeKiB,
    fork: repository.parent !== undefined,
    ...(repository.parent && { parent: show(repository.parent) }),
  });
  const showPull = (pull: StandInPull): Record<string, unknown> => ({
    number: pull.number,
    state: pull.state === "open" ? "open" : "closed",
    title: pull.title,
    body: pull.body,
    user: { login: pull.author },
    updated_at: pull.updatedAt,
    merged: pull.state === "merged",
    head: {
      ref: pull.branch,
      label: pull.branch,
      repo: { name: pull.head.name, full_name: `${pull.head.owner}/${pull.head.name}` },
    },
    comments: state.comments.filter(({ on, number }) => on === "pull" && number === pull.number).length,
  });
  const withRepository =
    (handle: (repository: StandInRepository, call: Call) => Promise<Reply> | Reply) =>
    (call: Call): Promise<Reply> | Reply => {
      const { owner = "", repo = "" } = call.parameters;
      const moved = state.renamed.get(`${owner}/${repo}`);
      if (moved !== undefined)
        return {
          status: 307,
          headers: { Location: `${url}/api/v1/repos/${moved.owner}/${moved.name}` },
          body: {},
        };
      const repository = state.find(owner, repo);
      return repository === undefined ? NOT_FOUND : handle(repository, call);
    };
  const withPull = (handle: (pull: StandInPull, call: Call) => Reply) =>
    withRepository(({ pulls }, call) => {
      const pull = pulls.find(({ number }) => String(number) === call.parameters["index"]);
      return pull === undefined ? NOT_FOUND : handle(pull, call);
    });
  const pageOf = <Each>(list: readonly Each[], query: URLSearchParams): readonly Each[] => {
    const size = Math.min(Number(query.get("limit") ?? 30), 50);
    const from = (Number(query.get("page") ?? 1) - 1) * size;
    return list.slice(from, from + size);
  };

  return {
    "GET /user": ({ account }) =>
      account === ""
        ? { status: 401, body: { message: "token is required" } }
        : { status: 200, body: { login: account } },
    "GET /repos/{owner}/{repo}": withRepository((repository) => {
      const body = show(repository);
      if (repository.looksUntilReady > 0) repository.looksUntilReady--;
      return { status: 200, body };
    }),
    "GET /repos/{owner}/{repo}/contents/{filepath}": withRepository(({ files }, { parameters }) => {
      const { filepath = "" } = parameters;
      const file = files.get(filepath);
      if (file === undefined) return NOT_FOUND;
      const content = { type: "file", encoding: "base64", size: Buffer.byteLength(file), path: filepath };
      return { status: 200, body: { ...content, content: Buffer.from(file).toString("base64") } };
    }),
    "GET /repos/{owner}/{repo}/forks": withRepository((upstream, { query }) => {
      const forks = state.repositories.filter(({ parent }) => parent === upstream);
      return { status: 200, body: pageOf(forks, query).map(show) };
    }),
    "POST /repos/{owner}/{repo}/forks": withRepository(async (upstream, { account, body }) => {
      const name = String(body["name"] ?? upstream.name);
      if (state.forkOf(upstream, account) !== undefined || state.find(account, name) !== undefined)
        return { status: 409, body: { message: "The repository with the same name already exists." } };
      const fork = state.add({
        owner: account,
        name,
        defaultBranch: upstream.defaultBranch,
        parent: upstream,
        looksUntilReady: options.forkLooks,
      });
      await options.onFork(upstream, fork);
      return { status: 202, body: show(fork) };
    }),
    "GET /repos/{owner}/{repo}/pulls": withRepository(({ pulls }, { query }) => {
      const found = pulls
        .filter((pull) => query.get("state") === "all" || pull.state === "open")
        .toSorted((a, b) => b.updatedAt.localeCompare(a.updatedAt));
      return { status: 200, body: pageOf(found, query).map(showPull) };
    }),
    "POST /repos/{owner}/{repo}/pulls": withRepository((upstream, { body, account }) => {
      const [owner = "", branch = ""] = String(body["head"]).split(":");
      const head = state.forkOf(upstream, owner);
      if (upstream.isArchived) return { status: 423, body: { message: "This repository is archived." } };
      if (head === undefined) return NOT_FOUND;
      if (
        upstream.pulls.some((pull) => pull.state === "open" && pull.head === head && pull.branch === branch)
      )
        return { status: 409, body: { message: "pull request already exists for these targets" } };
      const about = { author: account, head, branch, base: String(body["base"]) };
      const pull = state.openPull(upstream, {
        ...about,
        title: String(body["title"]),
        body: String(body["body"]),
      });
      return { status: 201, body: showPull(pull) };
    }),
    "GET /repos/{owner}/{repo}/pulls/{index}": withPull((pull) => ({ status: 200, body: showPull(pull) })),
    "PATCH /repos/{owner}/{repo}/pulls/{index}": withPull((pull, { body, account }) => {
      if (account !== pull.author)
        return { status: 403, body: { message: "user should have a permission to write" } };
      if (body["state"] === "closed") pull.state = "closed";
      return { status: 201, body: showPull(pull) };
    }),
    "GET /repos/{owner}/{repo}/labels": withRepository(({ labels }, { query }) => ({
      status: 200,
      body: pageOf(labels, query).map((name, index) => ({ id: 100 + index, name })),
    })),
    "POST /repos/{owner}/{repo}/issues": withRepository((repository, { body, account }) => {
      const ids = (body["labels"] ?? []) as readonly number[];
      const issue = state.openIssue(repository, {
        author: account,
        title: String(body["title"]),
        body: String(body["body"]),
        labels: ids.map((id) => repository.labels[id - 100] ?? "?"),
      });
      return { status: 201, body: { number: issue.number, title: issue.title } };
    }),
    "POST /repos/{owner}/{repo}/issues/{index}/comments": withRepository((repository, call) => {
      const number = Number(call.parameters["index"]);
      const isPull = repository.pulls.some((pull) => pull.number === number);
      if (!isPull && !repository.issues.some((issue) => issue.number === number)) return NOT_FOUND;
      const on = isPull ? "pull" : "issue";
      const { id } = state.comment({
        repository,
        on,
        number,
        author: call.account,
        body: String(call.body["body"]),
      });
      return { status: 201, body: { id, user: { login: call.account } } };
    }),
    "DELETE /repos/{owner}/{repo}/issues/comments/{id}": withRepository((_repository, call) => {
      const index = state.comments.findIndex(({ id }) => String(id) === call.parameters["id"]);
      if (index < 0) return NOT_FOUND;
      if (state.comments[index]?.author !== call.account)
        return { status: 403, body: { message: "no permission" } };
      state.comments.splice(index, 1);
      return { status: 204 };
    }),
    "GET /repos/{owner}/{repo}/issue_templates": withRepository(({ files }) => {
      const found = [...files.keys()].filter((name) =>
        /^\.(?:gitea|github)\/issue_template\/(?!config)/i.test(name),
      );
      const listed = found.map((file) => ({
        name: file.slice(file.lastIndexOf("/") + 1),
        file_name: file,
        title: "",
      }));
      return { status: 200, body: listed };
    }),
  };
}
