/** One question of our own contract: a signed POST of JSON, and only status 200 is an answer. */
import { addressKey } from "../rates/address-key.js";
import { fetchBounded, parseJson } from "./bounded-fetch.js";
import { createPatience, type PatienceEvents } from "./patience.js";
import { RemoteFailure } from "./remote-failure.js";
import type { CheckedRemoteOptions } from "./remote-options.js";
import { signatureHeaders } from "./remote-signature.js";

export interface RemoteAnswer {
  readonly value: unknown;
  /** How long the answer may be kept: its `Cache-Control: max-age`. */
  readonly maxAgeSeconds: number;
}

export interface RemoteCaller {
  /** @param address whose request it is about. @throws RemoteFailure */
  ask(path: string, body: string, address: string | undefined): Promise<RemoteAnswer>;
}

const OK = 200;

export function createRemoteCaller(options: CheckedRemoteOptions, events: PatienceEvents): RemoteCaller {
  const patiently = createPatience(options, events);
  return {
    ask: (path, body, address) =>
      patiently(() => attempt(options, `${options.url}/${path}`, body), addressKey(address)),
  };
}

async function attempt(options: CheckedRemoteOptions, url: string, body: string): Promise<RemoteAnswer> {
  const request = {
    method: "POST",
    headers: {
      Accept: "application/json",
      "Accept-Encoding": "identity",
      "Content-Type": "application/json",
      ...signatureHeaders(options.secrets, body),
    },
    body,
  };
  const { status, text, headers } = await fetchBounded(url, request, options);
  if (status !== OK)
    throw new RemoteFailure(`it answered with status ${status}, where only ${OK} is an answer`);
  return { value: parseJson(text), maxAgeSeconds: maxAgeOf(headers.get("cache-control")) };
}

/** RFC 9111, section 5.2.2; a directive that forbids keeping wins. */
function maxAgeOf(header: string | null): number {
  const directives = (header ?? "").split(",").map((each) => each.trim().toLowerCase());
  if (directives.some((each) => /^no-(?:store|cache)\b/.test(each))) return 0;
  const ages = directives.flatMap((each) => /^max-age="?([0-9]{1,9})"?$/.exec(each)?.[1] ?? []);
  return ages.length === 0 ? 0 : Math.min(...ages.map(Number));
}
