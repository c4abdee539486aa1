/**
 * The two questions to Openruko's API server, and nothing believed that is not understood.
 *
 *   QUESTION                                                       KEY          ANSWERS
 *   GET /internal/lookupUserByPublicKey?fingerprint=MD5HEX         the server's 200 USERID:APIKEY; 404; 401
 *   POST /internal/APP/gitaction?command=git-receive-pack (or      the user's   200 {host, dyno_id, rez_id};
 *     git-upload-pack)                                                          401, 403, 404: not for this user
 */
import { isUserName } from "../user-name.js";
import { createPatience, type PatienceEvents } from "../remote/patience.js";
import { RemoteAway, RemoteFailure } from "../remote/remote-failure.js";
import { exchangeWithApi } from "./api-exchange.js";
import type { CheckedOpenrukoOptions } from "./openruko-options.js";

export type GitAction = "git-receive-pack" | "git-upload-pack";

export interface OpenrukoUser {
  readonly user: string;
  readonly apiKey: string;
}

/** Where a dyno waits. */
export interface Dyno {
  readonly host: string;
  readonly dynoId: string;
}

export interface ApiServer {
  /** undefined: nobody's key. @param md5 of the key's blob, 32 hexadecimal digits @throws RemoteFailure */
  lookUpUser(md5: string): Promise<OpenrukoUser | undefined>;
  /**
   * undefined: there is no such app for this user. It is asked once: the API server may have begun to make a dyno
   * although its answer did not come.
   * @throws RemoteFailure
   */
  requestDyno(asked: {
    /** By Openruko's grammar, of which every character stands for itself in a URL. */
    readonly app: string;
    readonly action: GitAction;
    readonly apiKey: string;
    readonly signal: AbortSignal;
  }): Promise<Dyno | undefined>;
}

const TOO_MANY = 429;
const HOST = /^[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$/;
const ID = /^[\x21-\x7e]{1,256}$/;
const KEY = /^[\x21-\x7e]{1,512}$/;

export function createApiServer(options: CheckedOpenrukoOptions, events: PatienceEvents): ApiServer {
  const patiently = createPatience(options, events);
  const { apiServerUrl, apiServerKey, provisionTimeoutMs } = options;
  const { timeoutMs, answerBytesMax, apiServerCaFile: caFile } = options;
  const about = { timeoutMs, answerBytesMax, caFile };
  return {
    lookUpUser: (md5) =>
      patiently(async () => {
        const url = `${apiServerUrl}/internal/lookupUserByPublicKey?fingerprint=${md5}`;
        const { status, text } = await exchangeWithApi({ ...about, method: "GET", url, key: apiServerKey });
        if (status === 200) return userOf(text);
        if (status === 404) return undefined;
        throw failureOf(status, "the server's key (APISERVER_KEY)");
      }),
    async requestDyno({ app, action, apiKey, signal }) {
      const url = `${apiServerUrl}/internal/${app}/gitaction?command=${action}`;
      const { status, text } = await exchangeWithApi({
        ...about,
        method: "POST",
        url,
        key: apiKey,
        signal,
        timeoutMs: provisionTimeoutMs,
      });
      if (status === 200) return dynoOf(text);
      if (status === 401 || status === 403 || status === 404) return undefined;
      throw failureOf(status, "the user's key");
    },
  };
}

function failureOf(status: number, key: string): RemoteFailure {
  if (status >= 500 || status === TOO_MANY) return new RemoteAway(`it answered with status ${status}`);
  if (status === 401 || status === 403) return new RemoteFailure(`it does not take ${key}: status ${status}`);
  return new RemoteFailure(`it answered with status ${status}, where only 200 is an answer`);
}

/** `USERID:APIKEY`; the first colon parts them. */
function userOf(text: string): OpenrukoUser {
  const line = text.trim();
  const colon = line.indexOf(":");
  const user = line.slice(0, Math.max(0, colon));
  const apiKey = line.slice(colon + 1);
  // What it said is not told: it may be a key.
  if (!isUserName(user) || !KEY.test(apiKey)) throw new RemoteFailure("its answer is not USERID:APIKEY");
  return { user, apiKey };
}

function dynoOf(text: string): Dyno {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RemoteFailure("its answer is not JSON");
  }
  const { host, dyno_id: dynoId } = Object(value) as Readonly<Record<string, unknown>>;
  if (typeof host !== "string" || !HOST.test(host)) throw new RemoteFailure("its answer names no host");
  // Another line in it would be another message to the dyno host.
  if (typeof dynoId !== "string" || !ID.test(dynoId)) throw new RemoteFailure("its answer names no dyno_id");
  return { host, dynoId };
}
