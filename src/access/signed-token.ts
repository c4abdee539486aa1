/**
 * Short-lived tokens that a platform signs with a key of its own and this server only checks: no call, no database.
 * Specification: RFC 7519 (JWT) with EdDSA, ES256 or RS256 and nothing else. Claims: `sub` (the user), `aud`, `exp`,
 * `iat`, `repositories` (patterns), `operations` ("read", "write"), and if refs are to be narrowed `refs` (ordered rules).
 */
import { createPublicKey } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import type { createLocalJWKSet, JSONWebKeySet, JWK, JWTPayload } from "jose";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import type { AuthenticationAnswer, Authenticator } from "./authenticator.js";
import { tokenTexts } from "./credential-texts.js";
import { checkGrant } from "./grant.js";
import { isUserName } from "./user-name.js";

export interface SignedTokenOptions {
  /**
   * Files with public keys: `.json` is a JSON Web Key Set, anything else PEM, whose key id is the name of the file
   * without its ending.
   */
  readonly keys: readonly string[];
  /** What `aud` must say: this server. */
  readonly audience: string;
  /** What `iss` must say. @default anything */
  readonly issuer?: string;
  /** Longest life of a token, from `iat` to `exp`. @default 3,600 */
  readonly lifetimeSecondsMax?: number;
  /** How far clocks may be apart. @default 30 */
  readonly clockToleranceSeconds?: number;
}

/** With the first token: most servers see none, and do without the library. */
const loadJose = () => import("jose");

const ALGORITHMS = ["EdDSA", "ES256", "RS256"];
const TOKEN_CHARACTERS_MAX = 16_384;
const RSA_BITS_MIN = 2048;

export function looksLikeSignedToken(text: string): boolean {
  return /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/.test(text);
}

export interface SignedTokenKeyRefresh {
  /** Changed key files that cannot be used; the keys from before stay. */
  readonly onFailure?: (error: unknown) => void;
  /** How often the files are looked at, at most. @default 5,000 */
  readonly everyMs?: number;
}

/** @throws server/bad-configuration when a key cannot be read */
export function createSignedTokenAuthenticator(
  options: SignedTokenOptions,
  refresh: SignedTokenKeyRefresh = {},
): Authenticator {
  const { audience, issuer, lifetimeSecondsMax = 3600, clockToleranceSeconds = 30 } = options;
  const keys = createKeySource(options.keys, refresh);
  return {
    name: "signed-token",
    async authenticate({ credentials }) {
      const text = tokenTexts(credentials).find(looksLikeSignedToken);
      if (text === undefined) return undefined;
      if (text.length > TOKEN_CHARACTERS_MAX) return { refused: "a signed token that is too long" };
      const { errors, jwtVerify } = await loadJose();
      try {
        const { payload, protectedHeader } = await jwtVerify(text, await keys(), {
          algorithms: ALGORITHMS,
          audience,
          ...(issuer === undefined ? {} : { issuer }),
          clockTolerance: clockToleranceSeconds,
          requiredClaims: ["sub", "exp", "iat", "aud"],
        });
        return identityOf(payload, {
          lifetimeSecondsMax,
          clockToleranceSeconds,
          keyId: protectedHeader.kid ?? "key",
        });
      } catch (error) {
        if (!(error instanceof errors.JOSEError)) throw error;
        return { refused: `a signed token: ${error.message}` };
      }
    },
  };
}

function identityOf(
  payload: JWTPayload,
  about: {
    readonly lifetimeSecondsMax: number;
    readonly clockToleranceSeconds: number;
    readonly keyId: string;
  },
): AuthenticationAnswer {
  const { sub, exp = 0, iat = 0, jti, repositories, operations, refs } = payload;
  if (sub === undefined || !isUserName(sub)) return { refused: "a signed token whose sub is no user's name" };
  if (exp - iat > about.lifetimeSecondsMax)
    return { refused: `a signed token that lives longer than ${about.lifetimeSecondsMax} s` };
  if (repositories === undefined || operations === undefined)
    return { refused: "a signed token that does not say for which repositories and operations it is" };
  try {
    const claims = { repositories, operations, ...(refs === undefined ? {} : { refs }) };
    // What the signature is checked with: whose clock is a little behind may still use it.
    const expiresAt = (exp + about.clockToleranceSeconds) * 1000;
    const grant = { ...checkGrant(claims, "a signed token"), expiresAt };
    const credentialId = `${about.keyId}:${jti ?? iat}`.replaceAll(/[^\w.:@+-]/g, "?").slice(0, 200);
    return { identity: { user: sub, method: "signed-token", credentialId, grant } };
  } catch (error) {
    if (isGitwharfError(error, "server/bad-configuration")) return { refused: error.message };
    throw error;
  }
}

/** Keys come and go while the server runs: a new one is there before a token is signed with it. */
function createKeySource(
  files: readonly string[],
  { onFailure, everyMs = 5000 }: SignedTokenKeyRefresh,
): () => Promise<ReturnType<typeof createLocalJWKSet>> {
  let stamp = stampOf(files);
  let keys = readKeys(files);
  let finder: ReturnType<typeof createLocalJWKSet> | undefined;
  let checkedAt = Date.now();
  const look = (): void => {
    if (Date.now() - checkedAt < everyMs) return;
    checkedAt = Date.now();
    const now = stampOf(files);
    if (now === stamp) return;
    stamp = now;
    try {
      keys = readKeys(files);
      finder = undefined;
    } catch (error) {
      onFailure?.(error);
    }
  };
  return async () => {
    const jose = await loadJose();
    look();
    return (finder ??= jose.createLocalJWKSet(keys));
  };
}

function stampOf(files: readonly string[]): string {
  return files
    .map((file) => {
      const stat = statSync(file, { throwIfNoEntry: false });
      return `${stat?.ino} ${stat?.size} ${stat?.mtimeMs}`;
    })
    .join("\n");
}

function readKeys(files: readonly string[]): JSONWebKeySet {
  const keys: JWK[] = [];
  for (const file of files) {
    try {
      const text = readFileSync(file, "utf8");
      keys.push(...(file.endsWith(".json") ? keysOfSet(text) : [keyOfPem(text, file)]));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new GitwharfError("server/bad-configuration", `the key file ${file} cannot be used: ${why}`, {
        cause,
      });
    }
  }
  if (keys.length === 0)
    throw new GitwharfError("server/bad-configuration", "signed tokens need at least one public key");
  return { keys };
}

function keysOfSet(text: string): readonly JWK[] {
  const value = JSON.parse(text) as { readonly keys?: unknown };
  if (!Array.isArray(value.keys)) throw new Error("it has no list of keys");
  return value.keys.map((jwk: JWK) => checkedKey(jwk, jwk.kid));
}

function keyOfPem(text: string, file: string): JWK {
  if (text.includes("PRIVATE KEY")) throw new Error("it holds a private key; give the public one");
  return checkedKey(
    createPublicKey(text).export({ format: "jwk" }) as JWK,
    basename(file).replace(/\.[^.]*$/, ""),
  );
}

/** The algorithm follows from the key, never from the token. */
function checkedKey(jwk: JWK, kid: string | undefined): JWK {
  if (jwk.d !== undefined) throw new Error("it holds a private key; give the public one");
  const key = createPublicKey({ key: jwk as Record<string, string>, format: "jwk" });
  const alg =
    key.asymmetricKeyType === "ed25519"
      ? "EdDSA"
      : key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1"
        ? "ES256"
        : key.asymmetricKeyType === "rsa" && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= RSA_BITS_MIN
          ? "RS256"
          : undefined;
  if (alg === undefined) throw new Error(`keys are Ed25519, P-256 or RSA of ${RSA_BITS_MIN} bits and more`);
  if (jwk.alg !== undefined && jwk.alg !== alg) throw new Error(`its key is for ${jwk.alg}, not for ${alg}`);
  return { ...jwk, alg, ...(kid === undefined ? {} : { kid }) };
}
