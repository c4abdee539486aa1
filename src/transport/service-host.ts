/**
 * What the composition root hands to every transport: stores, policies, limits. No transport knows a backend.
 */
import type { AuditTrail } from "../access/audit/audit-trail.js";
import type { AuthenticationAttempt } from "../access/authenticator.js";
import type { ClientAddressOf } from "../access/client-address.js";
import type { Credentials } from "../access/credentials.js";
import type { ResolvedRepository, ResolveRequest } from "../access/repository-resolver.js";
import type { RequestObserver } from "../base/activity.js";
import type { PanicSwitch } from "../access/panic-switch.js";
import type { RateLimits } from "../access/rates/rate-limits.js";
import type { SharedBudget } from "../base/shared-budget.js";
import type { Limits } from "../base/limits.js";
import type { MaybePromise } from "../base/maybe-promise.js";
import type { AuthorizationRequest, Authorize } from "../engine/authorization.js";
import type { Identity, PushCertificate, PushCertificateVerification, PushHandlers } from "../engine/push.js";
import type { PreparedRepository, Repository, RepositoryStore } from "../storage/contracts/repository.js";
import type { IsHiddenRef } from "../protocol/hidden-refs.js";
import type { RepositorySettings } from "../storage/contracts/repository-settings.js";
import type { AnswerTexts } from "./answer-texts.js";
import type { RepositoryGate } from "./repository-gate.js";

/** When a repository that does not exist comes into being. */
export type AutoCreate = "never" | "push" | "read";

export type Authenticate = (
  credentials: Credentials,
  caller: { readonly address: string | undefined; readonly transport: "http" | "ssh" },
) => MaybePromise<Identity | undefined>;

export interface ServiceLogEntry {
  readonly level: "info" | "warn" | "error";
  readonly message: string;
  readonly error?: unknown;
  readonly fields?: Readonly<Record<string, string | number | undefined>>;
}

export interface ServiceHost {
  readonly store: RepositoryStore;
  readonly limits: Limits;
  /** Shared by all requests (`requestBytesTotalMax`). */
  readonly requestBytes: SharedBudget;
  /** Shared by all pushes (`packObjectsTotalMax`). */
  readonly packObjects: SharedBudget;
  readonly agent: string;
  readonly authorize: Authorize;
  /**
   * Refs that the caller may not see, besides what the repository's configuration hides; undefined: none. The same
   * function for all to whom the same rules apply.
   */
  hiddenRefsOf(request: AuthorizationRequest): Promise<IsHiddenRef | undefined>;
  /**
   * Who sends this? Anonymous when nothing was sent, and while the server is open to everyone.
   * @throws access/unauthenticated, access/unavailable
   */
  identify(attempt: AuthenticationAttempt): Promise<Identity>;
  /** True while nobody can sign in: everyone on this machine may do everything, and nobody else is answered. */
  isOpen(): MaybePromise<boolean>;
  /** Behind a listed proxy what the proxy tells. */
  readonly clientAddressOf: ClientAddressOf;
  /**
   * The repository that a name stands for; undefined in it: none. Without it, names are those of repositories.
   * @throws access/unavailable
   */
  readonly resolveRepository:
    | ((name: string, request: ResolveRequest) => Promise<ResolvedRepository | undefined>)
    | undefined;
  /**
   * Is this what people may call a repository here? What comes out is resolved, and looked for in the store only when
   * there is no resolver.
   * @throws storage/bad-name
   */
  parseName(text: string, transport: "http" | "ssh" | "git"): string;
  /** May this repository be served at all? @throws what its callers are told */
  readonly admitRepository: ((repository: Repository) => Promise<void>) | undefined;
  /** Answers in the words of another server. */
  readonly answers: AnswerTexts | undefined;
  /** Is this the address of a listed proxy? */
  readonly isProxy: (address: string) => boolean;
  readonly rates: RateLimits;
  readonly panic: Pick<PanicSwitch, "admit">;
  /** undefined: there is no audit log. */
  readonly audit:
    | Pick<AuditTrail, "admit" | "recorderOf" | "changes" | "passedOn" | "ended" | "refusedSignIn">
    | undefined;
  readonly gate: RepositoryGate;
  /** Does this repository take one push at a time? */
  readonly isSerial: (name: string) => boolean;
  /** For those that do. */
  readonly pushTurns: RepositoryGate;
  readonly autoCreate: AutoCreate;
  /** The repository that a first push asks for, unseen until it is placed. @throws storage/exists */
  prepareRepository(name: string): Promise<PreparedRepository>;
  /** An empty repository that is shown in place of one which a push would create. */
  openPhantom(name: string): Promise<Repository>;
  /** The repository's own configuration over the server's. */
  settingsOf(repository: Repository): Promise<RepositorySettings>;
  handlersOf(repository: Repository): readonly PushHandlers[];
  readonly verifyPushCertificate:
    | ((certificate: PushCertificate) => MaybePromise<PushCertificateVerification>)
    | undefined;
  readonly handlerTimeoutMs: number;
  readonly collisionDetection: boolean;
  log(entry: ServiceLogEntry): void;
  /** May this address say under which id a request is logged? */
  isTrustedProxy(address: string | undefined): boolean;
  /** Told of every request when it begins and when it is over. */
  readonly observer: RequestObserver;
  /** Bundles that are made of repositories; undefined: none are. */
  readonly bundleUris: { readonly lifetimeSeconds: number } | undefined;
  /** Packs of so many bytes and more may be had from where they are stored; undefined: none. */
  readonly packfileUris: { readonly sizeBytesMin: number; readonly lifetimeSeconds: number } | undefined;
  /** Told of every push that was served, when its request is over; does its work later. */
  afterPush(name: string): void;
  /** Fires when the server gives up on requests that are still at work. */
  readonly closing: AbortSignal;
}
