/**
 * Git over HTTP as one Node request listener: smart services, dumb reading, errors with statuses.
 * Specification: gitprotocol-http; statuses are those of git-http-backend.
 */
import type { ServiceLabel } from "../../base/activity.js";
import { GitwharfError } from "../../base/errors.js";
import { answerRequest, type HttpExchange, type HttpSite } from "./answer-request.js";
import { serveBundle } from "./bundle.js";
import { serveFile, serveInfoRefsFile } from "./dumb.js";
import { formatControlText } from "./plain-text.js";
import type { HttpRequest, HttpResponse } from "./request-body.js";
import { parseRequestTarget, type RequestTarget } from "./request-target.js";
import { serveDiscovery, serveService } from "./smart.js";
import type { ServiceHost } from "../service-host.js";

export interface HttpHandlerOptions {
  readonly host: ServiceHost;
  /** Stripped from the path; a path outside of it is answered 404. `""` or `/git`. @default "" */
  readonly prefix?: string;
}

export type HttpHandler = (request: HttpRequest, response: HttpResponse) => void;

/** The listener never throws and never rejects: every failure becomes an answer and a line in the log. */
export function createHttpHandler(options: HttpHandlerOptions): HttpHandler {
  const { host, prefix = "" } = options;
  const site = createGitSite(host, prefix);
  return (request, response) => void answerRequest({ host, site }, request, response);
}

function createGitSite(host: ServiceHost, prefix: string): HttpSite {
  return {
    find(request) {
      const url = belowPrefix(request.url ?? "", prefix) ?? "";
      const target = parseRequestTarget(url, (text) => host.parseName(text, "http"));
      if (target === undefined)
        throw new GitwharfError("storage/not-found", "there is nothing at this address", {
          details: { isNoAddress: true },
        });
      return {
        methods: target.kind === "service" ? ["POST"] : ["GET", "HEAD"],
        service: serviceOf(target),
        repository: target.repository,
        serve: (exchange) => route(exchange, target),
      };
    },
    // git prints it to the person as `remote: …`.
    word: ({ text }) => ({
      contentType: "text/plain; charset=utf-8",
      body: `${formatControlText(text)}\n`,
    }),
  };
}

function serviceOf(target: RequestTarget): ServiceLabel {
  if (target.kind === "file" || target.kind === "bundle") return "files";
  const service = target.kind === "service" ? target.service : (target.service ?? "files");
  const suffix = target.kind === "service" ? "" : "-refs";
  switch (service) {
    case "git-upload-pack":
      return `upload-pack${suffix}`;
    case "git-receive-pack":
      return `receive-pack${suffix}`;
    case "files":
      return "files";
    default:
      return "other";
  }
}

async function route(exchange: HttpExchange, target: RequestTarget): Promise<void> {
  switch (target.kind) {
    case "service":
      return serveService(exchange, target.repository, target.service);
    case "file":
      return serveFile(exchange, target.repository, target.path);
    case "bundle":
      return serveBundle(exchange, target.repository, target.id);
    case "info-refs":
      if (target.service === undefined) return serveInfoRefsFile(exchange, target.repository);
      return serveDiscovery(exchange, target.repository, target.service);
  }
}

/** @returns undefined: it is outside */
export function belowPrefix(url: string, prefix: string): string | undefined {
  if (prefix === "" || prefix === "/") return url;
  const clean = prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
  return url.startsWith(`${clean}/`) ? url.slice(clean.length) : undefined;
}
