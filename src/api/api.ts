/**
 * Repositories over REST, beside Git: `/repositories`, `/health`, `/openapi.json`. Every request goes the way that those of
 * Git go (`answerRequest`, the one authorization point); what stands here is what is asked for and how it is answered.
 * Specification: `openapi-document.ts`.
 *
 * A further resource is one more kind in `api-address.ts`, its `HttpResource` here, its path in the document.
 */
import { GitwharfError } from "../base/errors.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import type { CreateRepositoryOptions } from "../storage/contracts/repository.js";
import {
  answerRequest,
  type HttpExchange,
  type HttpResource,
  type HttpSite,
} from "../transport/http/answer-request.js";
import { belowPrefix, createHttpHandler, type HttpHandler } from "../transport/http/handler.js";
import type { HttpRequest } from "../transport/http/request-body.js";
import type { ServiceHost } from "../transport/service-host.js";
import { type ApiAddress, parseApiAddress } from "./api-address.js";
import type { ApiOptions } from "./api-options.js";
import { allowOrigin } from "./cross-origin.js";
import { listRepositories } from "./list-repositories.js";
import { createRepository, deleteRepository, renameRepository, showRepository } from "./one-repository.js";
import { openapiDocument } from "./openapi-document.js";
import { readPageRequest } from "./page-cursor.js";
import { problemOf } from "./problem-details.js";
import { nameOf } from "./repository-access.js";
import { sendJson } from "./send-json.js";

export interface ApiHost {
  readonly host: ServiceHost;
  readonly options: Required<ApiOptions>;
  /** What new repositories are like, where nobody says otherwise. */
  readonly creation: CreateRepositoryOptions;
  /** Can the server do its work, part by part? Anyone may ask. */
  readonly readiness: () => Promise<{ readonly ready: boolean }>;
}

/**
 * @param git answers what is none of the API's
 * @param prefix under which both are
 */
export function createApiHandler(api: ApiHost, git: HttpHandler, prefix: string): HttpHandler {
  const { host, options } = api;
  const path = `${prefix.replace(/\/$/, "")}${options.path}`;
  const gitById = createHttpHandler({ host: findingById(host), prefix: `${path}/repositories` });
  const document = openapiDocument(path);
  return (request, response) => {
    const url = belowPrefix(request.url ?? "", path);
    const address = url === undefined ? undefined : parseApiAddress(url);
    if (address === undefined) return git(request, response);
    if (address.kind === "git") return gitById(request, response);
    allowOrigin(request, response, options.origins);
    void answerRequest({ host, site: siteOf({ ...api, document }, address) }, request, response);
  };
}

type Found = Exclude<ApiAddress, { readonly kind: "git" }>;
type Served = ApiHost & { readonly document: unknown };

function siteOf(api: Served, address: Found): HttpSite {
  return { find: (request) => withOptions(request, resourceOf(api, address, request)), word: problemOf };
}

function resourceOf(api: Served, address: Found, request: HttpRequest): HttpResource {
  switch (address.kind) {
    case "health":
      return publicResource(async (exchange) => {
        const readiness = await api.readiness();
        const headers = { "Cache-Control": "no-store" };
        sendJson(exchange, { status: readiness.ready ? 200 : 503, value: readiness, headers });
      });
    case "openapi":
      return publicResource(async (exchange) => sendJson(exchange, { status: 200, value: api.document }));
    case "repositories": {
      const isPost = request.method === "POST";
      if (isPost) refuseQuery(address.query);
      return {
        methods: ["GET", "HEAD", "POST"],
        service: isPost ? "repository-create" : "api",
        serve: (exchange) =>
          isPost
            ? createRepository(exchange, api.creation)
            : listRepositories(exchange, readPageRequest(address.query)),
      };
    }
    case "repository":
      refuseQuery(address.query);
      return repositoryResource(address.id, request.method);
  }
}

/** @throws storage/bad-name */
function repositoryResource(id: string | undefined, method: string | undefined): HttpResource {
  if (id === undefined)
    throw new GitwharfError("storage/bad-name", "there is no repository's name in this address");
  const repository = parseRepositoryName(id);
  const about = { methods: ["GET", "HEAD", "PUT", "DELETE"], repository };
  switch (method) {
    case "PUT":
      return {
        ...about,
        service: "repository-rename",
        serve: (exchange) => renameRepository(exchange, repository),
      };
    case "DELETE":
      return {
        ...about,
        service: "repository-delete",
        serve: (exchange) => deleteRepository(exchange, repository),
      };
    default:
      return { ...about, service: "api", serve: (exchange) => showRepository(exchange, repository) };
  }
}

function publicResource(serve: (exchange: HttpExchange) => Promise<void>): HttpResource {
  return { methods: ["GET", "HEAD"], service: "api", isForAnyone: true, serve };
}

/** OPTIONS tells the methods, to anyone: browsers ask before they may say who they are. */
function withOptions(request: HttpRequest, resource: HttpResource): HttpResource {
  const methods = [...resource.methods, "OPTIONS"];
  if (request.method !== "OPTIONS") return { ...resource, methods };
  return {
    methods,
    service: "api",
    isForAnyone: true,
    async serve(exchange) {
      sendJson(exchange, { status: 204, headers: { Allow: methods.join(", ") } });
    },
  };
}

function refuseQuery(query: URLSearchParams): void {
  const [first] = query.keys();
  if (first === undefined) return;
  throw new GitwharfError("protocol/bad-request", `there is no parameter '${first.slice(0, 60)}' here`);
}

/** For Git below `/repositories`, where a repository may be called by its id. */
function findingById(host: ServiceHost): ServiceHost {
  if (host.store.nameOf === undefined) return host;
  return { ...host, resolveRepository: async (name) => ({ repository: await nameOf(host, name) }) };
}
