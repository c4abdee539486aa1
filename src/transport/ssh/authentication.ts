/**
 * Who is at the other end of an SSH connection. A key that is only shown is never refused and never asked for: what is
 * said about it would tell a stranger whose keys are known here. Callbacks are asked once the client has signed.
 * Specification: RFC 4252, section 7; OpenSSH's PROTOCOL.certkeys.
 */
import type { AuthContext, Connection, PublicKeyAuthContext } from "ssh2";
import { wrongCredentials } from "../../access/authenticator.js";
import type { Credentials, SshKeyCredentials } from "../../access/credentials.js";
import {
  isCertificateType,
  parseSshCertificate,
  plainTypeOf,
  type SshCertificate,
} from "../../access/ssh-certificate.js";
import {
  authorizedKeysLine,
  fingerprintOf,
  isVerifiedByDevice,
  md5FingerprintOf,
  parseSshPublicKey,
  type SshPublicKey,
  verifySshSignature,
} from "../../access/ssh-public-key.js";
import type { SshTrust } from "../../access/ssh-trust.js";
import { encodeSshString, SshReader } from "../../access/ssh-wire.js";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { Identity } from "../../engine/push.js";
import { formatControlText } from "../http/plain-text.js";
import type { ServiceHost } from "../service-host.js";
import { sendBanner } from "./library.js";

export interface SshLogin {
  readonly identity: Identity;
  /** Login name, the `git` of `git@host`. */
  readonly user: string;
  /** Of a certificate: runs in place of what the client asks for. */
  readonly forceCommand: string | undefined;
  /** Asked before each command: the connection may outlive what it was signed in with. @throws as for signing in */
  recheck(): Promise<void>;
}

export interface SshAuthenticationOptions {
  readonly host: ServiceHost;
  readonly trust: SshTrust;
  readonly connection: Connection;
  readonly address: string | undefined;
  readonly onLogin: (login: SshLogin) => void;
  /** Too many attempts, or what no client does. */
  readonly onGiveUp: (why: string) => void;
  readonly isGone: () => boolean;
}

/** Keys that are shown and keys that are signed with, together: a client may show every key of its agent. */
const REQUESTS_PER_ATTEMPT = 4;
const USER_LENGTH_MAX = 256;

export function authenticate(options: SshAuthenticationOptions): void {
  const { connection, host } = options;
  const attemptsMax = host.limits.sshAttemptsMax;
  let requests = 0;
  let failures = 0;
  const fail = (context: AuthContext): void => {
    if (++failures >= attemptsMax) options.onGiveUp("too many failed attempts to sign in");
    else context.reject(["publickey"]);
  };
  connection.on("authentication", (context) => {
    if (++requests > attemptsMax * REQUESTS_PER_ATTEMPT || context.username.length > USER_LENGTH_MAX) {
      options.onGiveUp("too many requests to sign in");
      return;
    }
    answer(context, options, fail).catch((error: unknown) => {
      // The library throws on a connection that has ended.
      if (options.isGone()) return;
      logRefusal(options, context, error);
      if (isGitwharfError(error, "access/too-many-requests")) {
        sendBanner(connection, `gitwharf: ${error.message}\r\n`);
        options.onGiveUp(error.message);
      } else fail(context);
    });
  });
}

/**
 * A stranger's mistakes are told as such, with the key by which his user knows himself; whatever failed on this side lets
 * nobody in, and the operator must know.
 */
function logRefusal({ host, address }: SshAuthenticationOptions, context: AuthContext, error: unknown): void {
  // Who is given up is told of once.
  if (isGitwharfError(error, "access/unavailable", "access/too-many-requests")) return;
  const login = formatControlText(context.username);
  const key = context.method === "publickey" ? fingerprintOf(context.key.data) : undefined;
  const fields = { address, login, key };
  if (isGitwharfError(error, "access/unauthenticated", "access/malformed-key")) {
    host.audit?.refusedSignIn({ transport: "ssh", address, credentialId: key, error });
    const message = `an SSH sign-in was refused: ${error.message}`;
    host.log({ level: "info", message, fields });
  } else host.log({ level: "error", message: "an SSH sign-in failed on this side", error, fields });
}

async function answer(
  context: AuthContext,
  options: SshAuthenticationOptions,
  fail: (context: AuthContext) => void,
): Promise<void> {
  const { host } = options;
  switch (context.method) {
    case "none":
      // Clients ask this way what they may try.
      if (!(await host.isOpen())) return context.reject(["publickey"]);
      return letIn(context, options, {
        identity: { user: undefined },
        forceCommand: undefined,
        recheck: async () => undefined,
      });
    case "publickey":
      return answerKey(context, options);
    default:
      return fail(context);
  }
}

async function answerKey(context: PublicKeyAuthContext, options: SshAuthenticationOptions): Promise<void> {
  const { host, trust, address } = options;
  // The library's buffers are parts of its packets.
  const shown = readShownKey(context.key.algo, Buffer.from(context.key.data), trust);
  if (context.key.algo === "ssh-rsa" && context.hashAlgo === undefined) {
    throw new GitwharfError("access/malformed-key", "RSA signatures with SHA-1 are not taken");
  }
  if (context.signature === undefined || context.blob === undefined) return context.accept();
  const signature = signatureOf(context, Buffer.from(context.signature));
  if (!verifySshSignature(shown.key, signature, context.blob)) {
    throw new GitwharfError("access/unauthenticated", "the signature was not made by the key that was shown");
  }
  const user = context.username;
  const { key, certificate } = shown;
  const about = describeKey(user, key);
  let credentials: Credentials = { kind: "ssh-key", ...about };
  let forceCommand: string | undefined;
  let recheck = (): Promise<void> => trust.checkKey(key.blob);
  if (certificate === undefined) await recheck();
  else {
    const holder = { user, address, isVerifiedByDevice: isVerifiedByDevice(key, signature) };
    const grant = await trust.checkCertificate(certificate, holder);
    forceCommand = grant.forceCommand;
    credentials = { kind: "ssh-certificate", ...about, principal: grant.principal, certificate };
    recheck = async () => {
      const { principal } = await trust.checkCertificate(certificate, holder);
      if (principal !== grant.principal) throw wrongCredentials();
    };
  }
  const identity = (await host.isOpen())
    ? { user: undefined }
    : await host.identify({ credentials, address, peerAddress: address, transport: "ssh" });
  letIn(context, options, { identity, forceCommand, recheck });
}

function letIn(context: AuthContext, options: SshAuthenticationOptions, login: Omit<SshLogin, "user">): void {
  options.onLogin({ ...login, user: context.username });
  context.accept();
}

/** @throws access/malformed-key */
function readShownKey(
  algorithm: string,
  blob: Buffer,
  trust: SshTrust,
): { readonly key: SshPublicKey; readonly certificate: SshCertificate | undefined } {
  const type = new SshReader(blob).text();
  if (!isCertificateType(algorithm)) {
    const key = parseSshPublicKey(blob);
    if (key.type !== algorithm) {
      throw new GitwharfError("access/malformed-key", "the SSH key is not of the type that the client named");
    }
    return { key, certificate: undefined };
  }
  if (!trust.takesCertificates) {
    throw new GitwharfError("access/malformed-key", "SSH certificates are not taken here");
  }
  const isRsa = /^rsa-sha2-(?:256|512)-cert/.test(algorithm);
  if (
    isRsa
      ? plainTypeOf(type) !== "ssh-rsa" || type === "ssh-rsa"
      : type !== algorithm || plainTypeOf(type) === "ssh-rsa"
  ) {
    throw new GitwharfError("access/malformed-key", "the SSH certificate is not of a type that is taken");
  }
  const certificate = parseSshCertificate(blob);
  return { key: certificate.publicKey, certificate };
}

/**
 * The library has taken the signature of a plain key out of its envelope, and has written that of an ECDSA key in
 * another form; that of a certificate it leaves as it is. Here it is again as RFC 4253 has it.
 */
function signatureOf(context: PublicKeyAuthContext, signature: Buffer): Buffer {
  const { algo } = context.key;
  if (isCertificateType(algo)) return signatureFor(plainTypeOf(algo), signature);
  if (algo.startsWith("sk-")) return Buffer.concat([encodeSshString(algo), withLength(signature)]);
  const name = algo === "ssh-rsa" ? `rsa-sha2-${context.hashAlgo?.slice("sha".length) ?? "1"}` : algo;
  const raw = algo.startsWith("ecdsa-") ? ecdsaFromDer(signature) : signature;
  return Buffer.concat([encodeSshString(name), encodeSshString(raw)]);
}

/** A certificate that names an algorithm for RSA must have been used with that one. */
function signatureFor(algorithm: string, signature: Buffer): Buffer {
  const named = new SshReader(signature).text();
  return named === algorithm ? signature : Buffer.alloc(0);
}

/** Of a security device's signature the library cuts off too much: the length of its first part. */
function withLength(signature: Buffer): Buffer {
  const flagsAndCounter = 5;
  if (signature.length < flagsAndCounter) return signature;
  return Buffer.concat([
    encodeSshString(signature.subarray(0, -flagsAndCounter)),
    signature.subarray(-flagsAndCounter),
  ]);
}

/** SEQUENCE of two INTEGERs, whose bytes are those of the mpints that the client sent. */
function ecdsaFromDer(der: Buffer): Buffer {
  const header = (der[1] ?? 0) & 0x80 ? 3 : 2;
  const readInteger = (at: number): Buffer => der.subarray(at + 2, at + 2 + (der[at + 1] ?? 0));
  const r = readInteger(header);
  const s = readInteger(header + 2 + r.length);
  return Buffer.concat([encodeSshString(r), encodeSshString(s)]);
}

function describeKey(user: string, key: SshPublicKey): SshKeyCredentials {
  return {
    user,
    algorithm: key.type,
    blob: key.blob,
    fingerprint: fingerprintOf(key.blob),
    md5: md5FingerprintOf(key.blob),
    line: authorizedKeysLine(key),
  };
}
