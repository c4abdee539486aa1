/**
 * Who may have builds made, by Openruko's API server: a way to sign in with SSH keys, and the question for a dyno with
 * the key of the very user. That key stands beside the identity, not in it: identities are logged and handed to
 * callbacks.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Identity } from "../../engine/identity.js";
import type { Authenticator } from "../authenticator.js";
import { addressKey } from "../rates/address-key.js";
import { createRateCounter, type RateCounter } from "../rates/rate-counter.js";
import { RemoteFailure } from "../remote/remote-failure.js";
import { createApiServer, type Dyno, type GitAction, type OpenrukoUser } from "./api-server.js";
import type { CheckedOpenrukoOptions } from "./openruko-options.js";

export interface OpenrukoLogEntry {
  readonly level: "info" | "warn" | "error";
  readonly message: string;
}

export interface DynoRequest {
  readonly identity: Identity;
  readonly app: string;
  readonly action: GitAction;
  readonly address: string | undefined;
  readonly signal: AbortSignal;
}

export interface OpenrukoAccess {
  /** Takes SSH keys, after the client has signed. */
  readonly authenticator: Authenticator;
  /** True: the API server could not be asked who this is. Such a caller may be told so, and nothing else. */
  isUndecided(identity: Identity): boolean;
  /** @throws access/denied, access/too-many-requests, server/build-unavailable */
  requestDyno(request: DynoRequest): Promise<Dyno>;
}

export interface OpenrukoAccessOptions {
  readonly options: CheckedOpenrukoOptions;
  /** Rates per address are not for this one. */
  readonly isExempt: (address: string | undefined) => boolean;
  readonly log: (entry: OpenrukoLogEntry) => void;
}

const METHOD = "openruko";

interface Account {
  readonly md5: string;
  readonly apiKey: string;
  /** When the API server said so. */
  readonly askedMs: number;
}

export function createOpenrukoAccess({ options, isExempt, log }: OpenrukoAccessOptions): OpenrukoAccess {
  const tell = (level: OpenrukoLogEntry["level"], message: string): void =>
    log({ level, message: `API server: ${message}` });
  const api = createApiServer(options, {
    onRetry: (why) => tell("info", `asking again, because ${why}`),
    onBreak: () => tell("error", `it does not answer; it is left alone for ${options.breakerResetMs} ms`),
    onReset: () => tell("warn", "it answers again"),
  });
  const unknownKeys = createRateCounter(options.unknownKeysPerAddress);
  const refusalsPerAddress = createRateCounter(options.refusalsPerAddress);
  const refusalsPerUser = createRateCounter(options.refusalsPerUser);
  const accounts = new WeakMap<Identity, Account>();
  const undecided = new WeakSet<Identity>();

  const authenticator: Authenticator = {
    name: METHOD,
    async authenticate({ credentials, address }) {
      if (typeof credentials !== "object" || credentials.kind !== "ssh-key") return undefined;
      const { md5, fingerprint } = credentials;
      const counted = isExempt(address) ? undefined : addressKey(address);
      if (counted !== undefined && (await unknownKeys.look(counted)) !== undefined)
        return { refused: `too many keys from ${counted} that the API server does not know` };
      try {
        const found = await api.lookUpUser(md5);
        if (found === undefined) {
          if (counted !== undefined) await unknownKeys.take(counted);
          return undefined;
        }
        const identity: Identity = { user: found.user, method: METHOD, credentialId: fingerprint };
        accounts.set(identity, { md5, apiKey: found.apiKey, askedMs: performance.now() });
        return { identity };
      } catch (error) {
        tell("error", `the key ${fingerprint} was not looked up: ${whyOf(error)}`);
        // Refused, the client would read that its key is wrong.
        const identity: Identity = { user: undefined, method: METHOD };
        undecided.add(identity);
        return { identity };
      }
    },
  };

  /** A connection may outlive the key that it was signed in with. */
  const accountOf = async (identity: Identity): Promise<Account> => {
    const account = accounts.get(identity);
    if (account === undefined)
      throw new GitwharfError(
        "access/denied",
        "the build server does not know this way to sign in; use an SSH key that is registered there",
      );
    if (performance.now() - account.askedMs <= options.keyMaxAgeMs) return account;
    let found: OpenrukoUser | undefined;
    try {
      found = await api.lookUpUser(account.md5);
    } catch (error) {
      tell("error", `the key ${identity.credentialId} was not looked up again: ${whyOf(error)}`);
      throw unavailable(error);
    }
    if (found === undefined || found.user !== identity.user)
      throw new GitwharfError("access/denied", "the key that you signed in with is not registered any more");
    const renewed = { ...account, apiKey: found.apiKey, askedMs: performance.now() };
    accounts.set(identity, renewed);
    return renewed;
  };

  return {
    authenticator,
    isUndecided: (identity) => undecided.has(identity),
    async requestDyno({ identity, app, action, address, signal }) {
      const { apiKey } = await accountOf(identity);
      const { user = "" } = identity;
      const counters: (readonly [RateCounter, string])[] = [[refusalsPerUser, user]];
      if (!isExempt(address)) counters.push([refusalsPerAddress, addressKey(address)]);
      for (const [counter, key] of counters) {
        const seconds = await counter.look(key);
        if (seconds !== undefined) throw tooMany(seconds);
      }
      const what = `${action} of '${app}' for ${user}`;
      let dyno: Dyno | undefined;
      try {
        dyno = await api.requestDyno({ app, action, apiKey, signal });
      } catch (error) {
        tell("error", `${what} got no dyno: ${whyOf(error)}`);
        throw unavailable(error);
      }
      if (dyno === undefined) {
        tell("info", `${what} was refused`);
        for (const [counter, key] of counters) await counter.take(key);
        throw new GitwharfError(
          "access/denied",
          `there is no app '${app}', or you do not have access to it; you are signed in as ${user}`,
        );
      }
      tell("info", `${what} goes to dyno ${dyno.dynoId} on ${dyno.host}`);
      return dyno;
    },
  };
}

function unavailable(cause: unknown): GitwharfError {
  return new GitwharfError("server/build-unavailable", "the build server cannot be reached", { cause });
}

function tooMany(seconds: number): GitwharfError {
  return new GitwharfError(
    "access/too-many-requests",
    `too many apps were refused; try again in ${seconds} seconds`,
    { details: { retryAfterSeconds: seconds } },
  );
}

function whyOf(error: unknown): string {
  if (error instanceof RemoteFailure) return error.message;
  return error instanceof Error ? `unexpectedly, ${error.message}` : "unexpectedly";
}
