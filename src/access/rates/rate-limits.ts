/**
 * Says "not now" to who asks too often, before any work is done for him: per address, per user, per key. While the
 * server is open to its own machine there is nobody to tell apart, and nothing is counted.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { Identity } from "../../engine/identity.js";
import type { AuthenticationAttempt } from "../authenticator.js";
import { compileAddresses } from "../trusted-addresses.js";
import { parseDatabaseLocation } from "../../database/open-database.js";
import { createSharedRates, type SharedRates } from "./shared-rates.js";
import { addressKey } from "./address-key.js";
import { createGuessLimits, tooManyRequests } from "./guess-limits.js";
import { createHoldConnection, type HoldConnection } from "./held-connections.js";
import { createRateCounter, type RateCounter } from "./rate-counter.js";
import {
  DEFAULT_CONNECTIONS,
  DEFAULT_EXEMPT,
  DEFAULT_RATES,
  type Rate,
  type RateOptions,
  type Rates,
} from "./rates.js";

export interface RateCaller {
  readonly address: string | undefined;
  readonly identity: Identity;
}

export interface RateLimits {
  readonly connectionsPerAddress: number;
  /** For as long as an SSH connection is signed in, or an HTTP request at work. */
  readonly holdConnection: HoldConnection;
  /** Rates per address are not for this one. */
  isExempt(address: string | undefined): boolean;
  /** A request, as soon as its address is known. @throws access/too-many-requests */
  admitAddress(address: string | undefined): Promise<void>;
  /** The same request, when it is known who sends it. @throws access/too-many-requests */
  admitIdentity(identity: Identity): Promise<void>;
  /** A service, before the repository is looked for. A discovery is asked whether there is room, and does not count. */
  admitService(
    caller: RateCaller,
    service: { readonly push: boolean; readonly discovery: boolean },
  ): Promise<void>;
  /** What a service has moved. */
  countBytes(caller: RateCaller, bytes: number): Promise<void>;
  /** Signs in, unless too much has failed before. @throws access/too-many-requests, as `identify` */
  identify(attempt: AuthenticationAttempt): Promise<Identity>;
  close(): Promise<void>;
}

export interface RateLimitsOptions {
  /** false: none. */
  readonly rates: RateOptions | false | undefined;
  /** For the store "database". */
  readonly database?: string | undefined;
  readonly onFailure?: (error: unknown) => void;
  readonly isOpen: () => MaybePromise<boolean>;
  readonly identify: (attempt: AuthenticationAttempt) => Promise<Identity>;
  /** Are these long random texts, or signed, and cheap to check? @default none is */
  readonly isUnguessable?: (credentials: AuthenticationAttempt["credentials"]) => boolean;
}

/** A crowd must not fill the log. */
const TOLD_EVERY_MS = 10_000;

type Kind = "requests" | "pushes" | "bytes";

/** @throws server/bad-configuration */
export function createRateLimits(options: RateLimitsOptions): RateLimits {
  const { rates = {}, isOpen, identify, isUnguessable = () => false } = options;
  if (rates === false) return noRateLimits(identify);
  const {
    connectionsPerAddress = DEFAULT_CONNECTIONS,
    connectionsPerUser = DEFAULT_CONNECTIONS,
    connectionsPerKey = DEFAULT_CONNECTIONS,
    exempt = DEFAULT_EXEMPT,
  } = rates;
  const isListed = compileAddresses(exempt);
  const isExempt = (address: string | undefined): boolean => address === undefined || isListed(address);
  let toldAt = Number.NEGATIVE_INFINITY;
  const onFailure = (error: unknown): void => {
    const now = performance.now();
    if (now - toldAt < TOLD_EVERY_MS) return;
    toldAt = now;
    options.onFailure?.(error);
  };
  const shared = sharedRatesOf(rates, options.database);
  const counters = countersOf({ ...DEFAULT_RATES, ...definedOf(rates) }, (name, rate) =>
    createRateCounter(rate, {
      shared: shared?.counter(name, rate),
      onFailure,
    }),
  );

  const guess = createGuessLimits({ ...counters, identify, isUnguessable });
  /** It cannot be guessed, and an agent shows all it has; but each is looked for. */
  const tryKey = async (attempt: AuthenticationAttempt): Promise<Identity> => {
    const key = addressKey(attempt.address);
    const wait = await counters.keyFailuresPerAddress.look(key);
    if (wait !== undefined) throw tooManyRequests("too many failed attempts to sign in", wait);
    try {
      return await identify(attempt);
    } catch (error) {
      if (isGitwharfError(error, "access/unauthenticated")) await counters.keyFailuresPerAddress.take(key);
      throw error;
    }
  };

  /** Counters and keys that are for this caller. */
  const scopesOf = (kind: Kind, caller: Partial<RateCaller>): (readonly [RateCounter, string, string])[] => {
    const scopes: (readonly [RateCounter, string, string])[] = [];
    const { address, identity } = caller;
    if ("address" in caller && !isExempt(address))
      scopes.push([counters[`${kind}PerAddress`], addressKey(address), "your address"]);
    if (identity?.user !== undefined) scopes.push([counters[`${kind}PerUser`], identity.user, "you"]);
    if (identity?.credentialId !== undefined)
      scopes.push([counters[`${kind}PerKey`], identity.credentialId, "this key or token"]);
    return scopes;
  };
  const admit = async (kind: Kind, caller: Partial<RateCaller>, count: boolean): Promise<void> => {
    if (await isOpen()) return;
    for (const [counter, key, whose] of scopesOf(kind, caller)) {
      const wait = await (count ? counter.take(key) : counter.look(key));
      if (wait !== undefined) throw tooManyRequests(`too many ${kind} from ${whose}`, wait);
    }
  };
  return {
    connectionsPerAddress,
    holdConnection: createHoldConnection({ connectionsPerUser, connectionsPerKey }),
    close: async () => shared?.close(),
    isExempt,
    admitAddress: (address) => admit("requests", { address }, true),
    admitIdentity: (identity) => admit("requests", { identity }, true),
    async admitService(caller, { push, discovery }) {
      await admit("bytes", caller, false);
      if (push) await admit("pushes", caller, !discovery);
    },
    async countBytes(caller, bytes) {
      if (bytes === 0 || (await isOpen())) return;
      for (const [counter, key] of scopesOf("bytes", caller)) await counter.take(key, bytes);
    },
    async identify(attempt) {
      const { credentials, address } = attempt;
      if (credentials === undefined || isExempt(address) || (await isOpen())) return identify(attempt);
      if (credentials !== "malformed" && "fingerprint" in credentials) return tryKey(attempt);
      return guess(attempt);
    },
  };
}

function noRateLimits(identify: RateLimits["identify"]): RateLimits {
  const admit = async (): Promise<void> => undefined;
  return {
    connectionsPerAddress: Infinity,
    holdConnection: createHoldConnection({ connectionsPerUser: Infinity, connectionsPerKey: Infinity }),
    close: admit,
    isExempt: () => true,
    admitAddress: admit,
    admitIdentity: admit,
    admitService: admit,
    countBytes: admit,
    identify,
  };
}

/** @throws server/bad-configuration */
function sharedRatesOf({ store }: RateOptions, database: string | undefined): SharedRates | undefined {
  if (store !== "database") return undefined;
  const location = database === undefined ? undefined : parseDatabaseLocation(database);
  if (location?.engine !== "postgres") {
    throw new GitwharfError(
      "server/bad-configuration",
      'rates.store "database" needs a `database` on PostgreSQL; leave it out to count in memory',
    );
  }
  return createSharedRates(location.url);
}

function countersOf(
  rates: Rates,
  make: (name: string, rate: Rate) => RateCounter,
): Record<keyof Rates, RateCounter> {
  return Object.fromEntries(
    Object.entries(rates).map(([name, rate]) => [name, make(name, rate as Rate)]),
  ) as Record<keyof Rates, RateCounter>;
}

function definedOf(rates: RateOptions): Partial<Rates> {
  const given = Object.entries(rates).filter(([name, value]) => name in DEFAULT_RATES && value !== undefined);
  return Object.fromEntries(given) as Partial<Rates>;
}
