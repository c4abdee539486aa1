/**
 * Contributions without an account: `/v1/{gh|gl|cb}/OWNER/REPO` and `/v1/gt/HOST/OWNER/REPO` are Git remotes that can be fetched from and
 * pushed to. What is pushed becomes commits of nobody on a fork of ours, and a pull request. docs/gateway.md
 *
 *     GET  …/info/refs?service=git-receive-pack    the upstream's heads and tags
 *     GET  …/info/refs?service=git-upload-pack     passed through
 *     POST …/git-upload-pack                       passed through
 *     POST …/git-receive-pack                      a contribution
 *
 * Whoever has a further address below a repository says so with `routes`.
 */
import { randomUUID } from "node:crypto";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import { createGatewayStore, type GatewayStore } from "../database/gateway-store.js";
import { openDatabase, parseDatabaseLocation } from "../database/open-database.js";
import type { RepositoryStore } from "../storage/contracts/repository.js";
import {
  answerRequest,
  type HttpExchange,
  type HttpRefusal,
  type HttpResource,
  type HttpSite,
  type WordedRefusal,
} from "../transport/http/answer-request.js";
import { belowPrefix, type HttpHandler } from "../transport/http/handler.js";
import { setNoCache } from "../transport/http/no-cache.js";
import { formatControlText } from "../transport/http/plain-text.js";
import { readRequestBody } from "../transport/http/request-body.js";
import { createResponseSink } from "../transport/http/response-sink.js";
import type { ServiceHost, ServiceLogEntry } from "../transport/service-host.js";
import { advertiseUpstream, UPSTREAM_PREFIXES } from "./contribute/advertise-upstream.js";
import type { Contributing } from "./contribute/contribute.js";
import { type ContributionGuard, type ContributionListener, OPEN_GUARD } from "./contribute/guard.js";
import { type Opening, repairContributions } from "./contribute/open-contribution.js";
import { serveContribution } from "./contribute/serve-contribution.js";
import { type GatewayOptions, type GatewaySettings, gatewaySettings } from "./gateway-options.js";
import { createUpstreams, type Upstream, type Upstreams } from "./upstream/find-upstream.js";
import { openUpstream } from "./upstream/open-upstream.js";
import { type PassedAnswer, passDiscovery, passRequest } from "./upstream/pass-through.js";
import { parseUpstreamAddress, type UpstreamAddress } from "./upstream-name.js";

export interface GatewayParts {
  readonly options: GatewayOptions;
  /** `sqlite:PATH`, `postgres://…` */
  readonly database: string;
  /** Where pushes are worked on: on a disk, for they may be large. Nothing of it need outlive the process. */
  readonly scratch: RepositoryStore;
  readonly guard?: ContributionGuard;
  readonly listeners?: readonly ContributionListener[];
  /** Asked of each address below a repository that is none of Git's: issues, comments. */
  readonly routes?: readonly GatewayRoute[];
  readonly log: (entry: ServiceLogEntry) => void;
}

export type GatewayRoute = (
  address: UpstreamAddress,
  method: string,
  query: URLSearchParams,
) => HttpResource | undefined;

export interface Gateway {
  readonly store: GatewayStore;
  readonly upstreams: Upstreams;
  readonly settings: GatewaySettings;
  /** @param next answers what is none of the gateway's @param prefix under which both are */
  handler(host: ServiceHost, next: HttpHandler, prefix?: string): HttpHandler;
  /** Takes up now what others have left; done by itself at the start and now and then. @returns how many there were */
  repair(): Promise<number>;
  close(): Promise<void>;
}

const SERVICES = ["git-upload-pack", "git-receive-pack"] as const;

/** @throws server/bad-configuration, database/unavailable */
export async function createGateway(parts: GatewayParts): Promise<Gateway> {
  const settings = gatewaySettings(parts.options);
  const { limits } = settings;
  const upstreams = createUpstreams(settings.forges, limits.upstreamAgeMs);
  const database = await openDatabase(parseDatabaseLocation(parts.database));
  const store = createGatewayStore(database);
  const closing = new AbortController();
  const opening: Opening = {
    store,
    settings,
    upstreams,
    listeners: parts.listeners ?? [],
    owner: randomUUID(),
    // Errors of forges and of our client hold no title, body or token.
    log: (message, error) => parts.log({ level: "error", message, error }),
    forking: new Map(),
    closing: closing.signal,
  };
  const contributing: Contributing = {
    opening,
    guard: parts.guard ?? OPEN_GUARD,
    scratch: parts.scratch,
  };
  const state: GatewayState = { contributing, routes: parts.routes ?? [], working: 0 };
  let repairing: Promise<number> | undefined;
  const repair = (): Promise<number> => {
    repairing ??= repairContributions(opening).finally(() => {
      repairing = undefined;
    });
    return repairing;
  };
  const repairQuietly = (): void => {
    repair().catch((error: unknown) => {
      if (!closing.signal.aborted) opening.log("contributions cannot be taken up", error);
    });
  };
  const timer = setInterval(repairQuietly, Math.min(limits.retryMs, limits.leaseMs));
  timer.unref();
  repairQuietly();
  return {
    store,
    upstreams,
    settings,
    repair,
    handler: (host, next, prefix = "") => createHandler(state, host, next, prefix),
    async close() {
      clearInterval(timer);
      closing.abort(new GitwharfError("base/shutting-down", "the gateway is shutting down; try again later"));
      await repairing?.catch(() => undefined);
      // What is at work sees the signal; its rows are taken up by the next.
      while (state.working > 0) await state.idle?.promise;
      await database.close();
    },
  };
}

interface GatewayState {
  readonly contributing: Contributing;
  readonly routes: readonly GatewayRoute[];
  /** Pushes. */
  working: number;
  idle?: { readonly promise: Promise<void>; readonly resolve: () => void };
}

function createHandler(
  state: GatewayState,
  host: ServiceHost,
  next: HttpHandler,
  prefix: string,
): HttpHandler {
  return (request, response) => {
    const url = belowPrefix(request.url ?? "", prefix) ?? "";
    const [path = "", query = ""] = url.split("?", 2);
    let address: UpstreamAddress | undefined;
    let failure: unknown;
    try {
      address = parseUpstreamAddress(path);
    } catch (error) {
      failure = error;
    }
    if (failure === undefined && (address === undefined || address.forge === "local")) {
      next(request, response);
      return;
    }
    const site: HttpSite = {
      keepsNoAddress: true,
      find({ method = "" }) {
        if (address === undefined) throw failure;
        return resourceOf(state, address, method, new URLSearchParams(query));
      },
      word,
    };
    void answerRequest({ host, site }, request, response);
  };
}

/** Names and sizes as in the contract; the rest as Git shows it to the person. */
function word({ status, text, error }: HttpRefusal): WordedRefusal {
  if (isGitwharfError(error, "client/unreachable", "client/refused", "client/bad-answer"))
    return { ...plain("the forge cannot be reached now; try again later"), status: 502 };
  if (isGitwharfError(error, "client/not-callable", "forge/unreachable", "forge/bad-answer"))
    return { ...plain("the forge cannot be reached now; try again later"), status: 502 };
  if (isGitwharfError(error, "forge/exhausted")) return { ...plain(text), status: 503 };
  if (text === "Invalid repo name" || text === "Push too large")
    return { contentType: "application/json", body: JSON.stringify({ error: text }), status };
  return plain(text);
}

function plain(text: string): WordedRefusal {
  return { contentType: "text/plain; charset=utf-8", body: `${formatControlText(text)}\n` };
}

function resourceOf(
  state: GatewayState,
  address: UpstreamAddress,
  method: string,
  query: URLSearchParams,
): HttpResource {
  const { rest } = address;
  if (rest === "info/refs") {
    const service = query.get("service") ?? "";
    if (service !== SERVICES[0] && service !== SERVICES[1])
      throw new GitwharfError("protocol/bad-request", `unsupported service: '${service.slice(0, 60)}'`);
    return {
      methods: ["GET", "HEAD"],
      service: service === "git-upload-pack" ? "upload-pack-refs" : "receive-pack-refs",
      isForAnyone: true,
      serve: (exchange) =>
        service === "git-upload-pack"
          ? serveFetch(state, exchange, address, "advertisement")
          : serveAdvertisement(state, exchange, address),
    };
  }
  if (rest === "git-upload-pack")
    return {
      methods: ["POST"],
      service: "upload-pack",
      isForAnyone: true,
      serve: (exchange) => serveFetch(state, exchange, address, "result"),
    };
  if (rest === "git-receive-pack")
    return {
      methods: ["POST"],
      service: "receive-pack",
      isForAnyone: true,
      serve: (exchange) => servePush(state, exchange, address),
    };
  for (const route of state.routes) {
    const resource = route(address, method, query);
    if (resource !== undefined) return resource;
  }
  throw new GitwharfError("storage/not-found", "there is nothing at this address", {
    details: { isNoAddress: true },
  });
}

async function serveAdvertisement(
  { contributing }: GatewayState,
  { host, request, response, signal }: HttpExchange,
  address: UpstreamAddress,
): Promise<void> {
  const { upstreams, settings } = contributing.opening;
  const upstream = await upstreams.find(address, signal);
  const lines = advertiseUpstream(await refsOf(upstream, settings, signal));
  const sink = createResponseSink(response, {
    idleTimeoutMs: host.limits.idleTimeoutMs,
    signal,
    onFirstWrite() {
      response.statusCode = 200;
      setNoCache(response);
      response.setHeader("Content-Type", "application/x-git-receive-pack-advertisement");
      response.setHeader(
        "Content-Length",
        lines.reduce((sum, line) => sum + line.length, 0),
      );
    },
  });
  if (request.method !== "HEAD") await sink.write(...lines);
  await sink.end();
}

async function refsOf(upstream: Upstream, { limits }: GatewaySettings, signal: AbortSignal) {
  // An empty one may not even have a Git side yet.
  if (upstream.repository.isEmpty)
    return { objectFormat: "sha1" as const, refs: [], head: undefined, omitted: [] };
  const remote = await openUpstream(upstream, { signal, limits });
  try {
    return await remote.listRefs({ prefixes: UPSTREAM_PREFIXES });
  } finally {
    remote.close();
  }
}

async function serveFetch(
  { contributing }: GatewayState,
  { host, request, response, signal }: HttpExchange,
  address: UpstreamAddress,
  kind: "advertisement" | "result",
): Promise<void> {
  const { upstreams, settings } = contributing.opening;
  const upstream = await upstreams.find(address, signal);
  const version = /(?:^|:)version=2(?:$|:)/.test(String(request.headers["git-protocol"] ?? "")) ? 2 : 0;
  const about = { upstream, protocol: version, limits: settings.limits, signal } as const;
  const { idleTimeoutMs, requestBytesMax } = host.limits;
  let answer: PassedAnswer | undefined;
  try {
    answer =
      kind === "advertisement"
        ? await passDiscovery(about)
        : await passRequest(
            about,
            readRequestBody(request, response, { idleTimeoutMs, signal }),
            requestBytesMax,
          );
    const sink = createResponseSink(response, {
      idleTimeoutMs,
      signal,
      onFirstWrite() {
        response.statusCode = 200;
        setNoCache(response);
        response.setHeader("Content-Type", `application/x-git-upload-pack-${kind}`);
      },
    });
    if (request.method !== "HEAD") for await (const chunk of answer.bytes) await sink.write(chunk);
    await sink.end();
  } finally {
    answer?.close();
  }
}

async function servePush(
  state: GatewayState,
  exchange: HttpExchange,
  address: UpstreamAddress,
): Promise<void> {
  const { contributing } = state;
  const hasPlace = state.working < contributing.opening.settings.limits.pushesMax;
  if (state.working++ === 0) {
    let resolve = (): void => undefined;
    const promise = new Promise<void>((done) => (resolve = done));
    state.idle = { promise, resolve };
  }
  try {
    await serveContribution(contributing, exchange, { address, hasPlace });
  } finally {
    if (--state.working === 0) state.idle?.resolve();
  }
}
