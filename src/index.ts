/** gitwharf: a programmable Git server. This file is the public interface of the library. */
export { createGitServer, type GitServer, type Listening } from "./server/git-server.js";
export type { CommandRequest } from "./server/run-command.js";
export type { GitDaemonOptions } from "./server/git-daemon-options.js";
export type { SshServerOptions } from "./server/ssh-options.js";
export type { GitServerOptions, ListenOptions } from "./server/git-server-options.js";
export {
  type ObjectStorage,
  type ObjectStorageOptions,
  openObjectStorage,
  rebuildObjectStorage,
} from "./server/object-storage.js";
export type { DeepVerifyOptions } from "./server/verify-stored.js";
export {
  type ImportOptions,
  importRepository,
  type ImportSummary,
} from "./server/import-repository.js";
export type { UrlImportOptions } from "./server/import-from-url.js";
export type { DeletedRepository, ObjectStore } from "./storage/object-store/object-store.js";
export type { ExportOptions, ExportSummary } from "./storage/object-store/export-state.js";
export type { Generation } from "./storage/object-store/past-states.js";
export type { PointInTime } from "./storage/contracts/past-name.js";
export type { GenerationAbout } from "./storage/object-store/generation-about.js";
export type { RebuildFinding, RebuildReport } from "./storage/object-store/witnesses/rebuild.js";
export type { Verification, VerifyFinding, VerifyOptions } from "./storage/object-store/verify-state.js";
export { VERSION } from "./server/version.js";
export type { HttpListener } from "./transport/http/listener.js";
export type { SshAlgorithms } from "./transport/ssh/algorithms.js";
export type { LfsAccess, LfsAuthenticate, LfsRequest } from "./transport/ssh/lfs-authenticate.js";
export type { DaemonListener } from "./transport/git-daemon/listener.js";
export type { SshListener } from "./transport/ssh/listener.js";
export type { FrontHost, HttpFront } from "./transport/http/http-front.js";
export type { HttpHandler } from "./transport/http/handler.js";
export type { Authenticate, AutoCreate, ServiceLogEntry } from "./transport/service-host.js";
export type { ApiOptions } from "./api/api-options.js";
export type { BundleUriOptions } from "./server/bundle-uris.js";
export type { AuditEntry, AuditEvent, AuditRef, AuditSink } from "./access/audit/audit-entry.js";
export type { AuditOptions } from "./access/audit/audit-options.js";
export type {
  AuthenticationAnswer,
  AuthenticationAttempt,
  Authenticator,
  ClientCertificate,
} from "./access/authenticator.js";
export type {
  PolicyEntry,
  PolicyFunction,
  PolicyOperation,
  PolicyRequirements,
  PolicyRule,
} from "./access/policies/policy-rule.js";
export type { VerifyCommit } from "./access/policies/requirements.js";
export { hashPassword } from "./access/password-hash.js";
export type { ClientCertificateUsers } from "./access/client-certificate-authenticator.js";
export type { ProxyHeaderOptions } from "./access/proxy-header.js";
export type { Rate, RateOptions, Rates } from "./access/rates/rates.js";
export type { Readiness } from "./server/readiness.js";
export type { SignedTokenOptions } from "./access/signed-token.js";
export type { StaticUser, StaticUsers } from "./access/static-users.js";
export type { Credentials, SshCertificateCredentials, SshKeyCredentials } from "./access/credentials.js";
export type { SshCertificate } from "./access/ssh-certificate.js";
export type { SshPublicKey } from "./access/ssh-public-key.js";
export type { OpenrukoOptions } from "./access/openruko/openruko-options.js";
export type { ResolvedRepository, ResolveRepository, ResolveRequest } from "./access/repository-resolver.js";
export type { GitoriousOptions } from "./access/gitorious/gitorious-options.js";
export { denyForcePushingIn } from "./server/gitorious.js";
export type { RemoteOptions } from "./access/remote/remote-options.js";
export { verifyRemoteSignature } from "./access/remote/remote-signature.js";
export type {
  AuthorizationAnswer,
  AuthorizationRequest,
  Authorize,
  Operation,
} from "./engine/authorization.js";
export type { Grant, Identity, RefAction, RefRule } from "./engine/identity.js";
export type {
  ArchiveOptions,
  At,
  ChangedRef,
  Checkout,
  CheckoutOptions,
  HandlerVerdict,
  PathChange,
  PrintOptions,
  ProcReceiveResult,
  Push,
  PushCertificate,
  PushCertificateVerification,
  PushCommand,
  PushedCommit,
  PushedEntry,
  PushedFile,
  PushedRef,
  PushHandlers,
  RedirectOptions,
  Signature,
  Upload,
  Verdict,
} from "./engine/push.js";
export { type Apps, type AppsOptions, openApps } from "./deploy/launch/open-apps.js";
export type { AppControl, FollowBuild, ProcessRow, ReleaseRow } from "./deploy/launch/app-control.js";
export type { AppFront } from "./deploy/launch/app-front.js";
export type { Formation, LaunchRecords, LaunchRelease } from "./deploy/launch/launch-release.js";
export type { AppTarget, Launcher } from "./deploy/launch/launcher.js";
export { appsDirectoryOf, controlSocketOf } from "./deploy/launch/places.js";
export type { ProcessEnd, ProcessRun, ProcessRunner } from "./deploy/launch/process-runner.js";
export type { EventType, RefEvent } from "./events/event.js";
export type { ReadEventsOptions } from "./events/event-tail.js";
export type { WebhookOptions } from "./events/webhook.js";
export type { EventReader, EventsOptions, WebhookDeliveries, WebhookDelivery } from "./server/events.js";
export type { EndpointOptions } from "./base/signed-endpoint.js";
export { verifyMessage } from "./base/message-signature.js";
export type { HttpHook } from "./hooks/http-hooks.js";
export {
  type HookPlace,
  type InstallableHook,
  type InstalledHook,
  installHook,
  listHooks,
  removeHook,
} from "./hooks/install-hook.js";
export { createReceiver, type Received, type ReceiverOptions } from "./hooks/receiver.js";
export type { Script } from "./hooks/script.js";
export type { ScriptHooks, Scripts } from "./hooks/script-hooks.js";
export { type Deployment, type DeploymentOptions, openDeployment } from "./deploy/deployment.js";
export { openDeploy, type Deploy, type DeployObserver, type DeployOptions } from "./deploy/deploy.js";
export type { EndedBuild } from "./deploy/build/builder.js";
export type { EndedRelease } from "./deploy/build/release-builds.js";
export type { NewApps } from "./deploy/new-apps.js";
export type { AppRow, BuildControl, BuildRow } from "./deploy/launch/build-control.js";
export type { Launch, Launching } from "./deploy/build/release-builds.js";
export type { NamedBuildpack } from "./deploy/build/buildpack-source.js";
export type { DeployState } from "./deploy/state/deploy-state.js";
export type {
  Execution,
  ExecutionEnd,
  ExecutionLimits,
  Executor,
  Mount,
} from "./deploy/executors/executor.js";
export { createSandboxExecutor, type SandboxOptions } from "./deploy/executors/sandbox-executor.js";
export { createContainerExecutor, type ContainerOptions } from "./deploy/executors/container-executor.js";
export {
  createDynoExecutor,
  type DynoExecutor,
  type DynoMeeting,
  type DynoOptions,
} from "./deploy/executors/dyno-executor.js";
export { createPlainExecutor, type PlainOptions } from "./deploy/executors/plain-executor.js";
export type { App, AppConfig } from "./database/app-store.js";
export type { Build, BuildProduct, BuildStatus } from "./database/build-store.js";
export type { Release, ReleaseStatus } from "./database/release-store.js";
export { DEFAULT_LIMITS, type Limits } from "./base/limits.js";
export { GitwharfError, isGitwharfError } from "./base/errors.js";
export { ERROR_CODES, type ErrorCode, type ErrorKind } from "./base/error-codes.js";
export { createDiskRepositoryStore } from "./storage/disk/disk-repository-store.js";
export { createMemoryRepositoryStore } from "./storage/memory/memory-repository-store.js";
export type * from "./storage/contracts/object-reader.js";
export type * from "./storage/contracts/quarantine.js";
export type * from "./storage/contracts/ref-store.js";
export type * from "./storage/contracts/repository.js";
export type * from "./storage/contracts/repository-settings.js";
