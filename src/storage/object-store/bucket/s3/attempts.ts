/** Trying again: how often, and how long to wait in between, so that many who were refused do not come back together. */
import { setTimeout as delay } from "node:timers/promises";
import { abortedError } from "../../../../base/errors.js";
import { S3Failure } from "./s3-failure.js";

export interface Patience {
  /** The first one counts. */
  readonly attemptsMax: number;
  /** The longest wait before the second attempt; it doubles before each further one. */
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
}

/** @throws the last failure, saying how often it was tried */
export async function withAttempts<T>(
  patience: Patience,
  signal: AbortSignal | undefined,
  attempt: (number: number) => Promise<T>,
): Promise<T> {
  for (let number = 1; ; number++) {
    try {
      return await attempt(number);
    } catch (error) {
      await beforeNext(error, number, patience, signal);
    }
  }
}

/** Waits. @throws the error instead, when trying again makes no sense any more; base/aborted */
export async function beforeNext(
  error: unknown,
  failures: number,
  { attemptsMax, backoffMs, backoffMaxMs }: Patience,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!(error instanceof S3Failure) || error.kind !== "passing") throw error;
  if (failures >= attemptsMax) {
    if (failures === 1) throw error;
    throw new S3Failure("final", error.errorName, `${error.message} (tried ${failures} times)`);
  }
  const longest = Math.min(backoffMaxMs, backoffMs * 2 ** (failures - 1));
  const waitMs = longest / 2 + (Math.random() * longest) / 2;
  try {
    await delay(waitMs, undefined, signal === undefined ? {} : { signal });
  } catch (cause) {
    throw signal?.aborted === true ? abortedError(signal) : cause;
  }
}
