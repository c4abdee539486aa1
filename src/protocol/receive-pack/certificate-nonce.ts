/**
 * The nonce of push certificates: what the server advertised comes back signed. Over HTTP the answer meets another
 * process than the one that advertised, so the nonce proves itself: time and an HMAC over it.
 * Specification: git-config `receive.certNonceSeed`, `receive.certNonceSlop`.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { PushCertificate } from "../../engine/push.js";

export interface NonceOptions {
  readonly seed: string;
  /** What the nonce is for: one of another repository is worth nothing. */
  readonly repositoryId: string;
  readonly nowSeconds: number;
}

export function formatNonce(options: NonceOptions): string {
  const { seed, repositoryId, nowSeconds } = options;
  return `${nowSeconds}-${createHmac("sha256", seed).update(`${repositoryId}:${nowSeconds}`).digest("hex").slice(0, 40)}`;
}

/** @param slopSeconds how old a nonce may be */
export function checkNonce(
  nonce: string | undefined,
  options: NonceOptions & { readonly slopSeconds: number; readonly statelessRpc: boolean },
): Pick<PushCertificate, "nonceStatus" | "nonceSlopSeconds"> {
  if (nonce === undefined || nonce === "") return { nonceStatus: "MISSING", nonceSlopSeconds: undefined };
  const time = Number(/^([0-9]{1,12})-/.exec(nonce)?.[1] ?? Number.NaN);
  const expected = Buffer.from(formatNonce({ ...options, nowSeconds: time }));
  const given = Buffer.from(nonce);
  if (Number.isNaN(time) || given.length !== expected.length || !timingSafeEqual(given, expected)) {
    return { nonceStatus: "BAD", nonceSlopSeconds: undefined };
  }
  const age = options.nowSeconds - time;
  if (age === 0 || !options.statelessRpc) return { nonceStatus: "OK", nonceSlopSeconds: undefined };
  // Within the slop the nonce is as good as the one that would be handed out now.
  if (Math.abs(age) <= options.slopSeconds) return { nonceStatus: "OK", nonceSlopSeconds: undefined };
  return { nonceStatus: "SLOP", nonceSlopSeconds: age };
}
