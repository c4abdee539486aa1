/**
 * Signed pushes with the real client and SSH signatures: what is advertised, how the nonce is judged, what the
 * application's callback and handlers see, and which certificates are refused.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { PushCertificate } from "../src/engine/push.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { pktLine, send } from "./support/raw-http.js";
import { blobOid, NULL_OID, packOfBlobs, RECEIVE_PACK_TYPE } from "./support/raw-push.js";

let workspace: GitClient;
let app: GitClient;
let server: TestServer;
let count = 0;
let name = "";
let bare: GitClient;
/** What the callback and the handler saw, in order. */
let verified: PushCertificate[] = [];
let seen: (PushCertificate | undefined)[] = [];
/** Between the advertisement and the push. */
let beforePush: () => void = () => undefined;
/** Whether the callback throws. */
let fails = false;
const log: string[] = [];
const SIGNERS = "signers";

beforeAll(async () => {
  workspace = createWorkspace();
  const { directory } = workspace;
  for (const key of ["ada", "eve"])
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", join(directory, key)]);
  const publicKey = execFileSync("ssh-keygen", ["-y", "-f", join(directory, "ada")], { encoding: "utf8" });
  writeFileSync(join(directory, SIGNERS), `ada@example.org ${publicKey}`);
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("config", "gpg.format", "ssh");
  await app.run("config", "user.signingkey", join(directory, "ada"));
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  server = await createTestServer({
    repositories: join(directory, "served"),
    durability: "none",
    log: (entry) => void log.push(entry.message),
    authorize: ({ operation, commands }) => {
      if (operation !== "fetch" && commands !== undefined) beforePush();
      return { allowed: true };
    },
    verifyPushCertificate: (certificate) => {
      verified.push(certificate);
      if (fails) throw new Error("the key server is down");
      return verify(certificate);
    },
    handlers: {
      preReceive: ({ certificate }) => {
        seen.push(certificate);
        if (certificate === undefined) return undefined;
        if (certificate.nonceStatus !== "OK") return `nonce ${certificate.nonceStatus}`;
        return certificate.verification?.status === "G" ? undefined : "sign your push with a known key";
      },
    },
  });
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});
beforeEach(async () => {
  name = `r${count++}`;
  verified = [];
  seen = [];
  beforePush = () => undefined;
  fails = false;
  log.length = 0;
  await workspace.run("init", "-q", "--bare", `served/${name}.git`);
  bare = workspace.in(`served/${name}.git`);
  await bare.run("config", "receive.certNonceSeed", "a seed");
  // Over HTTP a nonce grows old between the advertisement and the push: without slop, on the next second.
  await bare.run("config", "receive.certNonceSlop", "60");
});

function verify({ payload, signature }: PushCertificate): { status: string; signer?: string } {
  const file = join(workspace.directory, "signature");
  writeFileSync(file, signature);
  const allowed = join(workspace.directory, SIGNERS);
  const args = ["-Y", "verify", "-f", allowed, "-I", "ada@example.org", "-n", "git", "-s", file];
  try {
    execFileSync("ssh-keygen", args, { input: payload, stdio: ["pipe", "ignore", "ignore"] });
    return { status: "G", signer: "ada@example.org" };
  } catch {
    return { status: "B" };
  }
}

const push = (...args: readonly string[]): Promise<GitResult> =>
  app.try("push", "--signed", ...args, server.urlOf(name), "HEAD:refs/heads/main");
const head = (): Promise<string> => app.run("rev-parse", "HEAD");
const served = async (): Promise<string> =>
  (await bare.try("rev-parse", "-q", "--verify", "main")).stdout.trim();

describe("git push --signed", () => {
  it("is taken, with what was signed told to the callback and the handlers", async () => {
    const result = await push();
    expect(result).toMatchObject({ status: 0 });
    expect(await served()).toBe(await head());
    const [certificate] = verified;
    expect(seen).toEqual([{ ...certificate, verification: { status: "G", signer: "ada@example.org" } }]);
    const url = server.urlOf(name);
    const lines = certificate?.payload.toString("utf8").split("\n");
    expect(lines).toEqual([
      "certificate version 0.1",
      expect.stringMatching(/^pusher /),
      `pushee ${url}/`,
      `nonce ${certificate?.nonce}`,
      "",
      `${NULL_OID} ${await head()} refs/heads/main`,
      "",
    ]);
    expect(certificate).toMatchObject({ nonceStatus: "OK", nonceIssued: certificate?.nonce });
    expect(`pusher ${certificate?.pusher}`).toBe(lines?.[1]);
  });

  it("leaves the certificate as a blob", async () => {
    expect(await push()).toMatchObject({ status: 0 });
    const oid = verified[0]?.blobOid ?? "";
    const blob = await bare.run("cat-file", "blob", oid);
    const whole = Buffer.concat([verified[0]?.payload ?? Buffer.of(), verified[0]?.signature ?? Buffer.of()]);
    expect(blob).toBe(whole.toString("utf8").trim());
    expect(blob).toMatch(/\n-----BEGIN SSH SIGNATURE-----\n[^]*\n-----END SSH SIGNATURE-----$/);
    expect(await bare.run("fsck", "--strict")).toBe(`dangling blob ${oid}`);
  });

  it("is refused by a handler when another key signed", async () => {
    const key = join(workspace.directory, "eve");
    const result = await app.try(
      "-c",
      `user.signingkey=${key}`,
      "push",
      "--signed",
      server.urlOf(name),
      "HEAD:refs/heads/main",
    );
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/ ! \[remote rejected\] HEAD -> main \(.*sign your push with a known key/);
    expect(await served()).toBe("");
    // Nothing of a push that was refused stays.
    expect(await bare.run("count-objects")).toBe("0 objects, 0 kilobytes");
  });

  it("cannot be checked when the callback fails: the operator reads why", async () => {
    fails = true;
    const result = await push();
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/ ! \[remote rejected\] HEAD -> main \(.*sign your push with a known key/);
    expect(seen[0]?.verification).toEqual({ status: "E" });
    expect(log).toContain(`the verifyPushCertificate handler failed in a push to ${name}`);
    expect(await served()).toBe("");
  });

  it("signs its push options, deletions and many refs", async () => {
    await bare.run("config", "receive.advertisePushOptions", "true");
    await app.run("push", "-q", server.urlOf(name), "HEAD:refs/heads/old");
    expect(await push("-o", "ci=no", "-o", "two words")).toMatchObject({ status: 0 });
    expect(verified[0]?.payload.toString()).toMatch(/\npush-option ci=no\npush-option two words\n\n/);
    const url = server.urlOf(name);
    const result = await app.try(
      "push",
      "--signed",
      "--atomic",
      url,
      ":old",
      "HEAD:refs/heads/a",
      "HEAD:refs/heads/b",
    );
    expect(result).toMatchObject({ status: 0 });
    expect(verified[1]?.payload.toString().split("\n\n")[1]?.trim().split("\n")).toHaveLength(3);
    expect(await bare.run("for-each-ref", "--format=%(refname)")).toBe(
      "refs/heads/a\nrefs/heads/b\nrefs/heads/main",
    );
  });

  it("may come from a client that does not sign: the handlers see none", async () => {
    expect(await app.try("push", server.urlOf(name), "HEAD:main")).toMatchObject({ status: 0 });
    expect([verified, seen]).toEqual([[], [undefined]]);
  });

  it("may be too large, and the client says so", async () => {
    const tight = await createTestServer({
      repositories: server.server.store,
      limits: { certificateBytesMax: 200 },
    });
    try {
      const result = await app.try("push", "--signed", tight.urlOf(name), "HEAD:refs/heads/main");
      expect(result.status).not.toBe(0);
      expect(result.stderr).toContain("remote: the push has more than 200 bytes of certificate");
      expect(await served()).toBe("");
    } finally {
      await tight.close();
    }
  });

  it("is not offered without a seed, and the client says so", async () => {
    await bare.run("config", "--unset", "receive.certNonceSeed");
    const result = await push();
    expect(result.status).not.toBe(0);
    expect(result.stderr).toMatch(/the receiving end does not support --signed push/);
    const asked = await push("--signed=if-asked");
    expect(asked.stderr).toMatch(/not sending a push certificate since the receiving end does not support/);
    expect([asked.status, seen]).toEqual([0, [undefined]]);
  });
});

describe("the nonce of a signed push", () => {
  it("is bad when another seed made it", async () => {
    const other = await advertisedNonce();
    await bare.run("config", "receive.certNonceSeed", "another seed");
    expect(await rawPush(certificate({ nonce: other }))).toMatch(/nonce BAD/);
    expect(seen).toMatchObject([{ nonceStatus: "BAD", nonceSlopSeconds: undefined }]);
    expect(seen[0]?.nonceIssued).not.toBe(other);
  });

  it("is bad when another repository handed it out", async () => {
    const other = await advertisedNonce();
    await workspace.run("init", "-q", "--bare", `served/${name}-two.git`);
    await workspace.in(`served/${name}-two.git`).run("config", "receive.certNonceSeed", "a seed");
    name = `${name}-two`;
    expect(await rawPush(certificate({ nonce: other }))).toMatch(/nonce BAD/);
  });

  it.each(["x", "1-", "99999999999999-0", `-1-${"0".repeat(40)}`])("is bad: %s", async (nonce) => {
    expect(await rawPush(certificate({ nonce }))).toMatch(/nonce BAD/);
  });

  it("is missed", async () => {
    expect(await rawPush(certificate({}))).toMatch(/nonce MISSING/);
  });

  it("may be as old as receive.certNonceSlop says", async () => {
    const realNow = Date.now.bind(Date);
    const later = vi.spyOn(Date, "now");
    try {
      beforePush = () => void later.mockImplementation(() => realNow() + 100_000);
      expect((await push()).stderr).toMatch(/\[remote rejected\] HEAD -> main \(.*nonce SLOP/);
      expect(seen).toMatchObject([{ nonceStatus: "SLOP" }]);
      expect(seen[0]?.nonceSlopSeconds).toBeGreaterThanOrEqual(100);
      expect(seen[0]?.nonceIssued).not.toBe(seen[0]?.nonce);
      later.mockImplementation(realNow);
      await bare.run("config", "receive.certNonceSlop", "1000");
      expect(await push()).toMatchObject({ status: 0 });
      // As git does, the nonce that was signed counts as the one handed out.
      expect(seen[1]).toMatchObject({
        nonceStatus: "OK",
        nonceIssued: seen[1]?.nonce,
        nonceSlopSeconds: undefined,
      });
    } finally {
      later.mockRestore();
    }
  });
});

describe("a certificate by hand", () => {
  it("stands for the commands it signs, and none beside it", async () => {
    const oid = blobOid("b");
    const extra = pktLine(`${NULL_OID} ${oid} refs/tags/unsigned`);
    expect(await rawPush(certificate({}) + extra)).toMatch(/a command follows the push certificate/);
    const before = pktLine(`${NULL_OID} ${oid} refs/tags/unsigned\0report-status`);
    expect(await rawPush(before + certificate({}))).toMatch(/expected old\/new\/ref, got 'push-cert/);
    expect([seen, await bare.run("for-each-ref")]).toEqual([[], ""]);
  });

  it("signs the push options that come with it", async () => {
    await bare.run("config", "receive.advertisePushOptions", "true");
    const signed = certificate({ options: ["a"], capabilities: "report-status push-options" });
    expect(await rawPush(signed, `${pktLine("b\n")}0000`)).toMatch(/not those that the certificate signs/);
    expect(await rawPush(signed, "0000")).toMatch(/not those that the certificate signs/);
    expect(await bare.run("for-each-ref")).toBe("");
  });

  it("is refused where none was asked for", async () => {
    await bare.run("config", "--unset", "receive.certNonceSeed");
    expect(await rawPush(certificate({}))).toMatch(/takes no push certificates \(receive\.certNonceSeed\)/);
  });

  it("is not looked at, nor kept, when the pack beside it is broken", async () => {
    const broken = packOfBlobs("b");
    broken.writeUInt8(broken.readUInt8(broken.length - 1) ^ 1, broken.length - 1);
    const answer = await rawPush(certificate({}), "", broken);
    expect(answer).toMatch(/unpack (?!ok)/);
    expect(answer).toContain("ng refs/tags/b unpacker error");
    expect([verified, seen, log.filter((line) => line.includes("failed"))]).toEqual([[], [], []]);
    expect(await bare.run("count-objects", "-v")).toMatch(/^count: 0$[^]*^in-pack: 0$[^]*^garbage: 0$/m);
  });

  it("may be larger than an object, or a pack, is allowed to be", async () => {
    const small = { objectSizeBytesMax: 20, packSizeBytesMax: 100, inflatedTotalBytesMax: 20 };
    const tight = await createTestServer({
      repositories: server.server.store,
      limits: small,
      handlers: { preReceive: ({ certificate: its }) => void seen.push(its) },
    });
    try {
      const answer = await rawPush(certificate({}), "", packOfBlobs("b"), tight);
      expect(answer).toContain("ok refs/tags/b");
      const [its] = seen;
      const length = (its?.payload.length ?? 0) + (its?.signature.length ?? 0);
      expect(await bare.run("cat-file", "-s", its?.blobOid ?? "")).toBe(String(length));
    } finally {
      await tight.close();
    }
  });

  it("is refused when it is cut, of another version, or has a line that is no command", async () => {
    const cert = certificate({});
    expect(await rawPush(cert.slice(0, -pktLine("push-cert-end\n").length))).toMatch(/is not whole/);
    expect(await rawPush(certificate({ version: "0.2" }))).toMatch(/is not of version 0\.1/);
    expect(await rawPush(certificate({ command: "nothing" }))).toMatch(/expected old\/new\/ref/);
    expect(await bare.run("for-each-ref")).toBe("");
  });
});

interface CertificateText {
  readonly nonce?: string;
  readonly options?: readonly string[];
  readonly capabilities?: string;
  readonly version?: string;
  readonly command?: string;
}

/** The lines of a certificate for a tag on the blob "b", with a signature that nobody made. */
function certificate(text: CertificateText): string {
  const lines = [
    `certificate version ${text.version ?? "0.1"}`,
    "pusher ada@example.org 1700000000 +0100",
    ...(text.nonce === undefined ? [] : [`nonce ${text.nonce}`]),
    ...(text.options ?? []).map((option) => `push-option ${option}`),
    "",
    text.command ?? `${NULL_OID} ${blobOid("b")} refs/tags/b`,
    "-----BEGIN SSH SIGNATURE-----",
    "AAAA",
    "-----END SSH SIGNATURE-----",
    "push-cert-end",
  ];
  const start = pktLine(`push-cert\0${text.capabilities ?? "report-status"}`);
  return start + lines.map((line) => pktLine(`${line}\n`)).join("");
}

async function rawPush(
  commands: string,
  options = "",
  pack = packOfBlobs("b"),
  to: TestServer = server,
): Promise<string> {
  const answer = await send(`${to.urlOf(name)}/git-receive-pack`, {
    headers: { "content-type": RECEIVE_PACK_TYPE },
    body: Buffer.concat([Buffer.from(`${commands}0000${options}`), pack]),
  });
  return answer.body.toString("latin1");
}

async function advertisedNonce(): Promise<string> {
  const answer = await send(`${server.urlOf(name)}/info/refs?service=git-receive-pack`);
  return / push-cert=(\S+)/.exec(answer.body.toString("latin1"))?.[1] ?? "";
}
