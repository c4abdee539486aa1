/** What the names of apps, process types and variables may be. RFC 1035, 2.3.1 (an app's name is a label of a host name). */
import { GitwharfError } from "../../base/errors.js";

/** Of one variable. Linux takes 128 KiB for a name and its value. */
const VARIABLE_BYTES_MAX = 65_536;

export function isAppName(name: string): boolean {
  return /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name);
}

/** @throws storage/bad-name */
export function checkAppName(name: string): void {
  if (!isAppName(name)) {
    throw new GitwharfError(
      "storage/bad-name",
      "an app's name has 1 to 63 lower-case letters, digits and dashes; it begins with a letter and does not end with a dash",
    );
  }
}

export function isProcessType(name: string): boolean {
  return /^[A-Za-z0-9_-]{1,63}$/.test(name);
}

export function isVariableName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]{0,255}$/.test(name);
}

/** @throws storage/bad-name */
export function checkVariable(name: string, value: string): void {
  if (!isVariableName(name)) {
    throw new GitwharfError(
      "storage/bad-name",
      "a variable's name has letters, digits and underscores, and does not begin with a digit",
    );
  }
  if (value.includes("\0") || Buffer.byteLength(value) > VARIABLE_BYTES_MAX) {
    throw new GitwharfError(
      "storage/bad-name",
      `the value of ${name} has a NUL, or more than ${VARIABLE_BYTES_MAX} bytes`,
    );
  }
}
