/**
 * Which app a `Host` header means: `APP.DOMAIN`, or a host name that was given to an app. Not here: whether there is such
 * an app. `localhost` and addresses mean no app, so that Git is served there.
 */
import { GitwharfError } from "../../base/errors.js";
import { isAppName } from "../state/app-rules.js";

export interface AppHostsOptions {
  /** Apps are called `APP.DOMAIN`. @default "localhost" */
  readonly domain?: string;
  /** Further host names: `{ "www.example.org": "shop" }`. */
  readonly hosts?: Readonly<Record<string, string>>;
}

/** "unnamed": a host below the domain that can be no app's, and is nobody else's either. undefined: not about apps. */
export type AppOfHost = (header: string | undefined) => { readonly app: string } | "unnamed" | undefined;

/** @throws server/bad-configuration */
export function createAppHosts({ domain = "localhost", hosts = {} }: AppHostsOptions = {}): AppOfHost {
  const suffix = `.${checkedHost(domain)}`;
  const given = new Map<string, string>();
  for (const [host, app] of Object.entries(hosts)) {
    if (!isAppName(app)) throw wrong(`hosts: '${app}' is no name of an app`);
    given.set(checkedHost(host), app);
  }
  return (header) => {
    const host = hostOf(header);
    if (host === undefined) return undefined;
    const app = given.get(host);
    if (app !== undefined) return { app };
    if (!host.endsWith(suffix)) return undefined;
    const label = host.slice(0, -suffix.length);
    return isAppName(label) ? { app: label } : "unnamed";
  };
}

/** Without its port and the dot of the root, in lower case. undefined: an address, or no host name at all. */
function hostOf(header: string | undefined): string | undefined {
  if (header === undefined || header.length > 300) return undefined;
  return /^([a-zA-Z0-9_.-]+?)\.?(?::[0-9]{1,5})?$/.exec(header)?.[1]?.toLowerCase();
}

function checkedHost(text: string): string {
  const host = text.toLowerCase();
  if (!/^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/.test(host)) throw wrong(`'${text}' is no host name`);
  return host;
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
