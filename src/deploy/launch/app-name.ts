/** Names of apps: one label of a host name, so that an app can be called by it. RFC 1035, 2.3.1, and 63 characters. */
export function isAppName(text: string): boolean {
  return /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text);
}

/** Names of process types in a Procfile, and in `web.1`. */
export function isProcessType(text: string): boolean {
  return /^[A-Za-z0-9_-]{1,63}$/.test(text);
}

/** Names of configuration variables, as a shell takes them. */
export function isConfigName(text: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]{0,255}$/.test(text);
}
