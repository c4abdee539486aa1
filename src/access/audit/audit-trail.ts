/**
 * What a server writes into its audit log, and when. A push is written twice: what it asks for before anything of it
 * becomes visible, and what became of it before the pusher is told. Everything else is written once, when it is over.
 */
import type { Activity, RequestRecord, ServiceLabel } from "../../base/activity.js";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { Identity } from "../../engine/identity.js";
import type { Push, PushCommand, PushOutcome, PushRecorder } from "../../engine/push.js";
import { actionOf } from "../push-action.js";
import { possibleActions } from "../ref-rules.js";
import type { AuditEntry, AuditEvent, AuditRef } from "./audit-entry.js";
import type { AuditWriter } from "./audit-writer.js";
import { createRefusalMeter } from "./refusal-meter.js";

export interface AuditCaller {
  readonly identity: Identity;
  readonly address: string | undefined;
  readonly transport: "http" | "ssh" | "git" | "stdio";
  readonly activity?: Activity | undefined;
}

export interface AuditTrail {
  /** @throws access/audit-failed for a push that could not be written down */
  admit(operation: "fetch" | "push" | "archive" | "create"): Promise<void>;
  /** For one push. */
  recorderOf(caller: AuditCaller, repository: string): PushRecorder;
  /**
   * A repository is about to be made, renamed or deleted; what became of that is told by `ended`.
   * @throws access/audit-failed
   */
  changes(caller: AuditCaller, change: RepositoryChange): Promise<void>;
  /** A push that is passed on to others, who alone know its refs. @throws access/audit-failed */
  passedOn(caller: AuditCaller, repository: string): Promise<void>;
  /** A request that is over; what has been written of it as a push is not written again. */
  ended(activity: Activity, record: RequestRecord): void;
  /** Somebody whom no request will name: an SSH client that did not get in. */
  refusedSignIn(about: {
    readonly transport: "http" | "ssh";
    readonly address: string | undefined;
    /** A key that was shown. */
    readonly credentialId: string | undefined;
    readonly error: unknown;
  }): void;
  started(details: NonNullable<AuditEntry["details"]>): Promise<void>;
  /** What is done beside requests. */
  note(entry: AuditEntry): void;
  /** @throws access/audit-failed */
  ready(): Promise<void>;
  /** As far as the last attempt tells. */
  isFailing(): boolean;
  close(): Promise<void>;
}

export interface RepositoryChange {
  readonly event: "repository-create" | "repository-rename" | "repository-delete";
  readonly repository: string;
  readonly details?: AuditEntry["details"];
}

export interface AuditTrailOptions {
  readonly writer: AuditWriter;
  readonly onFailure: "refuse" | "continue";
  readonly reads: boolean;
  /** That something could not be written. */
  readonly onLost: (error: unknown) => void;
}

const UNWRITABLE =
  "the server cannot write its audit log, and takes no pushes until it can; ask its operator, or try again later";
const UNWRITABLE_CHANGE =
  "the server cannot write its audit log, and changes no repositories until it can; ask its operator, or try again later";
/** Of one push whether a change is a forced one: that takes a walk. */
const WALKS_MAX = 100;

const EVENTS: Readonly<Record<ServiceLabel, AuditEvent>> = {
  "upload-pack-refs": "fetch",
  "upload-pack": "fetch",
  files: "fetch",
  "receive-pack-refs": "push",
  "receive-pack": "push",
  "upload-archive": "archive",
  "lfs-authenticate": "lfs-authenticate",
  api: "request",
  "repository-create": "repository-create",
  "repository-rename": "repository-rename",
  "repository-delete": "repository-delete",
  other: "request",
};

export function createAuditTrail(options: AuditTrailOptions): AuditTrail {
  const { writer, onFailure, reads, onLost } = options;
  /** Pushes of which something is written, and whether that was the end. */
  const pushes = new WeakMap<Activity, "begun" | "ended">();
  const meter = createRefusalMeter();
  let hasStarted = false;
  const write = (...entries: readonly AuditEntry[]): void => void writer.append(entries).catch(onLost);
  const writeRefusal = (entry: AuditEntry): void => {
    if (entry.user !== undefined) return write(entry);
    const { isWritten, omitted } = meter.take(entry.address);
    if (omitted > 0) write(omittedEntry(omitted));
    if (isWritten) write(entry);
  };
  return {
    note: (entry) => write(entry),
    async admit(operation) {
      if (onFailure === "continue" || (operation !== "push" && operation !== "create")) return;
      try {
        await writer.ready();
      } catch (cause) {
        onLost(cause);
        throw new GitwharfError("access/audit-failed", UNWRITABLE, { cause });
      }
    },
    recorderOf(caller, repository) {
      const who = whoOf(caller, repository);
      const note = (stage: "begun" | "ended"): void => {
        if (caller.activity !== undefined) pushes.set(caller.activity, stage);
      };
      let kinds: ReadonlyMap<string, AuditRef["kind"]> = new Map();
      return {
        async begin(push, commands) {
          kinds = await kindsOf(push, commands);
          const refs = commands.map((command) => refOf(command, kinds));
          try {
            await writer.append([{ ...who, event: "push-begin", refs }], { durable: true });
            note("begun");
            return undefined;
          } catch (error) {
            onLost(error);
            return onFailure === "refuse" ? UNWRITABLE : undefined;
          }
        },
        async end(outcomes, failure) {
          const refs = outcomes.flatMap((outcome) => endedRefs(outcome, kinds));
          const refused = refs.filter((ref) => ref.outcome === "refused").length;
          const outcome = refused === 0 ? "ok" : refused === refs.length ? "refused" : "partial";
          note("ended");
          try {
            await writer.append([{ ...who, event: "push", outcome, ...whyOf(failure), refs }], {
              durable: true,
            });
            return undefined;
          } catch (error) {
            onLost(error);
            return "the server could not write into its audit log what became of this push";
          }
        },
      };
    },
    async changes(caller, { event, repository, details }) {
      const entry: AuditEntry = { ...whoOf(caller, repository), event, outcome: "begun", details };
      try {
        await writer.append([entry], { durable: true });
      } catch (cause) {
        onLost(cause);
        if (onFailure === "refuse")
          throw new GitwharfError("access/audit-failed", UNWRITABLE_CHANGE, { cause });
      }
    },
    async passedOn(caller, repository) {
      try {
        await writer.append([{ ...whoOf(caller, repository), event: "push-begin" }], { durable: true });
        if (caller.activity !== undefined) pushes.set(caller.activity, "begun");
      } catch (cause) {
        onLost(cause);
        if (onFailure === "refuse") throw new GitwharfError("access/audit-failed", UNWRITABLE, { cause });
      }
    },
    ended(activity, record) {
      const stage = pushes.get(activity);
      if (stage === "ended") return;
      const { outcome, service, error, user } = record;
      if (stage === undefined && !isOfInterest(record, reads)) return;
      const { requestId, transport, address, repository, method, credentialId } = record;
      const entry: AuditEntry = {
        event: isSignIn(record) ? "sign-in" : EVENTS[service],
        requestId,
        user,
        method,
        credentialId,
        transport,
        address,
        repository,
        outcome,
        ...whyOf(error),
      };
      if (outcome === "ok") write(entry);
      else writeRefusal(entry);
    },
    refusedSignIn({ error, ...about }) {
      writeRefusal({ event: "sign-in", ...about, outcome: "unauthenticated", ...whyOf(error) });
    },
    async started(details) {
      await writer.append([{ event: "server-start", outcome: "ok", details }], { durable: true });
      hasStarted = true;
    },
    // Who goes on without it can serve.
    ready: async () => (onFailure === "refuse" ? writer.ready() : undefined),
    isFailing: () => writer.isFailing(),
    async close() {
      const omitted = meter.rest();
      if (omitted > 0) write(omittedEntry(omitted));
      if (hasStarted) {
        const stop: AuditEntry = { event: "server-stop", outcome: "ok", details: { pid: process.pid } };
        await writer.append([stop], { durable: true }).catch(onLost);
      }
      await writer.close();
    },
  };
}

/**
 * Not: the first request of a fetch or push (the second one is), single files of dumb HTTP, who has not shown credentials
 * yet, who was told to come again by a limit.
 */
function isOfInterest({ outcome, service, user, error }: RequestRecord, reads: boolean): boolean {
  switch (outcome) {
    case "ok":
      if (service === "upload-pack" || service === "upload-archive") return reads;
      return (
        service === "receive-pack" || service === "lfs-authenticate" || service.startsWith("repository-")
      );
    case "busy":
      return isGitwharfError(error, "access/audit-failed", "access/suspended");
    case "unauthenticated":
      return user !== undefined || isSignIn({ error });
    case "gone":
      return user !== undefined && service === "receive-pack";
    default:
      return true;
  }
}

/** Credentials were shown, and they were wrong. */
function isSignIn({ error }: Pick<RequestRecord, "error">): boolean {
  return isGitwharfError(error, "access/unauthenticated") && error.details["authenticator"] !== undefined;
}

function whoOf(
  { identity, address, transport, activity }: AuditCaller,
  repository: string,
): Omit<AuditEntry, "event"> {
  const { user, method, credentialId } = identity;
  return { requestId: activity?.requestId, user, method, credentialId, transport, address, repository };
}

/**
 * What is the server's fault keeps its details for the log of requests: callbacks put into it what they like. What a client
 * has written wrongly is quoted in its errors, and may be a secret in the wrong place: the code says enough.
 */
function whyOf(error: unknown): Pick<AuditEntry, "code" | "reason" | "details"> {
  if (error === undefined) return {};
  if (!isGitwharfError(error)) return { reason: "internal error" };
  const { code, kind, message, details } = error;
  const { authenticator, reason } = details;
  if (typeof authenticator === "string")
    return { code, reason: typeof reason === "string" ? reason : message, details: { authenticator } };
  const isDecision = code.startsWith("access/") || (kind === "peer" && !/^(?:protocol|storage)\//.test(code));
  return { code, reason: isDecision ? message : undefined };
}

async function kindsOf(push: Push, commands: readonly PushCommand[]): Promise<Map<string, AuditRef["kind"]>> {
  const kinds = new Map<string, AuditRef["kind"]>();
  let walks = 0;
  for (const command of commands) {
    const [first = "update"] = possibleActions(command);
    const isSure = first !== "update" || walks++ < WALKS_MAX;
    kinds.set(command.name, isSure ? await actionOf(push, command) : "change");
  }
  return kinds;
}

function refOf(command: PushCommand, kinds: ReadonlyMap<string, AuditRef["kind"]>): AuditRef {
  const { name, oldOid, newOid } = command;
  const [first = "update"] = possibleActions(command);
  const kind = kinds.get(name) ?? (first === "update" ? "change" : first);
  return { name, old: oldOid, new: newOid, kind };
}

/** Where proc-receive moved other refs, those. */
function endedRefs(outcome: PushOutcome, kinds: ReadonlyMap<string, AuditRef["kind"]>): readonly AuditRef[] {
  const { command, refusal, substitutes } = outcome;
  const asked = refOf(command, kinds);
  if (refusal !== undefined) return [{ ...asked, outcome: "refused", reason: refusal }];
  if (outcome.changedNothing === true)
    return [{ ...asked, outcome: "accepted", reason: "nothing to delete" }];
  if (substitutes.length === 0) return [{ ...asked, outcome: "accepted" }];
  return substitutes.map(({ refName, oldOid, newOid, forcedUpdate }) => {
    const name = refName ?? command.name;
    const moved = refOf(
      { name, oldOid: oldOid ?? command.oldOid, newOid: newOid ?? command.newOid },
      new Map(),
    );
    return {
      ...moved,
      ...(forcedUpdate === true ? { kind: "force" as const } : {}),
      ...(name === command.name ? {} : { pushedAs: command.name }),
      outcome: "accepted",
    };
  });
}

function omittedEntry(count: number): AuditEntry {
  return { event: "refusals-omitted", details: { count } };
}
