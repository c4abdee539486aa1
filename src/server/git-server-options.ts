/** The options of `createGitServer` and of a configuration file: the same names in both. */
import type { ApiOptions } from "../api/api-options.js";
import type { BundleUriOptions } from "./bundle-uris.js";
import type { AuditSink } from "../access/audit/audit-entry.js";
import type { AuditOptions } from "../access/audit/audit-options.js";
import type { Authenticator } from "../access/authenticator.js";
import type { ClientCertificateUsers } from "../access/client-certificate-authenticator.js";
import type { PolicyEntry } from "../access/policies/policy-rule.js";
import type { VerifyCommit } from "../access/policies/requirements.js";
import type { GitoriousOptions } from "../access/gitorious/gitorious-options.js";
import type { ProxyHeaderOptions } from "../access/proxy-header.js";
import type { OpenrukoOptions } from "../access/openruko/openruko-options.js";
import type { RemoteOptions } from "../access/remote/remote-options.js";
import type { RateOptions } from "../access/rates/rates.js";
import type { ResolveRepository } from "../access/repository-resolver.js";
import type { SignedTokenOptions } from "../access/signed-token.js";
import type { StaticUsers } from "../access/static-users.js";
import type { Limits } from "../base/limits.js";
import type { MaybePromise } from "../base/maybe-promise.js";
import type { Authorize } from "../engine/authorization.js";
import type { PushCertificate, PushCertificateVerification, PushHandlers } from "../engine/push.js";
import type { WebhookOptions } from "../events/webhook.js";
import type { HttpHook } from "../hooks/http-hooks.js";
import type { ScriptHooks } from "../hooks/script-hooks.js";
import type { ObjectFormat } from "../object/object-format.js";
import type { RefFormat, RepositoryStore } from "../storage/contracts/repository.js";
import type { HttpHandler } from "../transport/http/handler.js";
import type { FrontHost, HttpFront } from "../transport/http/http-front.js";
import type { Authenticate, AutoCreate, ServiceHost, ServiceLogEntry } from "../transport/service-host.js";
import type { EventsOptions } from "./events.js";
import type { GitDaemonOptions } from "./git-daemon-options.js";
import type { SshServerOptions } from "./ssh-options.js";

export interface GitServerOptions {
  /** A directory of repositories (made when missing), or a store of your own. */
  readonly repositories: string | RepositoryStore;
  /** When a repository that does not exist is made: on its first push, also on its first read, or never. @default "never" */
  readonly autoCreate?: AutoCreate;
  /** The branch that HEAD names in new repositories. @default "main" */
  readonly defaultBranch?: string;
  /** The hash function of new repositories. @default "sha1" */
  readonly objectFormat?: ObjectFormat;
  /** How new repositories on disk keep their refs; reading "reftable" with git needs git 2.45. @default "files" */
  readonly refFormat?: RefFormat;
  /**
   * Tells who sends these credentials; undefined refuses them. Without it everyone is anonymous, and the server
   * answers only on loopback names unless `authorize` is given.
   */
  readonly authenticate?: Authenticate;
  /**
   * Users, SSH keys and access tokens of `gitwharf user`, `key` and `token`: `sqlite:PATH` or `postgres://…`. The server
   * is open, to its own machine, until there is a first user; that takes effect at once.
   * @default none
   */
  readonly database?: string;
  /** Users by name; passwords as hashes of `gitwharf user hash`. */
  readonly users?: StaticUsers;
  /** Short-lived tokens (JWT) that somebody else signs. */
  readonly signedTokens?: SignedTokenOptions;
  /** The header in which a reverse proxy names the user, and which proxies are believed. */
  readonly trustedUserHeader?: ProxyHeaderOptions;
  /**
   * Addresses and networks of proxies: what they write into X-Forwarded-For is where a request comes from, and only they
   * may connect where `proxyProtocol` is asked for.
   * @default none
   */
  readonly trustedProxies?: readonly string[];
  /** Take TLS client certificates; `tls.clientCaFile` of `listen` says whose. */
  readonly clientCertificates?: ClientCertificateUsers;
  /**
   * Further ways to sign in, asked in order and before `authenticate`. With at least one of either, nobody is let in
   * who cannot be told apart unless `authorize` says so.
   */
  readonly authenticators?: readonly Authenticator[];
  /**
   * Asked on every request, after parsing and before work; an error denies.
   * @default with `authenticate`: everyone who signed in; without: everyone
   */
  readonly authorize?: Authorize;
  /**
   * Rules about who may do what, in order; the first that decides counts, before `authorize`. What none decides is asked
   * of `authorize`, and denied without it.
   */
  readonly policies?: readonly PolicyEntry[];
  /** Patterns of repositories that anyone may read, signed in or not. */
  readonly anonymousRead?: readonly string[];
  /** Patterns of repositories that take one push at a time; the others wait for their turn. @default none */
  readonly serialPushes?: readonly string[];
  /** For rules that require signed commits: whether the signature is good. @default it has to be there */
  readonly verifyCommit?: VerifyCommit;
  /**
   * Which repository a public name stands for; undefined: none. Asked on every request, before authorization, which is
   * about the repository that was found.
   * @default names are those of repositories
   */
  readonly resolveRepository?: ResolveRepository;
  /**
   * An application that is asked over HTTP who calls and what they may do (docs/remote-authorization.md). It takes the
   * place of `authenticate` and `authorize`.
   */
  readonly remote?: RemoteOptions;
  /**
   * Openruko's API server (docs/openruko.md): it says whose SSH keys are whose, and commands over SSH are passed on to
   * builds of their own. This server's repositories are then not served over SSH.
   */
  readonly openruko?: OpenrukoOptions;
  /**
   * A Gitorious application that is asked by its internal API, answered for and told of pushes as by Gitorious's own
   * servers (docs/gitorious.md). It takes the place of `authenticate`, `authorize`, `resolveRepository` and `remote`.
   */
  readonly gitorious?: GitoriousOptions;
  /**
   * Serve repositories over REST beside Git: `/repositories`, `/health`, `/openapi.json` (docs/api.md). Names that begin
   * with `repositories/` have other addresses then.
   * @default false
   */
  readonly api?: boolean | ApiOptions;
  /**
   * Make bundles of repositories that can keep them (the object store's), in the background, and offer them to clients that
   * ask (`bundle-uri`): a clone then begins with a file of the bucket.
   * @default false
   */
  readonly bundleUris?: boolean | BundleUriOptions;
  /**
   * Tell clients that ask where in the bucket they get packs of which they want everything (`packfile-uris`): of the object
   * store in S3.
   * @default false
   */
  readonly packfileUris?: boolean | BundleUriOptions;
  /**
   * Serve what repositories were under names of their own, to be read: `NAME@{GENERATION}` and `NAME@{TIME}`, to whoever may read
   * NAME (docs/object-store.md#what-was). `authorize` is told the point in time (`at`). Where `repositories` keep their past: the
   * object store.
   * @default false
   */
  readonly past?: boolean;
  /**
   * Serve no repository, not even for reading, whose `hooks/pre-receive` is absent or not executable.
   * @default false
   */
  readonly requirePreReceive?: boolean;
  /** Handlers of pushes, called in order. */
  readonly handlers?: PushHandlers | readonly PushHandlers[];
  /**
   * Takes requests before they come to Git, by host name say: `openApps(…).frontFor`. Of listeners that `listen` makes.
   * @default none
   */
  readonly front?: (host: FrontHost) => HttpFront;
  /**
   * Answers some requests in place of Git and the API, in the same way: `gateway.handler`. @param next answers the others
   * @param prefix under which all of them are
   * @default none
   */
  readonly beside?: (host: ServiceHost, next: HttpHandler, prefix: string) => HttpHandler;
  /**
   * How long each handler of these may take; then the push is refused. Handlers may say so themselves: `timeoutMs`.
   * @default 600,000
   */
  readonly handlerTimeoutMs?: number;
  /**
   * Scripts as hooks of pushes, as text or as files, after `handlers` and before the repositories' own; a list of them
   * for several repositories. Nothing is installed.
   */
  readonly hooks?: ScriptHooks | readonly ScriptHooks[];
  /**
   * Hooks that are asked over HTTP whether a push may go on, after `handlers` and before `hooks`; without an answer it may
   * not (docs/hooks.md).
   */
  readonly httpHooks?: HttpHook | readonly HttpHook[];
  /**
   * Write down in the `database` what becomes of refs, before they move, for `server.events`, the stream and webhooks
   * (docs/events.md).
   * @default true where there are `webhooks`
   */
  readonly events?: boolean | EventsOptions;
  /** Addresses that are told of events, in order per repository, until they have taken each (docs/events.md). */
  readonly webhooks?: readonly WebhookOptions[];
  /** Run the hooks that stand inside repositories. Whoever can write there can run programs as this server. @default false */
  readonly repositoryHooks?: boolean;
  readonly verifyPushCertificate?: (
    certificate: PushCertificate,
  ) => MaybePromise<PushCertificateVerification>;
  /**
   * Look in every pushed object for signs of a SHA-1 collision attack and refuse it. Costs about two thirds of the CPU
   * of a push; repositories of SHA-256 never need it.
   * @default true
   */
  readonly collisionDetection?: boolean;
  /**
   * How often an address, a user and a key may do what; false: as often as they like. Nothing is counted while the
   * server is open to its own machine.
   */
  readonly rates?: RateOptions | false;
  /**
   * The file by which `gitwharf panic` refuses pushes and reads.
   * @default `.gitwharf/panic.json` in the directory of the repositories; none for a store of your own
   */
  readonly panicFile?: string;
  /**
   * The audit log: the path of a file, a function that takes its entries, or an object that says more
   * (docs/audit-log.md).
   * @default none
   */
  readonly audit?: string | AuditSink | AuditOptions;
  /** Deviations from the default limits. */
  readonly limits?: Partial<Limits>;
  /**
   * "sync": what was acknowledged survives a power cut. "none": the operating system writes when it likes (tests).
   * @default "sync"
   */
  readonly durability?: "sync" | "none";
  /** In Prometheus's text format, behind the server's own on `/metrics`: `deployment.metrics`. @default none */
  readonly furtherMetrics?: () => MaybePromise<string>;
  /** Host keys, algorithms and certificates of the SSH server; `listen` says whether there is one. */
  readonly sshServer?: SshServerOptions;
  /** What is served over git://; `listen` says whether anything is. */
  readonly gitDaemon?: GitDaemonOptions;
  /** @default drops entries of level "info", prints others to standard error */
  readonly log?: (entry: ServiceLogEntry) => void;
}

export interface ListenOptions {
  /** A port, or `HOST:PORT`; the host is 127.0.0.1 unless given. Port 0 takes a free one. */
  readonly http: number | string;
  /** Serve SSH as well: an address in the same form. @default no SSH */
  readonly ssh?: number | string;
  /**
   * Listeners behind a TCP balancer that speaks the PROXY protocol (1 or 2): connections that do not begin with it, or do
   * not come from `trustedProxies`, are closed.
   * @default none
   */
  readonly proxyProtocol?: readonly ("http" | "ssh" | "git")[];
  /**
   * Serve git:// as well: an address in the same form. Nobody signs in there and nothing is encrypted.
   * @default no git://
   */
  readonly git?: number | string;
  /**
   * Answer `/metrics`, `/healthz` and `/readyz` on a listener of their own: an address in the same form. Whoever reaches it
   * may read all of it.
   * @default none
   */
  readonly metrics?: number | string;
  /** Serve HTTPS (HTTP/2 and HTTP/1.1). The files are read again on `reloadCertificate()`. */
  readonly tls?: {
    readonly certificateFile: string;
    readonly keyFile: string;
    /** Authorities whose client certificates are taken; `clientCertificates` says who their holders are. */
    readonly clientCaFile?: string;
  };
}
