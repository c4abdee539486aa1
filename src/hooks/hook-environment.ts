/**
 * The environment of a hook: git's variables, ours, and of the server's own only what a program needs to run.
 * Specification: githooks, git-receive-pack ("PRE-RECEIVE HOOK"), git (GIT_QUARANTINE_PATH).
 */
import { join } from "node:path";
import type { Push } from "../engine/push.js";

const PASSED_ON = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/** @param server the server's environment, of which a few names are passed on */
export function hookEnvironment(
  push: Push,
  { gitDirectory, common }: { readonly gitDirectory: string; readonly common: string },
  server: NodeJS.ProcessEnv,
): Record<string, string> {
  const environment: Record<string, string> = { GIT_DIR: gitDirectory };
  for (const name of PASSED_ON) {
    const value = server[name];
    if (value !== undefined) environment[name] = value;
  }
  const quarantine = push.quarantine?.directory;
  if (quarantine !== undefined) {
    environment["GIT_QUARANTINE_PATH"] = quarantine;
    environment["GIT_OBJECT_DIRECTORY"] = quarantine;
    environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = join(common, "objects");
  }
  environment["GIT_PUSH_OPTION_COUNT"] = String(push.options.length);
  push.options.forEach((option, i) => (environment[`GIT_PUSH_OPTION_${i}`] = option));
  const { certificate } = push;
  if (certificate !== undefined) {
    const { verification } = certificate;
    const values: Record<string, string | undefined> = {
      GIT_PUSH_CERT: certificate.blobOid,
      GIT_PUSH_CERT_SIGNER: verification?.signer ?? "",
      GIT_PUSH_CERT_KEY: verification?.key ?? "",
      // Nobody has looked at the signature: git's letter for one that cannot be checked.
      GIT_PUSH_CERT_STATUS: verification?.status ?? (certificate.signature.length === 0 ? "N" : "E"),
      GIT_PUSH_CERT_NONCE: certificate.nonceIssued,
      GIT_PUSH_CERT_NONCE_STATUS: certificate.nonceStatus,
      GIT_PUSH_CERT_NONCE_SLOP:
        certificate.nonceSlopSeconds === undefined ? undefined : String(certificate.nonceSlopSeconds),
    };
    for (const [name, value] of Object.entries(values)) if (value !== undefined) environment[name] = value;
  }
  environment["GITWHARF_REPOSITORY"] = push.repository.name;
  environment["GITWHARF_TRANSPORT"] = push.transport;
  const { user, method, credentialId } = push.identity;
  const known: Record<string, string | undefined> = {
    GITWHARF_USER: user,
    GITWHARF_METHOD: method,
    GITWHARF_KEY_ID: credentialId,
    GITWHARF_ADDRESS: push.address,
    GITWHARF_REQUEST_ID: push.requestId,
  };
  for (const [name, value] of Object.entries(known)) if (value !== undefined) environment[name] = value;
  return environment;
}
