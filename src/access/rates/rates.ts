/** How often who may do what: the option `rates`, its defaults and its check. The rows are those of docs/limits.md. */
import { GitwharfError } from "../../base/errors.js";

/** `max` in any `seconds` that begin with the first of them. */
export interface Rate {
  readonly max: number;
  readonly seconds: number;
}

export interface Rates {
  /** Wrong passwords and tokens. */
  readonly failuresPerAddress: Rate;
  /** Of one user at one address: nobody can lock a user out elsewhere. */
  readonly failuresPerAddressAndUser: Rate;
  /** SSH keys that are nobody's, signed with: they cannot be guessed, but each is looked for. An agent may show several. */
  readonly keyFailuresPerAddress: Rate;
  readonly requestsPerAddress: Rate;
  readonly requestsPerUser: Rate;
  /** Of one token or SSH key. */
  readonly requestsPerKey: Rate;
  readonly pushesPerAddress: Rate;
  readonly pushesPerUser: Rate;
  readonly pushesPerKey: Rate;
  /** Of packs and protocol, in both directions. A transfer that has begun is not cut off. */
  readonly bytesPerAddress: Rate;
  readonly bytesPerUser: Rate;
  readonly bytesPerKey: Rate;
}

export interface RateOptions extends Partial<Rates> {
  /** Open connections of one address; more are closed. @default 512 */
  readonly connectionsPerAddress?: number;
  /** Connections of one user that are signed in over SSH, and HTTP requests of his that are at work. @default 512 */
  readonly connectionsPerUser?: number;
  /** The same of one token or SSH key. @default 512 */
  readonly connectionsPerKey?: number;
  /**
   * Where is counted: in the memory of each process, or together in the `database`, which must be PostgreSQL then.
   * @default "memory"
   */
  readonly store?: "memory" | "database";
  /**
   * Addresses and networks that no rate per address is for. A proxy that is not in `trustedProxies` lends all its callers
   * one address: on the server's own machine it locks nobody out.
   * @default ["loopback"]
   */
  readonly exempt?: readonly string[];
}

const GIB = 1024 ** 3;

export const DEFAULT_RATES: Rates = {
  failuresPerAddress: { max: 200, seconds: 600 },
  failuresPerAddressAndUser: { max: 20, seconds: 600 },
  keyFailuresPerAddress: { max: 5000, seconds: 600 },
  requestsPerAddress: { max: 12_000, seconds: 60 },
  requestsPerUser: { max: 12_000, seconds: 60 },
  requestsPerKey: { max: 12_000, seconds: 60 },
  pushesPerAddress: { max: 1200, seconds: 60 },
  pushesPerUser: { max: 600, seconds: 60 },
  pushesPerKey: { max: 600, seconds: 60 },
  bytesPerAddress: { max: 1024 * GIB, seconds: 3600 },
  bytesPerUser: { max: 1024 * GIB, seconds: 3600 },
  bytesPerKey: { max: 1024 * GIB, seconds: 3600 },
};
/** Per address, user and key. */
export const DEFAULT_CONNECTIONS = 512;
export const DEFAULT_EXEMPT: readonly string[] = ["loopback"];

/** Timers have 31 bits of milliseconds. */
const SECONDS_MAX = 2_000_000;
const OTHER_KEYS = ["connectionsPerAddress", "connectionsPerUser", "connectionsPerKey", "store", "exempt"];

/** @throws server/bad-configuration */
export function checkRates(rates: unknown): void {
  if (rates === undefined || rates === false) return;
  if (typeof rates !== "object" || rates === null || Array.isArray(rates))
    throw wrong("rates is an object, or false for none");
  for (const [name, value] of Object.entries(rates)) checkRate(name, value);
}

function checkRate(name: string, value: unknown): void {
  if (value === undefined) return;
  switch (name) {
    case "connectionsPerAddress":
    case "connectionsPerUser":
    case "connectionsPerKey":
      if (typeof value !== "number" || !(value >= 0)) throw wrong(`rates.${name} is a number from 0 up`);
      return;
    case "store":
      if (value !== "memory" && value !== "database") throw wrong(`rates.${name} is "memory" or "database"`);
      return;
    case "exempt":
      if (!Array.isArray(value) || !value.every((each) => typeof each === "string" && each !== ""))
        throw wrong(`rates.${name} is a list of addresses and networks`);
      return;
  }
  if (!(name in DEFAULT_RATES)) {
    const known = [...Object.keys(DEFAULT_RATES), ...OTHER_KEYS].join(", ");
    throw wrong(`there is no rate '${name}'; known are ${known}`);
  }
  checkOneRate(`rates.${name}`, value);
}

/**
 * @param what for the message
 * @throws server/bad-configuration
 */
export function checkOneRate(what: string, value: unknown): void {
  const { max, seconds } = Object(value) as Partial<Rate>;
  const isGood =
    typeof max === "number" &&
    max >= 0 &&
    typeof seconds === "number" &&
    seconds >= 1 &&
    seconds <= SECONDS_MAX;
  if (!isGood)
    throw wrong(
      `${what} is { max, seconds }: a number from 0 up (or Infinity), and 1 to ${SECONDS_MAX} seconds`,
    );
}

function wrong(message: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", message);
}
