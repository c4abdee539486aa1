/** What Openruko's front door was told by its environment: the same names, the same defaults. */
import { DEFAULT_API_SERVER_URL, type OpenrukoOptions } from "../access/openruko/openruko-options.js";
import type { DynoOptions } from "../deploy/executors/dyno-executor.js";
import { GitwharfError } from "../base/errors.js";

/**
 * @param fromFile what the configuration file says; the environment goes before it
 * @throws server/bad-configuration
 */
export function openrukoFromEnvironment(
  environment: NodeJS.ProcessEnv,
  fromFile: Partial<OpenrukoOptions> | undefined,
): OpenrukoOptions {
  const { APISERVER_KEY: apiServerKey = fromFile?.apiServerKey, DYNOHOST_RENDEZVOUS_PORT: port } =
    environment;
  if (apiServerKey === undefined || apiServerKey === "")
    throw new GitwharfError(
      "server/bad-configuration",
      "--openruko needs the environment variable APISERVER_KEY",
    );
  return {
    ...fromFile,
    apiServerKey,
    apiServerUrl: urlOf(environment, fromFile?.apiServerUrl ?? DEFAULT_API_SERVER_URL),
    ...(port === undefined || port === ""
      ? {}
      : { rendezvousPort: portOf("DYNOHOST_RENDEZVOUS_PORT", port) }),
  };
}

/**
 * The same for builds in dynos, and DYNO_API_KEY, the key of the account whose apps they are.
 * @throws server/bad-configuration
 */
export function dynoFromEnvironment(
  environment: NodeJS.ProcessEnv,
  fromFile: Partial<DynoOptions> = {},
): DynoOptions {
  const { DYNO_API_KEY: apiKey = fromFile.apiKey, APISERVER_KEY } = environment;
  const { rendezvousSecret = APISERVER_KEY } = fromFile;
  if (!apiKey || !rendezvousSecret)
    throw new GitwharfError(
      "server/bad-configuration",
      "builds in dynos need the environment variables DYNO_API_KEY, of an account at the API server, and APISERVER_KEY",
    );
  const { apiServerUrl, rendezvousPort = fromFile.rendezvousPort } = openrukoFromEnvironment(environment, {
    apiServerKey: rendezvousSecret,
    ...(fromFile.apiServerUrl === undefined ? {} : { apiServerUrl: fromFile.apiServerUrl }),
  });
  return {
    ...fromFile,
    ...(apiServerUrl === undefined ? {} : { apiServerUrl }),
    ...(rendezvousPort === undefined ? {} : { rendezvousPort }),
    apiKey,
    rendezvousSecret,
  };
}

/** Variables that are not there leave their part as it is. */
function urlOf(environment: NodeJS.ProcessEnv, preset: string): string {
  const { APISERVER_PROTOCOL: protocol, APISERVER_HOSTNAME: host, APISERVER_PORT: port } = environment;
  if (!URL.canParse(preset)) return preset;
  const url = new URL(preset);
  const shownHost = host?.includes(":") === true && !host.startsWith("[") ? `[${host}]` : host;
  const shownPort = port === undefined || port === "" ? url.port : portOf("APISERVER_PORT", port);
  const path = url.pathname === "/" ? "" : url.pathname;
  const text = `${protocol || url.protocol.slice(0, -1)}://${shownHost || url.hostname}${shownPort === "" ? "" : `:${shownPort}`}${path}`;
  if (!URL.canParse(text))
    throw new GitwharfError(
      "server/bad-configuration",
      "APISERVER_PROTOCOL, APISERVER_HOSTNAME and APISERVER_PORT make no URL",
    );
  return text;
}

function portOf(name: string, text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw new GitwharfError("server/bad-configuration", `${name} is a port, from 1 to 65535`);
}
