/**
 * Who may say no before anything is received, and who is told of what came of it: limits, bursts, the panic switch, opt-out
 * files, notifications. They are elsewhere; this is where they are asked.
 */
import type { Contribution } from "../../database/gateway-store.js";
import type { Upstream } from "../upstream/find-upstream.js";
import type { UpstreamAddress } from "../upstream-name.js";

export interface AdmissionRequest {
  /** Of the client, behind proxies that are trusted. For counting by salted hashes; not to be kept. */
  readonly clientAddress: string | undefined;
  readonly address: UpstreamAddress;
  /** Asks the forge, unless it was asked lately: for what is not decided without it, such as opt-out files. */
  upstream(): Promise<Upstream>;
  readonly signal: AbortSignal;
}

/** A refusal as the person reads it. */
export interface Refusal {
  /** Behind the ref, on one line: `rate limit exceeded`. */
  readonly reason: string;
  /** Above it; each a line of its own. */
  readonly lines: readonly string[];
}

export interface ContributionGuard {
  /** Asked of each push once its commands are known, before its pack is read. @returns undefined: it may go on */
  admit(request: AdmissionRequest): Promise<Refusal | undefined>;
}

export interface ContributionEvent {
  /** "waiting": it will be opened later, because the forge could not now. */
  readonly kind: "opened" | "updated" | "waiting" | "failed";
  readonly contribution: Contribution;
}

export interface ContributionListener {
  /** Told once what it is about is durable. What it throws is logged and changes nothing. */
  told(event: ContributionEvent): Promise<void> | void;
  /** One more line of the answer, such as where to be notified. @default none */
  answerLines?(contribution: Contribution): readonly string[];
}

export const OPEN_GUARD: ContributionGuard = { admit: async () => undefined };
