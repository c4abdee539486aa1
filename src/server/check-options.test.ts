import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "../base/limits.js";
import { createMemoryRepositoryStore } from "../storage/memory/memory-repository-store.js";
import { checkOptions, limitsWith } from "./check-options.js";
import type { GitServerOptions } from "./git-server-options.js";

/** As a configuration file says it: whatever it likes. */
function check(options: Record<string, unknown>): void {
  checkOptions({ repositories: "./repositories", ...options } as unknown as GitServerOptions);
}

class OwnHandlers {
  readonly kept = "what a class keeps is its own business";
  preReceive(): undefined {
    return undefined;
  }
}

describe("options", () => {
  it.each<[Record<string, unknown>, RegExp]>([
    [{ repositories: 5 }, /a directory or a RepositoryStore/],
    [{ repositories: undefined }, /a directory or a RepositoryStore/],
    [{ autoCreate: "sometimes" }, /autoCreate 'sometimes' is not known; it may be never or push or read/],
    [{ autoCreate: true }, /autoCreate 'true' is not known/],
    [{ durability: "async" }, /durability 'async' is not known; it may be sync or none/],
    [{ objectFormat: "md5" }, /objectFormat 'md5' is not known/],
    [{ refFormat: "paper" }, /refFormat 'paper' is not known/],
    [{ repositoryHooks: "yes" }, /repositoryHooks is true or false/],
    [{ collisionDetection: 0 }, /collisionDetection is true or false/],
    [{ authenticate: "x" }, /authenticate is a function/],
    [{ authorize: {} }, /authorize is a function/],
    [{ verifyPushCertificate: true }, /verifyPushCertificate is a function/],
    [{ log: "text" }, /log is a function/],
    [{ database: 5 }, /database is a text/],
    [{ users: [] }, /users is an object/],
    [{ sshServer: "keys" }, /sshServer is an object/],
    [{ sshServer: { revokedKeyFile: "r" } }, /no option 'revokedKeyFile' of sshServer; known are hostKey/],
    [{ sshServer: { revokedKeysFile: ["r"] } }, /sshServer.revokedKeysFile is the path of a file/],
    [{ sshServer: { principals: ["ada"] } }, /sshServer.principals is a function/],
    [{ sshServer: { algorithms: [] } }, /sshServer.algorithms is an object/],
    [
      { sshServer: { algorithms: { ciphers: ["x"] } } },
      /no list 'ciphers' of SSH algorithms; known are keyEx/,
    ],
    [{ sshServer: { algorithms: { cipher: [] } } }, /the list 'cipher' of SSH algorithms is empty/],
    [{ sshServer: { algorithms: { hostKey: ["ssh-rsa"] } } }, /'ssh-rsa' is not safe any more/],
    [{ signedTokens: { keys: ["k"] } }, /signedTokens needs keys, and the audience/],
    [{ signedTokens: { keys: "k", audience: "a" } }, /signedTokens.keys is a list of texts/],
    [
      { signedTokens: { keys: [], audience: "a", issuers: [] } },
      /signedTokens has no 'issuers'; known are keys/,
    ],
    [{ trustedUserHeader: { header: "X-User" } }, /trustedUserHeader needs a header and the addresses/],
    [{ clientCertificates: true }, /clientCertificates is an object/],
    [{ authenticators: [{}] }, /authenticators is a list of authenticators/],
    [{ anonymousRead: "public" }, /anonymousRead is a list of texts/],
    [{ trustedProxies: "10.0.0.0/8" }, /trustedProxies is a list of texts/],
    [{ verifyCommit: true }, /verifyCommit is a function/],
    [{ bundleUris: "yes" }, /bundleUris is true or false, or an object/],
    [
      { bundleUris: { size: 1 } },
      /bundleUris is an object with sizeBytesMin and lifetimeSeconds, not 'size'/,
    ],
    [{ bundleUris: { sizeBytesMin: -1 } }, /bundleUris is an object whose sizeBytesMin is a number of bytes/],
    [{ bundleUris: { lifetimeSeconds: 86_401 } }, /whose lifetimeSeconds is a number from 1 to 86400/],
    [{ defaultBranch: "a..b" }, /defaultBranch 'a..b' cannot be a branch: /],
    [{ defaultBranch: 5 }, /defaultBranch '5' cannot be a branch/],
    [{ handlers: 5 }, /handlers is an object/],
    [{ handlers: [undefined] }, /handlers is an object/],
    [{ handlers: { prereceive: () => "no" } }, /there is no handler 'prereceive'; known are .*preReceive, /],
    [{ handlers: [{}, { update: "no" }] }, /the handler update is a function/],
    [{ limits: 5 }, /limits is an object/],
    [{ limits: { wants: 1 } }, /there is no limit 'wants'; known are packSizeBytesMax, /],
    [{ limits: { wantsMax: "1" } }, /limit 'wantsMax' must be a number from 0 up/],
    [{ limits: { wantsMax: -1 } }, /limit 'wantsMax' must be a number from 0 up/],
    [{ limits: { wantsMax: Number.NaN } }, /limit 'wantsMax' must be a number from 0 up/],
  ])("are refused with a sentence that names the one that is wrong: %o", (options, message) => {
    expect(() => check(options)).toThrow(
      expect.objectContaining({
        code: "server/bad-configuration",
        message: expect.stringMatching(message),
      }),
    );
  });

  it.each<Record<string, unknown>>([
    {},
    { repositories: createMemoryRepositoryStore() },
    { autoCreate: "read", durability: "none", objectFormat: "sha256", refFormat: "reftable" },
    { repositoryHooks: true, collisionDetection: false, defaultBranch: "trunk/next" },
    { handlers: new OwnHandlers() },
    { handlers: [{ preReceive: () => undefined, update: undefined }, Object.create(null)] },
    { limits: { wantsMax: 0, havesMax: Infinity, idleTimeoutMs: undefined } },
  ])("are taken: %o", (options) => {
    expect(() => check(options)).not.toThrow();
  });

  it("leave a limit as it is that is said to be undefined", () => {
    const given: Record<string, number | undefined> = { wantsMax: 3, idleTimeoutMs: undefined };
    const limits = limitsWith(given);
    expect(limits).toEqual({ ...DEFAULT_LIMITS, wantsMax: 3 });
  });
});
