/** GitLab, as far as the gateway asks it; its description is written by hand (no package carries GitLab's own). */
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

export async function startGitLab(options: StandInOptions = {}): Promise<StandInForge> {
  return startStandIn(
    {
      name: "gl",
      prefix: "/api/v4",
      descriptions: [readDescription("gitlab")],
      tokenOf: ({ headers }) => {
        const own = headers["private-token"];
        return typeof own === "string"
          ? own
          : (/^bearer (.+)$/i.exec(headers.authorization ?? "")?.[1] ?? "");
      },
      handlers,
    },
    options,
  );
}

const NOT_FOUND: Reply = { status: 404, body: { message: "404 Project Not Found" } };
const TEMPLATES = ".gitlab/issue_templates/";

function handlers(state: ForgeState, options: Required<StandInOptions>, url: string): Handlers {
  const show = (repository: StandInRepository, account: string): Record<string, unknown> => ({
    id: repository.id,
    name: repository.name,
    path: repository.name,
    path_with_namespace: `${repository.owner}/${repository.name}`,
    namespace: { path: repository.owner, full_path: repository.owner, kind: "user" },
    default_branch: repository.isEmpty ? null : repository.defaultBranch,
    // Who is not signed in is told less.
    ...(account !== "" && {
      empty_repo: repository.isEmpty,
      archived: repository.isArchived,
      visibility: repository.isPrivate ? "private" : "public",
      import_status: repository.looksUntilReady > 0 ? "started" : repository.parent ? "finished" : "none",
    }),
    ...(repository.owner === account && { statistics: { repository_size: repository.sizeKiB * 1024 } }),
    ...(repository.parent && { forked_from_project: { id: repository.parent.id } }),
  });
  const showPull = (pull: StandInPull, upstream: StandInRepository): Record<string, unknown> => ({
    id: 5000 + pull.number,
    iid: pull.number,
    project_id: upstream.id,
    state: pull.state === "open" ? "opened" : pull.state,
    title: pull.title,
    description: pull.body,
    author: { username: pull.author },
    updated_at: pull.updatedAt,
    source_branch: pull.branch,
    target_branch: pull.base,
    source_project_id: pull.head.id,
    target_project_id: upstream.id,
    user_notes_count: state.comments.filter(({ on, number }) => on === "pull" && number === pull.number)
      .length,
  });
  const withProject =
    (handle: (repository: StandInRepository, call: Call) => Promise<Reply> | Reply) =>
    (call: Call): Promise<Reply> | Reply => {
      const { id = "" } = call.parameters;
      const [owner = "", name = ""] = id.split("/");
      const moved = state.renamed.get(id);
      if (moved !== undefined)
        return { status: 301, headers: { Location: `${url}/api/v4/projects/${moved.id}` }, body: {} };
      const repository = state.repositories.find((each) => String(each.id) === id) ?? state.find(owner, name);
      return repository === undefined || (repository.isPrivate && call.account === "")
        ? NOT_FOUND
        : handle(repository, call);
    };
  const withPull = (handle: (pull: StandInPull, upstream: StandInRepository, call: Call) => Reply) =>
    withProject((upstream, call) => {
      const pull = upstream.pulls.find(
        ({ number }) => String(number) === call.parameters["merge_request_iid"],
      );
      return pull === undefined ? NOT_FOUND : handle(pull, upstream, call);
    });
  const addNote = (on: "issue" | "pull", key: string): ((call: Call) => Promise<Reply> | Reply) =>
    withProject((repository, call) => {
      const number = Number(call.parameters[key]);
      const those: readonly { readonly number: number }[] =
        on === "pull" ? repository.pulls : repository.issues;
      if (!those.some((each) => each.number === number)) return NOT_FOUND;
      const body = String(call.body["body"]);
      const { id } = state.comment({ repository, on, number, author: call.account, body });
      return { status: 201, body: { id, body, author: { username: call.account } } };
    });
  const removeNote: (call: Call) => Promise<Reply> | Reply = withProject((_repository, call) => {
    const index = state.comments.findIndex(({ id }) => String(id) === call.parameters["note_id"]);
    if (index < 0) return NOT_FOUND;
    if (state.comments[index]?.author !== call.account)
      return { status: 403, body: { message: "403 Forbidden" } };
    state.comments.splice(index, 1);
    return { status: 204 };
  });
  const templatesOf = ({ files }: StandInRepository): readonly string[] =>
    [...files.keys()]
      .filter((name) => name.startsWith(TEMPLATES))
      .map((name) => name.slice(TEMPLATES.length, -3));

  return {
    "GET /user": ({ account }) =>
      account === ""
        ? { status: 401, body: { message: "401 Unauthorized" } }
        : { status: 200, body: { id: 7, username: account } },
    "GET /projects/{id}": withProject((repository, { account }) => {
      const body = show(repository, account);
      if (repository.looksUntilReady > 0) repository.looksUntilReady--;
      return { status: 200, body };
    }),
    "GET /projects/{id}/repository/files/{file_path}": withProject(({ files }, { parameters, query }) => {
      const { file_path: path = "" } = parameters;
      const file = files.get(path);
      if (file === undefined || query.get("ref") !== "HEAD")
        return { status: 404, body: { message: "404 File Not Found" } };
      const content = Buffer.from(file).toString("base64");
      return {
        status: 200,
        body: {
          file_name: path,
          file_path: path,
          size: Buffer.byteLength(file),
          encoding: "base64",
          content,
          ref: "HEAD",
        },
      };
    }),
    "GET /projects/{id}/forks": withProject((upstream, { account, query }) => {
      const forks = state.repositories.filter(({ parent }) => parent === upstream);
      const own = forks.filter(({ owner }) => query.get("owned") !== "true" || owner === account);
      return { status: 200, body: own.map((each) => show(each, account)) };
    }),
    "POST /projects/{id}/fork": withProject(async (upstream, { account, body }) => {
      const name = String(body["path"] ?? upstream.name);
      if (state.find(account, name) !== undefined)
        return { status: 409, body: { message: ["Project namespace name has already been taken"] } };
      const fork = state.add({
        owner: account,
        name,
        defaultBranch: upstream.defaultBranch,
        parent: upstream,
        looksUntilReady: options.forkLooks,
      });
      await options.onFork(upstream, fork);
      return { status: 201, body: show(fork, account) };
    }),
    "GET /projects/{id}/merge_requests": withProject((upstream, { query }) => {
      const branch = query.get("source_branch");
      const found = upstream.pulls.filter((pull) => branch === null || pull.branch === branch).toReversed();
      return { status: 200, body: found.map((pull) => showPull(pull, upstream)) };
    }),
    "POST /projects/{id}/merge_requests": withProject((head, { body, account }) => {
      const upstream = state.repositories.find(({ id }) => id === body["target_project_id"]) ?? head;
      const branch = String(body["source_branch"]);
      if (upstream.isArchived) return { status: 403, body: { message: "403 Forbidden" } };
      if (
        upstream.pulls.some((pull) => pull.state === "open" && pull.head === head && pull.branch === branch)
      )
        return {
          status: 409,
          body: { message: ["Another open merge request already exists for this source branch: !1"] },
        };
      const about = { author: account, head, branch, base: String(body["target_branch"]) };
      const pull = state.openPull(upstream, {
        ...about,
        title: String(body["title"]),
        body: String(body["description"]),
      });
      return { status: 201, body: showPull(pull, upstream) };
    }),
    "GET /projects/{id}/merge_requests/{merge_request_iid}": withPull((pull, upstream) => ({
      status: 200,
      body: showPull(pull, upstream),
    })),
    "PUT /projects/{id}/merge_requests/{merge_request_iid}": withPull((pull, upstream, { body, account }) => {
      if (account !== pull.author) return { status: 403, body: { message: "403 Forbidden" } };
      if (body["state_event"] === "close") pull.state = "closed";
      return { status: 200, body: showPull(pull, upstream) };
    }),
    "POST /projects/{id}/issues": withProject((repository, { body, account }) => {
      const issue = state.openIssue(repository, {
        author: account,
        title: String(body["title"]),
        body: String(body["description"]),
        labels: typeof body["labels"] === "string" ? body["labels"].split(",") : [],
      });
      return { status: 201, body: { id: 9000 + issue.number, iid: issue.number, title: issue.title } };
    }),
    "POST /projects/{id}/issues/{issue_iid}/notes": addNote("issue", "issue_iid"),
    "POST /projects/{id}/merge_requests/{merge_request_iid}/notes": addNote("pull", "merge_request_iid"),
    "DELETE /projects/{id}/issues/{issue_iid}/notes/{note_id}": removeNote,
    "DELETE /projects/{id}/merge_requests/{merge_request_iid}/notes/{note_id}": removeNote,
    "GET /projects/{id}/templates/{type}": withProject((repository) => ({
      status: 200,
      body: templatesOf(repository).map((name) => ({ key: name, name })),
    })),
    "GET /projects/{id}/templates/{type}/{name}": withProject(({ files }, { parameters }) => {
      const { name = "" } = parameters;
      const content = files.get(`${TEMPLATES}${name}.md`);
      return content === undefined ? NOT_FOUND : { status: 200, body: { name, content } };
    }),
  };
}
