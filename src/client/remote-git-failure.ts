/** The other side's Git server went away, broke the protocol, or refused as a whole. A sentence without its end. */
import type { ErrorCode } from "../base/error-codes.js";
import { GitwharfError } from "../base/errors.js";

/** It refused in words of its own; it went away; what it sent cannot be understood. */
export type RemoteGitFailureKind = "refused" | "gone" | "broken";

export class RemoteGitFailure extends Error {
  override readonly name = "RemoteGitFailure";
  readonly kind: RemoteGitFailureKind;

  constructor(
    message: string,
    options: { readonly kind?: RemoteGitFailureKind; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = options.kind ?? "broken";
  }
}

const CODES: Record<RemoteGitFailureKind, ErrorCode> = {
  refused: "client/refused",
  gone: "client/unreachable",
  broken: "client/bad-answer",
};

/**
 * What a failure is called outside of this folder. @param shownNow the other side's URL, without credentials
 * @throws client/refused, client/unreachable, client/bad-answer in place of a RemoteGitFailure
 */
export async function namingRemote<T>(shownNow: () => string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw namedFailure(shownNow(), error);
  }
}

export function namedFailure(shown: string, error: unknown): unknown {
  if (!(error instanceof RemoteGitFailure)) return error;
  return new GitwharfError(CODES[error.kind], `${shown}: ${error.message}`, { cause: error });
}

/** What they send is read by the same rules as a request, whose words would not fit here. @throws RemoteGitFailure */
export async function understood<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw misunderstood(error);
  }
}

export function misunderstood(error: unknown): unknown {
  if (!(error instanceof GitwharfError) || error.kind !== "peer") return error;
  if (error.code === "base/truncated")
    return new RemoteGitFailure("the other side broke off in the middle of a line", {
      kind: "gone",
      cause: error,
    });
  const words =
    error.code === "base/limit-exceeded"
      ? "the other side tells more than is taken"
      : "the other side does not speak git's protocol";
  return new RemoteGitFailure(words, { cause: error });
}
