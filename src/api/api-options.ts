/** The option `api`. */
import { GitwharfError } from "../base/errors.js";

export interface ApiOptions {
  /** Before `/repositories`, `/health` and `/openapi.json`: `/api/v1`. @default "" */
  readonly path?: string;
  /** Web pages of these origins (`https://ui.example`) may call it from browsers. @default none */
  readonly origins?: readonly string[];
}

const KNOWN: readonly string[] = ["path", "origins"];
const PATH = /^(?:\/[A-Za-z0-9_][A-Za-z0-9._~-]*)*$/;

/** @returns undefined: there is no API @throws server/bad-configuration */
export function apiOptionsOf(given: unknown): Required<ApiOptions> | undefined {
  if (given === undefined || given === false) return undefined;
  const options = given === true ? {} : given;
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw wrong("api is true, false or an object");
  const odd = Object.keys(options).find((key) => !KNOWN.includes(key));
  if (odd !== undefined) throw wrong(`api has no '${odd}'; known are ${KNOWN.join(", ")}`);
  const { path = "", origins = [] } = options as Readonly<Record<string, unknown>>;
  if (typeof path !== "string" || !PATH.test(path))
    throw wrong("api.path is a path without a slash at its end: /api/v1");
  if (!Array.isArray(origins) || !origins.every(isOrigin))
    throw wrong("api.origins is a list of origins, each as browsers send it: https://ui.example");
  return { path, origins };
}

function isOrigin(value: unknown): value is string {
  if (typeof value !== "string" || !/^https?:/.test(value)) return false;
  try {
    return new URL(value).origin === value;
  } catch {
    return false;
  }
}

function wrong(message: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", message);
}
