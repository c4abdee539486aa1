/** The flags of `gitwharf serve` that open and guard its doors, each with the client that comes through it. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generate } from "selfsigned";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createSshClient } from "./support/ssh-client.js";
import { certifySshKey, makeSshKey } from "./support/ssh-keygen.js";

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));

interface Served {
  readonly text: string;
  /** The address behind `ssh://…:`, `http://…` and so on in the banner. */
  readonly portOf: (scheme: string) => string;
  end(): Promise<void>;
}

describe("gitwharf serve", { timeout: 60_000 }, () => {
  let workspace: GitClient;
  let root: string;

  beforeAll(async () => {
    workspace = createWorkspace();
    root = join(workspace.directory, "repositories");
    await workspace.run("init", "-q", "work");
    await workspace.in("work").run("commit", "-q", "--allow-empty", "-m", "first");
    for (const name of ["one", "two"])
      await workspace.run("clone", "-q", "--bare", "work", join(root, `${name}.git`));
    writeFileSync(join(root, "one.git", "git-daemon-export-ok"), "");
  });
  afterAll(() => removeDirectory(workspace));

  async function serve(...args: readonly (readonly string[])[]): Promise<Served> {
    const child = spawn(process.execPath, [CLI, "serve", root, "--http", "127.0.0.1:0", ...args.flat()]);
    const closed = once(child, "close");
    let text = "";
    await new Promise<void>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (chunk: Buffer) => {
          text += chunk.toString();
          if (text.includes("Ctrl-C stops")) resolve();
        });
      child.once("close", () => reject(new Error(text)));
    });
    return {
      text,
      portOf: (scheme) => new RegExp(`on ${scheme}://[^ ]*:([0-9]+)`).exec(text)?.[1] ?? "",
      async end() {
        child.kill("SIGTERM");
        await closed;
      },
    };
  }

  it("--git serves git://, what is marked, everything, by host, and takes pushes where it is told to", async () => {
    const marked = await serve(["--ssh", "off", "--git", "127.0.0.1:0"]);
    try {
      const url = `git://127.0.0.1:${marked.portOf("git")}`;
      expect((await workspace.try("ls-remote", `${url}/one.git`)).stdout).toContain("refs/heads/main");
      expect((await workspace.try("ls-remote", `${url}/two.git`)).stderr).toContain("not exported");
      const pushed = await workspace.in("work").try("push", `${url}/one.git`, "main:other");
      expect(pushed.stderr).toContain("not exported");
    } finally {
      await marked.end();
    }
    const all = await serve(
      ["--ssh", "off", "--git", "127.0.0.1:0"],
      ["--git-export-all", "--git-receive-pack", "--git-interpolated-path", "/%H%D"],
    );
    try {
      const url = `git://127.0.0.1:${all.portOf("git")}`;
      expect((await workspace.in("work").try("push", `${url}/new.git`, "main")).status).toBe(0);
      expect(existsSync(join(root, "127.0.0.1", "new.git"))).toBe(true);
      expect((await workspace.try("ls-remote", `${url}/one.git`)).stderr).toContain("not exported");
    } finally {
      await all.end();
    }
  });

  it("--ssh-user-ca lets certificates in, --ssh-revoked-keys out again, --ssh-host-keys keeps keys elsewhere", async () => {
    const authority = makeSshKey(workspace.directory, "authority");
    const [ada, eve] = ["ada", "eve"].map((name, n) => {
      const key = makeSshKey(workspace.directory, name);
      certifySshKey(authority, key, ["-n", name, "-z", String(n)]);
      return key;
    });
    const revoked = join(workspace.directory, "revoked");
    writeFileSync(revoked, "serial: 1\n");
    const hostKeys = join(workspace.directory, "host-keys");
    const served = await serve(
      ["--ssh", "127.0.0.1:0", "--ssh-host-keys", hostKeys],
      ["--ssh-user-ca", `${authority.path}.pub`, "--ssh-revoked-keys", revoked],
    );
    try {
      expect(served.text).not.toContain("OPEN");
      expect(existsSync(join(hostKeys, "ssh_host_ed25519_key"))).toBe(true);
      const port = Number(served.portOf("ssh"));
      const greet = async (key: { readonly path: string } | undefined, user: string): Promise<string> => {
        const keys = key === undefined ? [] : [key.path];
        const client = createSshClient({ directory: workspace.directory, port, keys });
        return (await client.ssh([`${user}@127.0.0.1`])).stderr;
      };
      expect(await greet(ada, "ada")).toContain("hello ada, you are signed in");
      expect(await greet(ada, "eve")).toContain("Permission denied");
      expect(await greet(eve, "eve")).toContain("Permission denied");
      expect(await greet(undefined, "ada")).toContain("Permission denied");
      const discovery = `http://127.0.0.1:${served.portOf("http")}/one.git/info/refs?service=git-upload-pack`;
      expect((await fetch(discovery)).status).toBe(401);
    } finally {
      await served.end();
    }
  });

  it("--trust-user-header is believed from --trusted-proxy and from nobody else", async () => {
    const served = await serve([
      "--ssh",
      "off",
      "--trust-user-header",
      "X-Remote-User",
      "--trusted-proxy",
      "127.0.0.2/32",
    ]);
    try {
      const ask = (localAddress: string, headers: Record<string, string>): Promise<number> =>
        new Promise((resolve, reject) => {
          const path = "/one.git/info/refs?service=git-receive-pack";
          const to = { host: "127.0.0.1", port: served.portOf("http"), path, headers, localAddress };
          const outgoing = request(to, (incoming) => {
            incoming.resume();
            incoming.on("end", () => resolve(incoming.statusCode ?? 0));
          });
          outgoing.on("error", reject);
          outgoing.end();
        });
      expect(await ask("127.0.0.2", { "X-Remote-User": "ada" })).toBe(200);
      expect(await ask("127.0.0.1", { "X-Remote-User": "ada" })).toBe(401);
      expect(await ask("127.0.0.1", { "X-Remote-User": "ada", "X-Forwarded-For": "127.0.0.2" })).toBe(401);
      expect(await ask("127.0.0.2", {})).toBe(401);
    } finally {
      await served.end();
    }
    const alone = spawnSync(process.execPath, [CLI, "serve", root, "--trust-user-header", "X-User"], {
      encoding: "utf8",
    });
    expect(alone.status).toBe(2);
    expect(alone.stderr).toContain("--trust-user-header needs --trusted-proxy");
  });

  it("--client-ca takes client certificates of an authority", async () => {
    const path = (name: string): string => join(workspace.directory, name);
    const authority = await generate([{ name: "commonName", value: "authority" }], {
      keyType: "ec",
      algorithm: "sha256",
      extensions: [{ name: "basicConstraints", cA: true, critical: true }],
    });
    writeFileSync(path("authority.pem"), authority.cert);
    const ca = { key: authority.private, cert: authority.cert };
    const own = await generate([{ name: "commonName", value: "grace" }], {
      keyType: "ec",
      algorithm: "sha256",
      ca,
    });
    writeFileSync(path("grace.pem"), own.cert);
    writeFileSync(path("grace.key"), own.private);
    const { certificateFile, keyFile } = await writeCertificate(workspace.directory);
    const served = await serve(
      ["--ssh", "off", "--tls-cert", certificateFile, "--tls-key", keyFile],
      ["--client-ca", path("authority.pem")],
    );
    try {
      const url = `https://127.0.0.1:${served.portOf("https")}/one.git`;
      const plain = ["-c", "http.sslVerify=false"];
      const certified = ["-c", `http.sslCert=${path("grace.pem")}`, "-c", `http.sslKey=${path("grace.key")}`];
      const pushed = await workspace.in("work").try(...plain, ...certified, "push", url, "main:by-grace");
      expect(pushed).toMatchObject({ status: 0 });
      expect((await workspace.try(...plain, "ls-remote", url)).status).not.toBe(0);
    } finally {
      await served.end();
    }
  });
});
