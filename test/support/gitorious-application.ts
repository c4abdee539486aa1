/**
 * An application that stands in for Gitorious: its internal API over a few repositories and users. It remembers what it
 * was asked; a test may let it lie, be slow or be away.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface GitoriousCall {
  /** Below the API: `/repo-config`. */
  readonly path: string;
  readonly method: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage["headers"];
}

export interface GitoriousRepository {
  readonly fullPath: string;
  /** Who may read it; undefined: everybody. */
  readonly readers?: readonly string[];
  readonly pushers: readonly string[];
  /** Further keys of `repo-config`. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export interface GitoriousTestApplication {
  readonly url: string;
  readonly port: number;
  readonly calls: GitoriousCall[];
  /** By public path, `.git` and all. Their ids are 1, 2, … */
  readonly repositories: Map<string, GitoriousRepository>;
  /** Passwords by login; `LOGIN@example.org` signs in as well. */
  readonly users: Map<string, string>;
  /** Refs that nobody may push to, with the whole body of the answer. */
  readonly refusals: Map<string, string>;
  /** Asked first; true: it has answered itself, or never will. */
  intercept: (call: GitoriousCall, response: ServerResponse) => boolean;
  /** Resolves with the calls of this path once there are so many. */
  received(path: string, count: number): Promise<readonly GitoriousCall[]>;
  close(): Promise<void>;
}

/** @param port that of one that was closed, to come back */
export async function startGitoriousApplication(port = 0): Promise<GitoriousTestApplication> {
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url ?? "", "http://localhost");
      const form = request.headers["content-type"] === "application/x-www-form-urlencoded";
      const query = form ? new URLSearchParams(Buffer.concat(chunks).toString()) : url.searchParams;
      const call: GitoriousCall = {
        path: url.pathname.replace(/^\/api\/internal/, ""),
        method: request.method ?? "",
        parameters: Object.fromEntries(query),
        headers: request.headers,
      };
      application.calls.push(call);
      if (!application.intercept(call, response)) answer(call, response);
      for (const look of waiting) look();
    });
  });

  function answer({ path, method, parameters }: GitoriousCall, response: ServerResponse): void {
    const json = (value: unknown): void => {
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify(value));
    };
    const refuse = (status: number, text = ""): void => {
      response.statusCode = status;
      response.end(text);
    };
    const { username = "" } = parameters;
    switch (`${method} ${path}`) {
      case "GET /repo-config": {
        const { repo_path: name = "" } = parameters;
        const repository = application.repositories.get(name);
        if (repository === undefined) return refuse(404);
        if (repository.readers?.includes(username) === false) return refuse(403);
        return json({
          repository_id: idOf(name),
          full_path: repository.fullPath,
          ssh_clone_url: `git@example.org:${name}`,
          http_clone_url: `http://example.org/${name}`,
          git_clone_url: `git://example.org/${name}`,
          ...repository.more,
        });
      }
      case "GET /authenticate": {
        const login = username.replace(/@example\.org$/, "");
        const password = application.users.get(login);
        return password === undefined || password !== parameters["password"]
          ? refuse(401)
          : json({ username: login });
      }
      case "GET /hooks/pre-receive": {
        const { refname = "", repository_id: id = "" } = parameters;
        const name = [...application.repositories.keys()][Number(id) - 1] ?? "";
        const mayPush = application.repositories.get(name)?.pushers.includes(username) === true;
        const refusal = application.refusals.get(refname);
        if (refusal !== undefined) return refuse(403, refusal);
        return mayPush ? refuse(200) : refuse(403, "You may not push here\nsecond line\n");
      }
      case "POST /hooks/post-receive":
        return refuse(200);
      default:
        return refuse(404);
    }
  }

  const idOf = (name: string): number => [...application.repositories.keys()].indexOf(name) + 1;
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const { port: taken } = server.address() as AddressInfo;
  const application: GitoriousTestApplication = {
    url: `http://127.0.0.1:${taken}/api/internal`,
    port: taken,
    calls: [],
    repositories: new Map(),
    users: new Map(),
    refusals: new Map(),
    intercept: () => false,
    received: (path, count) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = application.calls.filter((call) => call.path === path);
          if (found.length < count) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return application;
}
