/**
 * In front of a command: standard error goes where standard output goes. Two pipes have no common order, so that half a line
 * of one would stand in a line of the other.
 */
export const ONE_OUTPUT: readonly [string, ...string[]] = ["/bin/sh", "-c", 'exec "$@" 2>&1', "sh"];
