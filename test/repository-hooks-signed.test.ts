/**
 * What hooks are told of a signed push, beside git http-backend. The signatures are SSH's; here the callback of the
 * application says what git finds out itself.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PushCertificate, PushCertificateVerification } from "../src/engine/push.js";
import { type PushBesideGit, startPushBesideGit } from "./support/push-beside-git.js";
import { RECORD, readRecord, writeHook } from "./support/record-hooks.js";

let pair: PushBesideGit;
let directory: string;
/** Whether the application checks signatures. */
let verifies = true;

beforeEach(async () => {
  verifies = true;
  pair = await startPushBesideGit({
    server: {
      repositoryHooks: true,
      verifyPushCertificate: (certificate) => (verifies ? verify(certificate) : { status: "E" }),
    },
  });
  ({ directory } = pair.workspace);
  for (const key of ["ada", "eve"])
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", join(directory, key)]);
  const publicKey = execFileSync("ssh-keygen", ["-y", "-f", join(directory, "ada")], { encoding: "utf8" });
  writeFileSync(join(directory, "signers"), `ada@example.org ${publicKey}`);
  await pair.configure({
    "gpg.format": "ssh",
    "gpg.ssh.allowedSignersFile": join(directory, "signers"),
    "receive.certNonceSeed": "a seed",
    "receive.certNonceSlop": "60",
    "receive.advertisePushOptions": "true",
  });
  await pair.app.run("config", "gpg.format", "ssh");
  await pair.app.run("config", "user.signingkey", join(directory, "ada"));
  for (const { repository } of [pair.ours, pair.theirs])
    for (const name of ["pre-receive", "post-receive"])
      writeHook(
        repository,
        name,
        `[ -z "$GIT_PUSH_CERT" ] || git cat-file blob "$GIT_PUSH_CERT" | sed -n 's/^nonce/signed/p' >> record\n${RECORD}`,
      );
});
afterEach(() => pair.close());

/** As git does it: a signature that is right is good; without a signer nobody knows whose it is. */
function verify({ payload, signature }: PushCertificate): PushCertificateVerification {
  const file = join(directory, "signature");
  writeFileSync(file, signature);
  const keygen = (...args: readonly string[]): string | undefined => {
    // One that does not read its input may have ended before it is written, which is an error here.
    const reads = !args.includes("find-principals");
    try {
      return execFileSync("ssh-keygen", [...args, "-s", file], {
        ...(reads ? { input: payload } : {}),
        encoding: "utf8",
        stdio: [reads ? "pipe" : "ignore", "pipe", "ignore"],
      });
    } catch {
      return undefined;
    }
  };
  const signer = keygen("-Y", "find-principals", "-f", join(directory, "signers"))?.trim();
  const said =
    signer === undefined
      ? keygen("-Y", "check-novalidate", "-n", "git")
      : keygen("-Y", "verify", "-f", join(directory, "signers"), "-I", signer, "-n", "git");
  const key = /\bSHA256:\S+/.exec(said ?? "")?.[0];
  return {
    status: said === undefined ? "B" : "G",
    ...(signer === undefined ? {} : { signer }),
    ...(key === undefined ? {} : { key }),
  };
}

/** For each call of a hook, the variables of the certificate; the id and the nonce, which differ, are checked. */
function told(side: "ours" | "theirs"): readonly (readonly string[])[] {
  return readRecord(pair[side].repository, (text) => {
    const signed = [...text.matchAll(/^signed (.*)$/gm)].map((match) => match[1]);
    const nonces = [...text.matchAll(/^env GIT_PUSH_CERT_NONCE=(.*)$/gm)].map((match) => match[1]);
    if (!/NONCE_STATUS=SLOP/.test(text)) expect(nonces).toEqual(signed);
    else expect(nonces.every((nonce, i) => nonce !== signed[i])).toBe(true);
    return text
      .replaceAll(/GIT_PUSH_CERT=[0-9a-f]{40}$/gm, "GIT_PUSH_CERT=BLOB")
      .replaceAll(/CERT_NONCE=[0-9]+-[0-9a-f]{40}$/gm, "CERT_NONCE=NONCE")
      .replaceAll(/NONCE_SLOP=[1-9]$/gm, "NONCE_SLOP=SECONDS");
  }).map(({ environment }) => environment.filter((line) => line.startsWith("GIT_PUSH")));
}

function expectSame(): readonly string[] {
  const [ours, theirs] = [told("ours"), told("theirs")];
  expect(ours).toHaveLength(2);
  expect(ours).toEqual(theirs);
  return ours[0] as readonly string[];
}

const fingerprint = (key: string): string =>
  execFileSync("ssh-keygen", ["-l", "-f", join(directory, key)], { encoding: "utf8" }).split(" ")[1] ?? "";

describe("hooks of a signed push", () => {
  it("are told who signed it, and the nonce", async () => {
    await pair.push("--signed", "two:main");
    expect(expectSame()).toEqual([
      "GIT_PUSH_CERT=BLOB",
      `GIT_PUSH_CERT_KEY=${fingerprint("ada")}`,
      "GIT_PUSH_CERT_NONCE=NONCE",
      "GIT_PUSH_CERT_NONCE_STATUS=OK",
      "GIT_PUSH_CERT_SIGNER=ada@example.org",
      "GIT_PUSH_CERT_STATUS=G",
      "GIT_PUSH_OPTION_COUNT=0",
    ]);
  });

  it("are told of its options too, and of deletions alone", async () => {
    await pair.push("--signed", "--push-option=a=b", ":side");
    expect(expectSame()).toContain("GIT_PUSH_OPTION_0=a=b");
  });

  it("are told when nobody knows the key", async () => {
    await pair.app.run("config", "user.signingkey", join(directory, "eve"));
    await pair.push("--signed", "two:main");
    const said = expectSame();
    expect(said).toContain(`GIT_PUSH_CERT_KEY=${fingerprint("eve")}`);
    expect(said).toContain("GIT_PUSH_CERT_SIGNER=");
    expect(said).toContain("GIT_PUSH_CERT_STATUS=G");
  });

  it("are told of a nonce that grew old, and by how much", async () => {
    for (const { repository } of [pair.ours, pair.theirs])
      await repository.run("config", "receive.certNonceSlop", "0");
    // Between the advertisement and the signature the clock must have gone to the next second.
    writeHook(
      pair.app.in(".git"),
      "pre-push",
      "now=$(date +%s)\nwhile [ $(date +%s) = $now ]; do sleep 0.05; done",
    );
    await pair.push("--signed", "two:main");
    const said = expectSame();
    expect(said).toContain("GIT_PUSH_CERT_NONCE_STATUS=SLOP");
    expect(said).toContain("GIT_PUSH_CERT_NONCE_SLOP=SECONDS");
  });

  it("are told nothing of the sort when it is not signed", async () => {
    await pair.push("two:main");
    expect(expectSame()).toEqual(["GIT_PUSH_OPTION_COUNT=0"]);
  });

  it("are told that a signature was not checked where the application cannot", async () => {
    verifies = false;
    await pair.app.run("push", "-q", "--signed", pair.ours.url, "two:main");
    const said = told("ours")[0];
    expect(said).toContain("GIT_PUSH_CERT_STATUS=E");
    expect(said).toContain("GIT_PUSH_CERT_SIGNER=");
    expect(said).toContain("GIT_PUSH_CERT_KEY=");
  });
});
