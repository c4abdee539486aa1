/**
 * Puts the ways to sign in together, in this order: client certificate, proxy header, signed token, SSH key, access token,
 * the application's own, SSH certificate, users of the configuration, users of the database, the `authenticate` callback. Without
 * any of them, and as long as the database has no user, the server is open.
 */
import { looksLikeAccessToken } from "../access/access-token.js";
import {
  type AuthenticationAttempt,
  type Authenticator,
  createAuthenticationChain,
} from "../access/authenticator.js";
import { createCallbackAuthenticator } from "../access/callback-authenticator.js";
import { createClientCertificateAuthenticator } from "../access/client-certificate-authenticator.js";
import { createPasswordAuthenticator } from "../access/password-authenticator.js";
import { createPasswordChecker, type PasswordChecker } from "../access/password-checker.js";
import { createProxyHeaderAuthenticator } from "../access/proxy-header.js";
import { createSignedTokenAuthenticator, looksLikeSignedToken } from "../access/signed-token.js";
import { createSshCertificateAuthenticator } from "../access/ssh-certificate-authenticator.js";
import { createSshKeyAuthenticator } from "../access/ssh-key-authenticator.js";
import { readStaticUsers } from "../access/static-users.js";
import { tokenTexts } from "../access/credential-texts.js";
import { createTokenAuthenticator } from "../access/token-authenticator.js";
import type { MaybePromise } from "../base/maybe-promise.js";
import { withinTime } from "../base/within-time.js";
import type { Identity } from "../engine/identity.js";
import type { ServiceLogEntry } from "../transport/service-host.js";
import { type AccessDatabase, createAccessDatabase } from "./access-database.js";
import type { GitServerOptions } from "./git-server-options.js";

export interface Identification {
  identify(attempt: AuthenticationAttempt): Promise<Identity>;
  isOpen(): MaybePromise<boolean>;
  /** A token that nobody guesses, and that costs little to check. */
  isUnguessable(credentials: AuthenticationAttempt["credentials"]): boolean;
  /** Would who signed in a while ago still be let in? */
  isCurrent(identity: Identity): Promise<boolean>;
  /** Has a user this SSH key? undefined: there is no database. */
  readonly isUserKey:
    | ((key: { readonly fingerprint: string; readonly blob: Buffer }) => Promise<boolean>)
    | undefined;
  /** May anyone read it? undefined: there is no database. */
  readonly isPublic: ((repository: string) => Promise<boolean>) | undefined;
  /** undefined: there is no database. */
  readonly outbox: AccessDatabase["outbox"] | undefined;
  /** Rejects when the database cannot be asked; undefined: there is none. */
  readonly probe: (() => Promise<void>) | undefined;
  close(): Promise<void>;
}

/** @throws server/bad-configuration */
export function createIdentification(
  options: GitServerOptions,
  log: (entry: ServiceLogEntry) => void,
  about: {
    /** Asked before all others. */
    readonly before?: readonly Authenticator[];
    readonly timeoutMs?: number;
  } = {},
): Identification {
  const { before = [], timeoutMs = Infinity } = about;
  const database = options.database === undefined ? undefined : createAccessDatabase(options.database);
  const checker = createPasswordChecker();
  const configured = configuredAuthenticators(options, {
    checker,
    hasDatabase: database !== undefined,
    timeoutMs,
    onKeyFailure: (error) =>
      log({ level: "error", message: "changed keys of signed tokens are not used", error }),
  });
  const stored = database === undefined ? noStored() : storedAuthenticators(database, options, checker, log);
  const callback =
    options.authenticate === undefined
      ? []
      : [inTime(createCallbackAuthenticator(options.authenticate), timeoutMs)];
  const authenticators = [
    ...before,
    ...configured.first,
    ...stored.first,
    ...configured.second,
    ...stored.second,
    ...callback,
  ];
  const hasConfigured =
    before.length + configured.first.length + configured.second.length + callback.length > 0;
  const canSignIn = async (): Promise<boolean> => hasConfigured || (await database?.isClosed()) === true;
  const ask = createAuthenticationChain({
    authenticators,
    onRefusal: (name, reason) =>
      log({ level: "info", message: `credentials were refused (${name}): ${reason}` }),
    onFailure: (name, error) => log({ level: "error", message: `the ${name} authenticator failed`, error }),
  });
  return {
    // Where nobody can be told apart, credentials that a client sends along decide nothing.
    identify: async (attempt) => ((await canSignIn()) ? ask(attempt) : { user: undefined }),
    isOpen: async () =>
      options.authorize === undefined && options.policies === undefined && !(await canSignIn()),
    isUnguessable: (credentials) =>
      tokenTexts(credentials).some(
        (text) =>
          (database !== undefined && looksLikeAccessToken(text)) ||
          (options.signedTokens !== undefined && looksLikeSignedToken(text)),
      ),
    isUserKey:
      database === undefined
        ? undefined
        : async ({ fingerprint, blob }) =>
            (await (await database.store())?.findKey(fingerprint))?.blob === blob.toString("base64"),
    isPublic:
      database === undefined
        ? undefined
        : async (repository) => (await (await database.store())?.isPublic(repository)) === true,
    outbox: database?.outbox,
    async isCurrent(identity) {
      for (const authenticator of authenticators)
        if ((await authenticator.isCurrent?.(identity)) === false) return false;
      return true;
    },
    probe:
      database === undefined
        ? undefined
        : async () => {
            await (await database.store())?.isClosed();
          },
    async close() {
      for (const authenticator of authenticators) await authenticator.close?.();
      await database?.close();
    },
  };
}

/** Code of an application must answer; what is our own may take its turn (passwords wait for theirs). */
function inTime(authenticator: Authenticator, timeoutMs: number): Authenticator {
  const { name } = authenticator;
  return {
    name,
    authenticate: (attempt) =>
      withinTime(timeoutMs, `the ${name} authenticator`, () => authenticator.authenticate(attempt)),
    isCurrent: (identity) => authenticator.isCurrent?.(identity),
    close: () => authenticator.close?.(),
  };
}

interface Two {
  /** Those that read what only they understand. */
  readonly first: readonly Authenticator[];
  readonly second: readonly Authenticator[];
}

function noStored(): Two {
  return { first: [], second: [] };
}

function configuredAuthenticators(
  options: GitServerOptions,
  about: {
    readonly checker: PasswordChecker;
    readonly hasDatabase: boolean;
    readonly timeoutMs: number;
    readonly onKeyFailure: (error: unknown) => void;
  },
): Two {
  const { clientCertificates, trustedUserHeader, signedTokens, users } = options;
  const { checker, hasDatabase, timeoutMs, onKeyFailure } = about;
  const first: Authenticator[] = [];
  const second: Authenticator[] = [];
  if (clientCertificates !== undefined) first.push(createClientCertificateAuthenticator(clientCertificates));
  if (trustedUserHeader !== undefined) first.push(createProxyHeaderAuthenticator(trustedUserHeader));
  if (signedTokens !== undefined)
    first.push(createSignedTokenAuthenticator(signedTokens, { onFailure: onKeyFailure }));
  second.push(...(options.authenticators ?? []).map((each) => inTime(each, timeoutMs)));
  // It answers for every certificate.
  if (options.sshServer?.userAuthoritiesFile !== undefined) second.push(createSshCertificateAuthenticator());
  if (users !== undefined) {
    const passesUnknown = hasDatabase || options.authenticate !== undefined;
    second.push(createPasswordAuthenticator({ checker, findUser: readStaticUsers(users), passesUnknown }));
  }
  return { first, second };
}

function storedAuthenticators(
  database: AccessDatabase,
  options: GitServerOptions,
  checker: PasswordChecker,
  log: (entry: ServiceLogEntry) => void,
): Two {
  const about = {
    store: () => database.store(),
    onFailure: (error: unknown) =>
      log({ level: "warn", message: "the use of a credential could not be noted", error }),
  };
  const findUser = async (name: string): Promise<{ password: string | undefined } | undefined> =>
    (await database.store())?.findUser(name);
  return {
    first: [createSshKeyAuthenticator(about), createTokenAuthenticator(about)],
    second: [
      createPasswordAuthenticator({
        checker,
        findUser,
        passesUnknown: options.authenticate !== undefined,
      }),
    ],
  };
}
