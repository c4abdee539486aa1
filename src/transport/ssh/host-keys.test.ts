import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sshKeygen } from "../../../test/support/ssh-keygen.js";
import { makeTransientHostKeys, readHostKeys } from "./host-keys.js";

describe("host keys", () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it("are made once, for several servers that start together, and kept", async () => {
    const directory = join(root, "made", "keys");
    const both = await Promise.all([readHostKeys(directory), readHostKeys(directory)]);
    const [first, second] = both.map((keys) => keys.map(({ fingerprint }) => fingerprint));
    expect(first).toEqual(second);
    expect(both[0].map(({ type }) => type)).toEqual(["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]);
    const names = readdirSync(directory).toSorted();
    const kinds = ["ecdsa", "ed25519", "rsa"];
    expect(names).toEqual(kinds.flatMap((kind) => [`ssh_host_${kind}_key`, `ssh_host_${kind}_key.pub`]));
    for (const [index, kind] of ["ed25519", "ecdsa", "rsa"].entries()) {
      const file = join(directory, `ssh_host_${kind}_key`);
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(sshKeygen(["-l", "-f", file])).toContain(first?.[index]);
      expect(sshKeygen(["-l", "-f", `${file}.pub`])).toContain(first?.[index]);
    }
    const before = readFileSync(join(directory, "ssh_host_rsa_key"));
    rmSync(join(directory, "ssh_host_ed25519_key"));
    const third = await readHostKeys(directory);
    expect(third.map(({ fingerprint }) => fingerprint).slice(1)).toEqual(first?.slice(1));
    expect(third[0]?.fingerprint).not.toBe(first?.[0]);
    expect(readFileSync(join(directory, "ssh_host_rsa_key")).equals(before)).toBe(true);
  });

  it("are refused when others can read them or they are none, and never overwritten", async () => {
    const directory = join(root, "made", "keys");
    const file = join(directory, "ssh_host_ed25519_key");
    chmodSync(file, 0o640);
    await expect(readHostKeys(directory)).rejects.toThrow(
      /can be read by others \(mode 640\); run: chmod 600/,
    );
    writeFileSync(file, "nonsense");
    chmodSync(file, 0o600);
    await expect(readHostKeys(directory)).rejects.toMatchObject({ code: "server/bad-configuration" });
    expect(readFileSync(file, "utf8")).toBe("nonsense");
    await expect(readHostKeys(join(file, "below"))).rejects.toMatchObject({
      code: "server/bad-configuration",
    });
  });

  it("that are not kept are new every time", async () => {
    const [one, two] = [await makeTransientHostKeys(), await makeTransientHostKeys()];
    expect(one[0]?.fingerprint).not.toBe(two[0]?.fingerprint);
  });
});
