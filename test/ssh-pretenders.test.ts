/** Who shows a key or a certificate over SSH that is not his: message by message, as no client of good will sends them. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { encodeSshString } from "../src/access/ssh-wire.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { jwkOf } from "./support/jwk.js";
import {
  openRawSsh,
  publicKeyRequest,
  type RawSsh,
  sessionExec,
  sessionOpen,
  SSH,
  type UserauthRequest,
} from "./support/raw-ssh.js";
import { makeSshKey, type SshKeyFile, sshKeygen } from "./support/ssh-keygen.js";
import { type SshTestServer, startSshServer } from "./support/ssh-server.js";

interface OwnKey {
  readonly algorithm: string;
  readonly blob: Buffer;
  readonly privateKey: KeyObject;
}

const ED25519 = "ssh-ed25519";
const DEVICE = "sk-ssh-ed25519@openssh.com";

let workspace: GitClient;
let authority: SshKeyFile;
let server: SshTestServer;
let raw: RawSsh;
let ada: OwnKey;
let eve: OwnKey;
let device: OwnKey;

beforeAll(async () => {
  workspace = createWorkspace();
  authority = makeSshKey(workspace.directory, "authority");
  ada = makeKey();
  eve = makeKey();
  device = makeKey(DEVICE);
  server = await startSshServer({
    sshServer: { userAuthoritiesFile: `${authority.path}.pub` },
    limits: { sshAttemptsMax: 100 },
    authenticate: (credentials) =>
      credentials.kind === "ssh-key" && [ada, device].some(({ blob }) => credentials.blob.equals(blob))
        ? { user: "ada" }
        : undefined,
  });
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});
beforeEach(async () => {
  raw = await openRawSsh(server.ssh.port);
});
afterEach(() => raw.close());

function makeKey(algorithm = ED25519): OwnKey {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const x = Buffer.from(jwkOf(publicKey).x ?? "", "base64url");
  const application = algorithm === DEVICE ? [encodeSshString("ssh:")] : [];
  return {
    algorithm,
    blob: Buffer.concat([encodeSshString(algorithm), encodeSshString(x), ...application]),
    privateKey,
  };
}

/** @param flags of a device: 1 somebody touched it, 4 it has verified its user */
function signatureBy(key: OwnKey, message: Buffer, flags = 1): Buffer {
  const sha256 = (bytes: string | Buffer): Buffer => createHash("sha256").update(bytes).digest();
  const state = Buffer.from([flags, 0, 0, 0, 9]);
  const isDevice = key.algorithm === DEVICE;
  const signed = isDevice ? Buffer.concat([sha256("ssh:"), state, sha256(message)]) : message;
  const made = Buffer.concat([
    encodeSshString(key.algorithm),
    encodeSshString(sign(null, signed, key.privateKey)),
  ]);
  return encodeSshString(isDevice ? Buffer.concat([made, state]) : made);
}

const signedMessage = (request: UserauthRequest, sessionId = raw.sessionId): Buffer =>
  Buffer.concat([encodeSshString(sessionId), publicKeyRequest(request, true)]);

/** @returns what came of it */
async function answerTo(payload: Buffer): Promise<"in" | "refused" | "would do" | "closed"> {
  raw.send(payload);
  const answer = await raw.next(SSH.userauthFailure, SSH.userauthSuccess, SSH.publicKeyOk);
  if (answer === undefined) return "closed";
  return answer[0] === SSH.userauthSuccess ? "in" : answer[0] === SSH.publicKeyOk ? "would do" : "refused";
}

const ask = (request: UserauthRequest, signature: Buffer): ReturnType<typeof answerTo> =>
  answerTo(Buffer.concat([publicKeyRequest(request, true), signature]));

const signIn = (key: OwnKey, request: UserauthRequest = key, flags?: number): ReturnType<typeof answerTo> =>
  ask(request, signatureBy(key, signedMessage(request), flags));

/** A certificate for one of our keys, by `ssh-keygen -s`. */
function certify(key: OwnKey, name: string, ...options: readonly string[]): UserauthRequest {
  const path = join(workspace.directory, name);
  writeFileSync(`${path}.pub`, `${key.algorithm} ${key.blob.toString("base64")}\n`);
  sshKeygen(["-q", "-s", authority.path, "-I", name, "-n", "ada", ...options, `${path}.pub`]);
  const [algorithm = "", base64 = ""] = readFileSync(`${path}-cert.pub`, "utf8").split(" ");
  return { user: "ada", algorithm, blob: Buffer.from(base64, "base64") };
}

/** Whether a session is opened and a command runs. */
async function tryCommand(): Promise<boolean> {
  raw.send(sessionOpen());
  raw.send(sessionExec("git-upload-pack 'app'"));
  const opened = await raw.next(SSH.channelOpenConfirmation, SSH.channelOpenFailure);
  return opened?.[0] === SSH.channelOpenConfirmation;
}

describe("a key over SSH", () => {
  it("opens sessions once it has signed", async () => {
    expect(await signIn(ada)).toBe("in");
    expect(await tryCommand()).toBe(true);
    expect((await raw.next(SSH.channelSuccess, SSH.channelFailure))?.[0]).toBe(SSH.channelSuccess);
  });

  it("opens none when nothing was shown at all", async () => {
    expect(await tryCommand()).toBe(false);
    expect(server.said.join("\n")).not.toMatch(/closed.*TypeError|failed on this side/);
  });

  it("opens none when it is only shown, known or not", async () => {
    for (const key of [ada, eve]) {
      expect(await answerTo(publicKeyRequest(key, false))).toBe("would do");
      const before = server.said.length;
      expect(await tryCommand()).toBe(false);
      expect(server.said.slice(before).join("\n")).not.toContain("git-upload-pack");
      raw.close();
      raw = await openRawSsh(server.ssh.port);
    }
  });

  it("is not taken for a signature that another key made, or none", async () => {
    expect(await ask(ada, signatureBy(eve, signedMessage(ada)))).toBe("refused");
    const cut = signatureBy(ada, signedMessage(ada)).subarray(4, -1);
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(64), cut, Buffer.from(ED25519)]) {
      raw.close();
      raw = await openRawSsh(server.ssh.port);
      expect(await ask(ada, encodeSshString(bytes))).toMatch(/refused|closed/);
      raw.close();
      raw = await openRawSsh(server.ssh.port);
      // The bit says that a signature follows, and none does.
      expect(await answerTo(publicKeyRequest(ada, true))).toMatch(/refused|closed/);
      expect(await tryCommand().catch(() => false)).toBe(false);
    }
  });

  it("is not taken for a signature over another session, name or key", async () => {
    const elsewhere = await openRawSsh(server.ssh.port);
    const overheard = signatureBy(ada, signedMessage(ada, elsewhere.sessionId));
    elsewhere.close();
    expect(await ask(ada, overheard)).toBe("refused");
    const forGit = signatureBy(ada, signedMessage(ada));
    expect(await ask({ ...ada, user: "git" }, forGit)).toBe("in");
    raw.close();
    raw = await openRawSsh(server.ssh.port);
    const forBob = signatureBy(ada, signedMessage({ ...ada, user: "bob" }));
    expect(await ask({ ...ada, user: "git" }, forBob)).toBe("refused");
  });

  it.each(["ssh-rsa", "rsa-sha2-512", "ecdsa-sha2-nistp256", "none", ""])(
    "is not taken under the algorithm %j",
    async (algorithm) => {
      const request = { ...ada, algorithm };
      expect(await ask(request, signatureBy({ ...ada, algorithm }, signedMessage(request)))).toMatch(
        /refused|closed/,
      );
    },
  );

  it("in a security device is taken when somebody has touched it", async () => {
    expect(await signIn(device, device, 0)).toBe("refused");
    expect(await signIn(device, device, 1)).toBe("in");
  });
});

describe("a certificate over SSH", () => {
  it("signs in by the key that it speaks of and by no other", async () => {
    const certificate = certify(eve, "stolen");
    // Certificates are public; who has found one has no key.
    expect(await ask(certificate, signatureBy(ada, signedMessage(certificate)))).toBe("refused");
    expect(await answerTo(publicKeyRequest(certificate, false))).toBe("would do");
    expect(await tryCommand()).toBe(false);
    expect(await signIn(eve, certificate)).toBe("in");
  });

  it("for hosts is none for users, by whatever name", async () => {
    const certificate = certify(eve, "host", "-h");
    expect(await signIn(eve, certificate)).toBe("refused");
    expect(server.said.join("\n")).toContain("it is a certificate for hosts, not for users");
  });

  it("is not taken for an authority, which signs nothing further", async () => {
    // A certified key that signs certificates of its own.
    const path = join(workspace.directory, "below");
    const below = makeSshKey(workspace.directory, "below");
    sshKeygen(["-q", "-s", authority.path, "-I", "below", "-n", "ada", `${below.path}.pub`]);
    writeFileSync(
      `${join(workspace.directory, "further")}.pub`,
      `${ED25519} ${eve.blob.toString("base64")}\n`,
    );
    sshKeygen(["-q", "-s", path, "-I", "further", "-n", "ada", join(workspace.directory, "further.pub")]);
    const [algorithm = "", base64 = ""] = readFileSync(
      join(workspace.directory, "further-cert.pub"),
      "utf8",
    ).split(" ");
    const further = { user: "ada", algorithm, blob: Buffer.from(base64, "base64") };
    expect(await signIn(eve, further)).toBe("refused");
    expect(server.said.join("\n")).toContain("no trusted authority signed it");
  });

  it("that asks for a verified user is good for a device that says so", async () => {
    const certificate = certify(device, "device", "-O", "verify-required");
    expect(await signIn(device, certificate, 1)).toBe("refused");
    expect(server.said.join("\n")).toContain("it asks for a security device that has verified its user");
    expect(await signIn(device, certificate, 5)).toBe("in");
  });

  it("that asks for a verified user is good for no key outside of a device", async () => {
    expect(await signIn(eve, certify(eve, "no-device", "-O", "verify-required"))).toBe("refused");
  });
});
