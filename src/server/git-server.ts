/**
 * The composition root: puts stores, access, protocol and transports together, and ends them in order.
 */
import { createApiHandler } from "../api/api.js";
import { apiOptionsOf } from "../api/api-options.js";
import type { AuditEntry } from "../access/audit/audit-entry.js";
import { createGrantHandler } from "../access/grant-handler.js";
import { once, setMaxListeners } from "node:events";
import { join } from "node:path";
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import { createClientAddress } from "../access/client-address.js";
import { createAuthorizationPoint } from "../access/authorization-point.js";
import { compilePatterns } from "../access/name-pattern.js";
import { createPanicSwitch } from "../access/panic-switch.js";
import { createRateLimits } from "../access/rates/rate-limits.js";
import { createRepositoryResolver } from "../access/repository-resolver.js";
import { createSharedBudget } from "../base/shared-budget.js";
import { compileAddresses } from "../access/trusted-addresses.js";
import { GitwharfError } from "../base/errors.js";
import type { Limits } from "../base/limits.js";
import { GITORIOUS_TARGET } from "../database/delivery-store.js";
import { makeBundle } from "../engine/bundles/make-bundle.js";
import { createBackgroundMaintenance } from "../engine/maintenance/background-maintenance.js";
import { prepareToPlan } from "../engine/pack-plan.js";
import type { PushHandlers } from "../engine/push.js";
import { createHttpHooks } from "../hooks/http-hooks.js";
import { createScriptHooks } from "../hooks/script-hooks.js";
import { createRepositoryHooks } from "../hooks/repository-hooks.js";
import { requirePreReceive } from "../hooks/required-pre-receive.js";
import { compileHiddenRefs } from "../protocol/hidden-refs.js";
import { createCollisionDetector } from "../object/collision-detection.js";
import { parsePastName } from "../storage/contracts/past-name.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import type { CreateRepositoryOptions, RepositoryStore } from "../storage/contracts/repository.js";
import { createDiskRepositoryStore } from "../storage/disk/disk-repository-store.js";
import { createMemoryRepositoryStore } from "../storage/memory/memory-repository-store.js";
import { createHttpHandler, type HttpHandler } from "../transport/http/handler.js";
import { peerAddressOf } from "../transport/proxied-connections.js";
import { createRepositoryGate } from "../transport/repository-gate.js";
import type { ServiceHost, ServiceLogEntry } from "../transport/service-host.js";
import { bundleUrisOf } from "./bundle-uris.js";
import { checkOptions, limitsWith } from "./check-options.js";
import type { GitServerOptions, ListenOptions } from "./git-server-options.js";
import { createListeners, type Listening } from "./listeners.js";
import { createServerMetrics } from "./metrics.js";
import { createOpenrukoFront } from "./openruko.js";
import { createServerAudit } from "./server-audit.js";
import { createReadiness, type Readiness } from "./readiness.js";
import { createServerPolicies } from "./server-policies.js";
import { createServerEvents, type EventReader, NO_EVENTS, type WebhookDeliveries } from "./events.js";
import { createIdentification } from "./identification.js";
import { type CommandRequest, runCommand } from "./run-command.js";
import { createGitorious } from "./gitorious.js";
import { withRemoteApplication } from "./remote-application.js";
import { AGENT, VERSION } from "./version.js";

export type { Listening };

export interface GitServer {
  /** A Node request listener: `http.createServer(server.handler)`, `app.use("/git", server.handler)`. */
  readonly handler: HttpHandler;
  /** The same for a framework that leaves its mount point in `request.url`: `handlerUnder("/git")`. */
  handlerUnder(prefix: string): HttpHandler;
  readonly store: RepositoryStore;
  readonly limits: Limits;
  /** What has become of refs, from any cursor on, and what will (option `events`). */
  readonly events: EventReader;
  /** What became of deliveries to webhooks, and sending them once more. */
  readonly webhooks: WebhookDeliveries;
  /** True while there is nobody who could sign in: everyone on this machine may do everything. */
  isOpen(): Promise<boolean>;
  /** Requests at work. */
  readonly active: number;
  /** What has been counted, and how busy the process is, in Prometheus's text format. */
  metrics(): Promise<string>;
  /** Writes into the audit log, where there is one, what is done beside requests: what push to deploy builds. */
  audit(entry: AuditEntry): void;
  /** Whether it can serve, part by part; from `close` on it is not. */
  readiness(): Promise<Readiness>;
  /**
   * @throws server/bad-configuration: bad or taken address, or an address that is not loopback while the server is
   *   open to everyone
   */
  listen(options: ListenOptions): Promise<Listening>;
  /**
   * Serves one command as the SSH server does, to somebody whom others have signed in: behind a stock sshd.
   * @returns the exit status
   */
  runCommand(request: CommandRequest): Promise<number>;
  /**
   * Takes no more requests, lets those at work finish for `graceMs` milliseconds (@default 10,000), ends the rest,
   * closes the store if the server opened it. A second call waits for the same end, and may bring it nearer.
   */
  close(options?: { readonly graceMs?: number }): Promise<void>;
}

/** Of each request; as many as nearly all requests have. */
const FREE_BYTES = 64 * 1024;
/** Of each pack. */
const FREE_OBJECTS = 10_000;

/** @throws server/bad-configuration */
export function createGitServer(given: GitServerOptions): GitServer {
  checkOptions(given);
  checkPast(given);
  const limits = limitsWith(given.limits);
  const log = given.log ?? logToStandardError;
  const gitorious = createGitorious(given, log);
  const { options, handlers: remoteHandlers } = withRemoteApplication(gitorious?.options ?? given, log);
  const ownsStore = typeof options.repositories === "string";
  const store =
    typeof options.repositories === "string"
      ? createDiskRepositoryStore({
          directory: options.repositories,
          durability: options.durability ?? "sync",
        })
      : options.repositories;
  const creation = creationOf(options);
  const api = apiOptionsOf(options.api);
  const openruko = createOpenrukoFront(options, log);
  const identification = createIdentification(options, log, {
    before: openruko.authenticators,
    timeoutMs: limits.decisionTimeoutMs,
  });
  const policies = createServerPolicies(options, identification, {
    timeoutMs: limits.decisionTimeoutMs,
    log,
  });
  const handlers: PushHandlers[] = [
    ...[createGrantHandler(), ...remoteHandlers, ...policies.handlers].map(withoutLimit),
    ...[options.handlers ?? []].flat(),
  ];
  const scripts = options.hooks === undefined ? undefined : createScriptHooks(options.hooks, process.env);
  const httpHooks = createHttpHooks(options.httpHooks, { agent: AGENT, log });
  const events = createServerEvents(options, {
    outbox: identification.outbox,
    database: options.database,
    repositories: store,
    targets: gitorious === undefined ? [] : [gitorious.target],
    log,
  });
  handlers.unshift(...(events?.first ?? []).map(withoutLimit));
  const hooksAt = handlers.length;
  const gitoriousHandlers = gitorious?.attach({
    repositories: store,
    told: async (repository) => events?.told(GITORIOUS_TARGET, repository),
  });
  handlers.push(...(gitoriousHandlers?.first ?? []).map(withoutLimit));
  if (options.repositoryHooks === true) {
    const environmentOf = gitorious === undefined ? {} : { environmentOf: gitorious.environmentOf };
    handlers.push(createRepositoryHooks({ environment: process.env, ...environmentOf }));
  }
  const { isOpen, identify, isUnguessable } = identification;
  const panic = createPanicSwitch(panicFileOf(options));
  // The last: what comes before may take its time.
  handlers.push(
    ...[...(events?.beforeMove ?? []), panic.handler].map(withoutLimit),
    ...[...(gitoriousHandlers?.last ?? []), ...(events?.last ?? [])].map(withoutLimit),
  );
  const rates = createRateLimits({
    rates: options.rates,
    database: options.database,
    onFailure: (error) =>
      log({ level: "warn", message: "the database does not count requests; this process does", error }),
    isOpen,
    identify,
    isUnguessable,
  });
  const audit = createServerAudit(options, log);
  const closing = new AbortController();
  // Every push at work listens to it; Node takes more than ten for a leak, and says so on standard error.
  setMaxListeners(0, closing.signal);
  const gate = createRepositoryGate(limits);
  const pushTurns = createRepositoryGate({ ...limits, repositoryConcurrencyMax: 1 });

  const collisionDetection = options.collisionDetection ?? true;
  // Where it cannot run, the server must not start rather than refuse every push.
  if (collisionDetection) createCollisionDetector();

  const parseName: ServiceHost["parseName"] = gitorious?.host.parseName ?? parseRepositoryName;
  const bundleUris = bundleUrisOf(options.bundleUris);
  const maintenance = createBackgroundMaintenance({
    store,
    settingsOf: (repository) => repository.settings(),
    onFolded: ({ name, packCount, objectCount }) => {
      log({
        level: "info",
        message: `folded ${packCount} packs of '${name}' into one of ${objectCount} objects`,
      });
      gitoriousHandlers
        ?.refreshServerInfo(name)
        .catch((error: unknown) =>
          log({ level: "error", message: `info/refs of '${name}' cannot be written`, error }),
        );
    },
    onCollected: ({ name, reachable, dropped }) =>
      log({
        level: "info",
        message: `collected the garbage of '${name}': ${reachable} objects are reachable, ${dropped} others have gone`,
      }),
    onUpkeep: ({ name, task, text }) => {
      log({ level: "info", message: `${task} of '${name}': ${text}` });
      if (task !== "gc" && task !== "loose-objects") return;
      gitoriousHandlers
        ?.refreshServerInfo(name)
        .catch((error: unknown) =>
          log({ level: "error", message: `info/refs of '${name}' cannot be written`, error }),
        );
    },
    onFailure: (name, error) =>
      log({ level: "error", message: `looking after the packs of '${name}' failed`, error }),
    makeBundle:
      bundleUris === undefined
        ? undefined
        : async (repository, settings, signal) => {
            const isHidden = compileHiddenRefs(settings.uploadPack.hideRefs);
            const isVisible = (name: string): boolean => !isHidden(name);
            const { sizeBytesMin } = bundleUris;
            if (await makeBundle(repository, { sizeBytesMin, isVisible, signal }))
              log({ level: "info", message: `made a bundle of '${repository.name}'` });
          },
  });

  const requestBytes = createSharedBudget({ max: limits.requestBytesTotalMax, free: FREE_BYTES });
  const packObjects = createSharedBudget({
    max: limits.packObjectsTotalMax,
    free: FREE_OBJECTS,
    what: "objects at once",
  });
  const metrics = createServerMetrics({
    gate: {
      get active() {
        return gate.active;
      },
      get waiting() {
        return gate.waiting + pushTurns.waiting;
      },
    },
    requestBytes,
    packObjects,
    deliveries: events?.attempts,
    isAuditFailing: audit === undefined ? undefined : () => audit.isFailing(),
  });
  /** Those of an application, which may fail, do not take the server's along. */
  const furtherMetrics = async (): Promise<string> => {
    try {
      return (await options.furtherMetrics?.()) ?? "";
    } catch (error) {
      log({ level: "error", message: "further metrics cannot be told", error });
      return "";
    }
  };
  const metricsText = async (): Promise<string> => `${await metrics.text()}${await furtherMetrics()}`;
  const host: ServiceHost = {
    store,
    limits,
    requestBytes,
    packObjects,
    observer: metrics,
    isTrustedProxy: trustedProxiesOf(options),
    agent: AGENT,
    gate,
    isSerial: compilePatterns(options.serialPushes ?? []),
    pushTurns,
    clientAddressOf: createClientAddress(options.trustedProxies ?? []),
    isProxy: compileAddresses(options.trustedProxies ?? []),
    identify: (attempt) => rates.identify(attempt),
    rates,
    panic,
    audit,
    isOpen: identification.isOpen,
    hiddenRefsOf: policies.hiddenRefsOf,
    authorize: createAuthorizationPoint({
      authorize: policies.authorize,
      isOpen: identification.isOpen,
      isCurrent: identification.isCurrent,
      timeoutMs: limits.decisionTimeoutMs,
      onFailure: (error) => log({ level: "error", message: "the authorize callback failed", error }),
    }),
    resolveRepository:
      options.resolveRepository === undefined
        ? undefined
        : createRepositoryResolver(
            options.resolveRepository,
            (error) => log({ level: "error", message: "the resolver of repository names failed", error }),
            limits.decisionTimeoutMs,
          ),
    parseName:
      options.past === true
        ? (text, transport) => parsePastName(text, (name) => parseName(name, transport))
        : parseName,
    admitRepository: options.requirePreReceive === true ? requirePreReceive : undefined,
    answers: gitorious?.host.answers,
    autoCreate: options.autoCreate ?? "never",
    prepareRepository: (name) => store.prepare(name, creation),
    openPhantom: (name) => createMemoryRepositoryStore().create(name, creation),
    settingsOf: (repository) => repository.settings(),
    handlersOf: ({ name }) => {
      const hooks = [...httpHooks.handlersFor(name), ...(scripts?.handlersFor(name) ?? [])];
      return hooks.length === 0 ? handlers : handlers.toSpliced(hooksAt, 0, ...hooks);
    },
    handlerTimeoutMs: options.handlerTimeoutMs ?? 600_000,
    verifyPushCertificate: options.verifyPushCertificate,
    collisionDetection,
    log,
    bundleUris,
    packfileUris: bundleUrisOf(options.packfileUris, "packfileUris"),
    afterPush: (name) => maintenance.afterPush(name),
    closing: closing.signal,
  };
  let isDraining = false;
  const readiness = createReadiness({
    checks: {
      ...(store.probes ?? { store: async () => store.probe?.() }),
      ...(audit === undefined ? {} : { audit: () => audit.ready() }),
      ...(identification.probe === undefined ? {} : { database: identification.probe }),
    },
    isDraining: () => isDraining,
    onUnavailable: (part, error) => log({ level: "error", message: `the ${part} is unavailable`, error }),
  });
  let closed: Promise<void> | undefined;
  const handlerUnder = (prefix: string): HttpHandler => {
    const git = createHttpHandler({ host, prefix });
    const own =
      api === undefined ? git : createApiHandler({ host, options: api, creation, readiness }, git, prefix);
    const handle = options.beside?.(host, own, prefix) ?? own;
    return (request, response) => {
      // Nobody may ever call `listen`.
      events?.start();
      handle(request, response);
    };
  };
  const handler = handlerUnder("");

  const listeners = createListeners({
    options,
    host,
    handler,
    front: options.front?.({
      peerAddressOf: ({ socket }) => peerAddressOf(socket),
      isTrustedProxy: host.isTrustedProxy,
    }),
    commandFront: openruko.front,
    isOpen: async () => identification.isOpen(),
    // Nothing is served that could not be written down.
    onListen: async ({ host: name, port }) =>
      audit?.started({ version: VERSION, pid: process.pid, http: `${name}:${port}` }),
    operations: {
      metrics: metricsText,
      readiness,
      events: events?.reader,
      onFailure: (error) => log({ level: "error", message: "an operator was not answered", error }),
    },
  });

  return {
    handler,
    handlerUnder,
    store,
    limits,
    events: (events ?? NO_EVENTS).reader,
    webhooks: (events ?? NO_EVENTS).webhooks,
    isOpen: async () => identification.isOpen(),
    get active() {
      return gate.active;
    },
    metrics: metricsText,
    audit: (entry) => audit?.note(entry),
    readiness,
    async listen(addresses) {
      const listening = await listeners.listen(addresses);
      prepareToPlan().catch((error: unknown) =>
        log({ level: "warn", message: "no worker thread could be made ready", error }),
      );
      events?.start();
      return listening;
    },
    runCommand: (request) =>
      runCommand(host, request, {
        lfsAuthenticate: options.sshServer?.lfsAuthenticate,
        front: openruko.front,
      }),
    close({ graceMs = 10_000 } = {}) {
      isDraining = true;
      const giveUp = (): void =>
        closing.abort(
          new GitwharfError("base/shutting-down", "the server is shutting down; try again later"),
        );
      // Timers have 31 bits.
      const timer = setTimeout(giveUp, Math.min(graceMs, 0x7fff_ffff));
      const listenersClosed = listeners.close(graceMs + 1000);
      closed ??= (async () => {
        // Requests may come through a server of the caller's, which knows nothing of this.
        await Promise.all([
          listenersClosed,
          Promise.race([Promise.all([gate.close(), pushTurns.close()]), abandoned(closing.signal)]),
        ]);
        giveUp();
        await maintenance.close();
        await scripts?.close();
        await events?.close();
        await audit?.close();
        await identification.close();
        await rates.close();
        if (ownsStore) await store.close();
        // To the last, it tells who asks that this one is going.
        await listeners.closeOperations();
      })();
      void closed.finally(() => clearTimeout(timer)).catch(() => undefined);
      return closed;
    },
  };
}

/** @throws server/bad-configuration */
function checkPast({ past, repositories }: GitServerOptions): void {
  if (past !== true || (typeof repositories !== "string" && repositories.openAt !== undefined)) return;
  throw new GitwharfError(
    "server/bad-configuration",
    "past serves what repositories were, and these keep nothing of it: it goes with the object store, without --as-of",
  );
}

/** What is the server's own has limits of its own. */
function withoutLimit(own: PushHandlers): PushHandlers {
  return { ...own, timeoutMs: Number.POSITIVE_INFINITY };
}

/** Whose `X-Request-Id` is believed. */
function trustedProxiesOf(options: GitServerOptions): ServiceHost["isTrustedProxy"] {
  const proxies = [...(options.trustedProxies ?? []), ...(options.trustedUserHeader?.proxies ?? [])];
  if (proxies.length === 0) return () => false;
  const isTrusted = compileAddresses(proxies);
  return (address) => address !== undefined && isTrusted(address);
}

/** Settles a second after requests were told to end: a handler that never answers must not keep the server. */
async function abandoned(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
  await setTimeoutPromise(1000, undefined, { ref: false });
}

function panicFileOf({ panicFile, repositories }: GitServerOptions): string | undefined {
  if (panicFile !== undefined) return panicFile;
  return typeof repositories === "string" ? join(repositories, ".gitwharf", "panic.json") : undefined;
}

/** What new repositories are like; a store of the caller's own may have another default of refs. */
function creationOf(options: GitServerOptions): CreateRepositoryOptions {
  const { objectFormat = "sha1", refFormat, defaultBranch = "main" } = options;
  return { objectFormat, defaultBranch, ...(refFormat === undefined ? {} : { refFormat }) };
}

function logToStandardError(entry: ServiceLogEntry): void {
  if (entry.level === "info") return;
  console.error(`gitwharf: ${entry.message}`, entry.error ?? "");
}
