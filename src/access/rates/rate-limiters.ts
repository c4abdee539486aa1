/** Those of the library's limiters that are used, by files of their own: it has one for each of many databases, and would load all. */
import { createRequire } from "node:module";
import type * as library from "rate-limiter-flexible";

const require = createRequire(import.meta.url);

export const RateLimiterMemory =
  require("rate-limiter-flexible/lib/RateLimiterMemory.js") as typeof library.RateLimiterMemory;

/** Where there is a database that servers share. */
export function rateLimiterPostgres(): typeof library.RateLimiterPostgres {
  return require("rate-limiter-flexible/lib/RateLimiterPostgres.js") as typeof library.RateLimiterPostgres;
}
