/** `gitwharf serve` and SSH: the banner, the keys it makes, addresses that are taken or not its own. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey, type SshKeyFile } from "./support/ssh-keygen.js";

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));

describe("gitwharf serve --ssh", { timeout: 60_000 }, () => {
  let workspace: GitClient;
  let root: string;

  beforeAll(() => {
    workspace = createWorkspace();
    root = join(workspace.directory, "r");
  });
  afterAll(() => removeDirectory(workspace));

  async function serve(...args: string[]): Promise<{ text: string; end(): Promise<void> }> {
    const child = spawn(process.execPath, [CLI, "serve", root, "--http", "127.0.0.1:0", ...args]);
    const closed = once(child, "close");
    let text = "";
    await new Promise<void>((resolve) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Buffer) => {
          text += chunk.toString();
          if (text.includes("Ctrl-C stops")) resolve();
        });
      }
      child.once("close", () => resolve());
    });
    return {
      text,
      async end() {
        child.kill("SIGTERM");
        await closed;
      },
    };
  }
  const gitwharf = (...args: string[]): { status: number | null; text: string } => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8" });
    return { status, text: stdout + stderr };
  };

  it("shows its address and its key; from the first user on only keys open it", async () => {
    const { text, end } = await serve("--ssh", "127.0.0.1:0");
    try {
      const [, url = "", port = "", fingerprint = ""] =
        /and on (ssh:\/\/git@127\.0\.0\.1:([0-9]+)) \(its key is (SHA256:\S+)\)/.exec(text) ?? [];
      expect(text).toContain("OPEN");
      for (const kind of ["ed25519", "ecdsa", "rsa"]) {
        expect(statSync(join(root, ".gitwharf", "ssh", `ssh_host_${kind}_key`)).mode & 0o777).toBe(0o600);
      }
      const ada: SshKeyFile = makeSshKey(workspace.directory, "ada");
      const about = { directory: workspace.directory, port: Number(port) };
      const open = createSshClient(about);
      await workspace.run("init", "-q", "work");
      const work = workspace.in("work");
      await work.run("commit", "-q", "--allow-empty", "-m", "first");
      const pushed = await work.tryWith({ env: open.environment }, "push", `${url}/demo.git`, "main");
      expect(pushed).toMatchObject({ status: 0 });
      const { stdout } = spawnSync("ssh-keygen", ["-l", "-F", `[127.0.0.1]:${port}`, "-f", "known_hosts"], {
        cwd: workspace.directory,
        encoding: "utf8",
      });
      expect(stdout).toContain(fingerprint);
      expect(gitwharf("user", "add", "ada", "-d", root)).toMatchObject({ status: 0 });
      expect(gitwharf("key", "add", "ada", `${ada.path}.pub`, "-d", root)).toMatchObject({ status: 0 });
      const denied = await work.tryWith({ env: open.environment }, "ls-remote", `${url}/demo.git`);
      expect(denied.stderr).toContain("Permission denied (publickey)");
      const [http = ""] = /http:\/\/127\.0\.0\.1:[0-9]+/.exec(text) ?? [];
      expect((await fetch(`${http}/demo.git/info/refs?service=git-upload-pack`)).status).toBe(401);
      const known = createSshClient({ ...about, keys: [ada.path] });
      expect(await work.tryWith({ env: known.environment }, "ls-remote", `${url}/demo.git`)).toMatchObject({
        status: 0,
        stdout: expect.stringContaining("refs/heads/main"),
      });
    } finally {
      await end();
    }
  });

  it("serves without SSH where its own address is taken, and refuses one that was asked for", async () => {
    const other = createServer();
    other.on("error", () => undefined);
    other.listen(5022, "127.0.0.1");
    // Whoever else listens there will do as well.
    await Promise.race([once(other, "listening"), once(other, "error")]).catch(() => undefined);
    const free = createServer().listen(0, "127.0.0.1");
    await once(free, "listening");
    try {
      const { text, end } = await serve();
      expect(text).toContain("SSH is off: another program listens on 127.0.0.1:5022");
      await end();
      const { port } = free.address() as AddressInfo;
      const refused = gitwharf("serve", root, "--http", "127.0.0.1:0", "--ssh", String(port));
      expect(refused.status).toBe(2);
      expect(refused.text).toContain(
        `cannot listen for SSH on 127.0.0.1:${port}: another program listens there`,
      );
    } finally {
      other.close();
      free.close();
    }
  });

  it("does not leave its own machine while it is open, and makes no keys for nothing", () => {
    const elsewhere = join(workspace.directory, "elsewhere");
    const { status, text } = gitwharf("serve", elsewhere, "--http", "127.0.0.1:0", "--ssh", "0.0.0.0:0");
    expect(status).toBe(2);
    expect(text).toContain("refusing to listen on 0.0.0.0");
    expect(text).toContain("add a user (gitwharf user add)");
    expect(existsSync(join(elsewhere, ".gitwharf", "ssh"))).toBe(false);
  });
});
