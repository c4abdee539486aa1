/**
 * One request of a client, as those who look after the server see it: an id, what became of it, bytes, and its steps as
 * OpenTelemetry spans. The protocol names steps; who writes lines and counts is told once, at the end.
 *
 * Spans go through the API package alone: without an SDK of the application's they are objects that do nothing. Steps get
 * their parent handed on, so that they nest also where the application has no context manager.
 */
import type { Attributes, Context, Span } from "@opentelemetry/api";
import { isGitwharfError } from "./errors.js";
import type { MaybePromise } from "./maybe-promise.js";
import { context as activeContexts, SpanKind, SpanStatusCode, trace } from "./opentelemetry.js";
import { outcomeOf, type RequestOutcome } from "./request-outcome.js";

/** What is asked for; few, because metrics are kept for each. */
export type ServiceLabel =
  | "upload-pack-refs"
  | "receive-pack-refs"
  | "upload-pack"
  | "receive-pack"
  | "upload-archive"
  | "lfs-authenticate"
  | "files"
  /** Reading by the API, and what it did not understand. */
  | "api"
  | "repository-create"
  | "repository-rename"
  | "repository-delete"
  | "other";

export type TransportLabel = "http" | "ssh" | "git";

export type StepName =
  | "authorize"
  | "negotiate"
  | "plan"
  | "send"
  | "ingest"
  | "connectivity"
  | "hooks"
  | "publish"
  | "proc-receive"
  | "push-to-checkout"
  | "refs"
  | "post-receive";

/** What is found out on the way. */
export interface RequestFacts {
  readonly service?: ServiceLabel;
  /** Checked name without `.git`. */
  readonly repository?: string;
  readonly user?: string;
  /** How the user was proved. */
  readonly method?: string | undefined;
  /** Names what proved it. */
  readonly credentialId?: string | undefined;
  /** Objects that a push sent. */
  readonly pushedObjects?: number;
  readonly attributes?: Attributes;
}

/** Of a request that is over. */
export interface RequestRecord {
  readonly requestId: string;
  readonly transport: TransportLabel;
  readonly address: string | undefined;
  readonly service: ServiceLabel;
  readonly repository: string | undefined;
  readonly user: string | undefined;
  readonly method: string | undefined;
  readonly credentialId: string | undefined;
  readonly outcome: RequestOutcome;
  /** Of all outcomes but "ok". Not for logs as it is: an application's may say anything. */
  readonly error: unknown;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly pushedObjects: number | undefined;
  readonly milliseconds: number;
}

export interface Activity {
  readonly requestId: string;
  /** What came in and went out so far. */
  readonly bytes: number;
  note(facts: RequestFacts): void;
  received(bytes: number): void;
  sent(bytes: number): void;
  /** What went wrong, whoever was told and however; the first counts. */
  failed(error: unknown): void;
  /** Work with a span of its own, which an application's own spans in callbacks nest in. */
  step<T>(name: StepName, work: () => MaybePromise<T>): Promise<T>;
  /** Once; further calls give the same record. */
  end(attributes?: Attributes): RequestRecord;
}

/** Who counts. */
export interface RequestObserver {
  began(transport: TransportLabel): void;
  ended(record: RequestRecord): void;
}

export interface ActivityStart {
  readonly requestId: string;
  readonly transport: TransportLabel;
  readonly address: string | undefined;
  readonly attributes?: Attributes;
  /** @default what is active */
  readonly parent?: Context;
}

export function beginActivity(start: ActivityStart): Activity {
  const { requestId, transport, address } = start;
  const begun = performance.now();
  const tracer = trace.getTracer("gitwharf");
  const parent = start.parent ?? activeContexts.active();
  const span = tracer.startSpan(
    "git request",
    {
      kind: SpanKind.SERVER,
      attributes: {
        "gitwharf.request.id": requestId,
        "gitwharf.transport": transport,
        ...(address === undefined ? {} : { "client.address": address }),
        ...start.attributes,
      },
    },
    parent,
  );
  const own = trace.setSpan(parent, span);
  let facts: RequestFacts = {};
  let bytesIn = 0;
  let bytesOut = 0;
  let outcome: RequestOutcome | undefined;
  let failure: unknown;
  let record: RequestRecord | undefined;
  return {
    requestId,
    get bytes() {
      return bytesIn + bytesOut;
    },
    note(more) {
      facts = { ...facts, ...more };
      noteOn(span, more);
    },
    received: (bytes) => void (bytesIn += bytes),
    sent: (bytes) => void (bytesOut += bytes),
    failed(error) {
      if (outcome !== undefined) return;
      outcome = outcomeOf(error);
      failure = error;
      failOn(span, error, outcome);
    },
    async step(name, work) {
      const child = tracer.startSpan(`gitwharf.${name}`, {}, own);
      try {
        return await activeContexts.with(trace.setSpan(own, child), work);
      } catch (error) {
        failOn(child, error, outcomeOf(error));
        throw error;
      } finally {
        child.end();
      }
    },
    end(attributes = {}) {
      if (record !== undefined) return record;
      record = {
        requestId,
        transport,
        address,
        service: facts.service ?? "other",
        repository: facts.repository,
        user: facts.user,
        method: facts.method,
        credentialId: facts.credentialId,
        error: failure,
        outcome: outcome ?? "ok",
        bytesIn,
        bytesOut,
        pushedObjects: facts.pushedObjects,
        milliseconds: Math.round(performance.now() - begun),
      };
      span.setAttributes({
        ...attributes,
        "gitwharf.outcome": record.outcome,
        "gitwharf.received_bytes": bytesIn,
        "gitwharf.sent_bytes": bytesOut,
      });
      span.end();
      return record;
    },
  };
}

/** Where nobody looks on (standard input and output), the work alone. */
export async function inStep<T>(
  activity: Activity | undefined,
  name: StepName,
  work: () => MaybePromise<T>,
): Promise<T> {
  return activity === undefined ? work() : activity.step(name, work);
}

function noteOn(span: Span, { service, repository, user, pushedObjects, attributes }: RequestFacts): void {
  if (service !== undefined) {
    span.updateName(`git ${service}`);
    span.setAttribute("gitwharf.service", service);
  }
  if (repository !== undefined) span.setAttribute("vcs.repository.name", repository);
  if (user !== undefined) span.setAttribute("user.name", user);
  if (pushedObjects !== undefined) span.setAttribute("gitwharf.pushed_objects", pushedObjects);
  if (attributes !== undefined) span.setAttributes(attributes);
}

/** Its message only where it is the server's fault: what a peer did wrong is no error of a server's span. */
function failOn(span: Span, error: unknown, outcome: RequestOutcome): void {
  span.setAttribute("error.type", isGitwharfError(error) ? error.code : "internal");
  if (outcome !== "failed") return;
  span.recordException(error instanceof Error ? error : String(error));
  span.setStatus({ code: SpanStatusCode.ERROR });
}
