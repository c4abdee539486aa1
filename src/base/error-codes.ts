/**
 * Every error code of gitwharf, its kind, and whether trying again can help.
 *
 * A code is `area/what`. Codes are part of the public interface: they are listed in `docs/errors.md`, and a
 * transport's table must translate every one of them (`Record<ErrorCode, …>`, so the compiler checks it).
 *
 * - `peer`: the bytes or the request of the other side are wrong; it is told so.
 * - `operational`: this side cannot do it now (disk, limits of the machine, a lock, shutdown).
 * - `invariant`: a defect in gitwharf itself. Nothing that a peer sends may lead here.
 *
 * A refusal (`ng refs/heads/x non-fast-forward`) is not an error but a value.
 */
export const ERROR_CODES = {
  // base
  "base/aborted": { kind: "operational", retryable: true },
  "base/invariant": { kind: "invariant", retryable: false },
  "base/limit-exceeded": { kind: "peer", retryable: false },
  "base/shutting-down": { kind: "operational", retryable: true },
  "base/truncated": { kind: "peer", retryable: false },
  "base/worker-failed": { kind: "operational", retryable: true },
  // object
  "object/corrupt": { kind: "operational", retryable: false },
  "object/malformed": { kind: "peer", retryable: false },
  // pack
  "pack/bad-delta": { kind: "peer", retryable: false },
  "pack/bad-index": { kind: "operational", retryable: false },
  "pack/bad-pack": { kind: "peer", retryable: false },
  "pack/bad-zlib": { kind: "peer", retryable: false },
  "pack/checksum-mismatch": { kind: "peer", retryable: false },
  "pack/collision": { kind: "peer", retryable: false },
  "pack/missing-base": { kind: "peer", retryable: false },
  // storage
  "storage/bad-config": { kind: "operational", retryable: false },
  "storage/bad-name": { kind: "peer", retryable: false },
  "storage/bad-ref": { kind: "operational", retryable: false },
  "storage/corrupt": { kind: "operational", retryable: false },
  "storage/cannot-rename": { kind: "operational", retryable: false },
  "storage/exists": { kind: "operational", retryable: false },
  "storage/io": { kind: "operational", retryable: true },
  "storage/locked": { kind: "operational", retryable: true },
  "storage/not-found": { kind: "peer", retryable: false },
  "storage/read-only": { kind: "peer", retryable: false },
  "storage/unsupported": { kind: "operational", retryable: false },
  // database
  "database/unavailable": { kind: "operational", retryable: true },
  // protocol
  "protocol/bad-line": { kind: "peer", retryable: false },
  "protocol/bad-request": { kind: "peer", retryable: false },
  "protocol/not-our-ref": { kind: "peer", retryable: false },
  "protocol/precondition-failed": { kind: "peer", retryable: false },
  "protocol/service-disabled": { kind: "peer", retryable: false },
  "protocol/unsupported-media-type": { kind: "peer", retryable: false },
  "protocol/unsupported": { kind: "peer", retryable: false },
  // access
  "access/audit-failed": { kind: "operational", retryable: true },
  "access/denied": { kind: "peer", retryable: false },
  "access/malformed-key": { kind: "peer", retryable: false },
  "access/unauthenticated": { kind: "peer", retryable: false },
  "access/too-many-attempts": { kind: "peer", retryable: true },
  "access/suspended": { kind: "peer", retryable: true },
  "access/too-many-requests": { kind: "peer", retryable: true },
  "access/unavailable": { kind: "operational", retryable: true },
  // client
  "client/bad-answer": { kind: "operational", retryable: false },
  "client/not-callable": { kind: "operational", retryable: false },
  "client/refused": { kind: "operational", retryable: false },
  "client/unreachable": { kind: "operational", retryable: true },
  // deploy
  "deploy/launch-failed": { kind: "operational", retryable: true },
  "deploy/no-answer": { kind: "operational", retryable: true },
  // forge
  "forge/bad-answer": { kind: "operational", retryable: false },
  "forge/exhausted": { kind: "operational", retryable: true },
  "forge/not-found": { kind: "peer", retryable: false },
  "forge/refused": { kind: "peer", retryable: false },
  "forge/unreachable": { kind: "operational", retryable: true },
  // server
  "server/bad-configuration": { kind: "operational", retryable: false },
  "server/build-unavailable": { kind: "operational", retryable: true },
  "server/busy": { kind: "operational", retryable: true },
} as const satisfies Record<string, { kind: ErrorKind; retryable: boolean }>;

export type ErrorKind = "peer" | "operational" | "invariant";
export type ErrorCode = keyof typeof ERROR_CODES;
