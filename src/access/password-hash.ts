/**
 * Passwords as salted scrypt hashes that carry their parameters: `$scrypt$ln=15,r=8,p=3$SALT$HASH`, unpadded base64.
 * Specification: RFC 7914. Computed in Node's thread pool, not on the event loop.
 */
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { GitwharfError } from "../base/errors.js";

export interface ScryptCost {
  /** Memory is 2^logN × r × 128 bytes. */
  readonly logN: number;
  readonly r: number;
  readonly p: number;
}

interface PasswordHash extends ScryptCost {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** 32 MiB, and about half a second of one core. */
export const SCRYPT_COST: ScryptCost = { logN: 15, r: 8, p: 3 };
export const PASSWORD_BYTES_MAX = 1024;

const HASH_BYTES = 32;
const SALT_BYTES = 16;
const FORM =
  /^\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{16,86})\$([A-Za-z0-9+/]{43,86})$/;

export async function hashPassword(password: string, cost: ScryptCost = SCRYPT_COST): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(password, { ...cost, salt, length: HASH_BYTES });
  return format({ ...cost, salt, hash });
}

/** A hash that no password has, of the usual cost: what an unknown user is checked against. */
export function impossibleHash(cost: ScryptCost = SCRYPT_COST): string {
  return format({ ...cost, salt: randomBytes(SALT_BYTES), hash: randomBytes(HASH_BYTES) });
}

export function isPasswordHash(text: string): boolean {
  return parse(text) !== undefined;
}

/** @throws server/bad-configuration for what is no hash */
export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const parsed = parse(stored);
  if (parsed === undefined)
    throw new GitwharfError("server/bad-configuration", "a stored password is not a scrypt hash");
  const { hash } = parsed;
  return timingSafeEqual(await derive(password, { ...parsed, length: hash.length }), hash);
}

function parse(text: string): PasswordHash | undefined {
  const match = FORM.exec(text);
  if (match === null) return undefined;
  const [logN = 0, r = 0, p = 0] = match.slice(1, 4).map(Number);
  // What a hash may make this server spend: it comes from a file or a database, but a typing error is enough.
  if (logN < 1 || logN > 18 || r < 1 || r > 16 || p < 1 || p > 16) return undefined;
  const [salt, hash] = match.slice(4, 6).map((part) => Buffer.from(part, "base64"));
  return salt === undefined || hash === undefined ? undefined : { logN, r, p, salt, hash };
}

function format({ logN, r, p, salt, hash }: PasswordHash): string {
  const text = (bytes: Buffer): string => bytes.toString("base64").replaceAll("=", "");
  return `$scrypt$ln=${logN},r=${r},p=${p}$${text(salt)}$${text(hash)}`;
}

function derive(
  password: string,
  { logN, r, p, salt, length }: ScryptCost & { readonly salt: Buffer; readonly length: number },
): Promise<Buffer> {
  const N = 2 ** logN;
  return new Promise((resolve, reject) => {
    scrypt(password.normalize("NFC"), salt, length, { N, r, p, maxmem: 256 * N * r }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
