/**
 * A server with all its doors open, HTTP, SSH and git://, and people: ada may do everything, eve may read, anyone may read
 * `public/**`. Ada's and Eve's password is `x`; their SSH keys are in files.
 */
import { createGitServer, type GitServer } from "../../src/server/git-server.js";
import type { GitServerOptions, ListenOptions } from "../../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../../src/storage/memory/memory-repository-store.js";
import type { ServiceLogEntry } from "../../src/transport/service-host.js";
import type { GitClient } from "./git-client.js";
import { openRequest } from "./open-request.js";
import { pktLine, send } from "./raw-http.js";
import { createSshClient, type SshClient } from "./ssh-client.js";
import { makeSshKey, type SshKeyFile } from "./ssh-keygen.js";

export type Person = "ada" | "eve" | "stranger";

export interface Doors {
  readonly server: GitServer;
  readonly httpUrl: string;
  readonly sshPort: number;
  readonly gitUrl: string;
  readonly log: readonly ServiceLogEntry[];
  keyOf(person: Person): SshKeyFile;
  sshAs(person: Person): SshClient;
  close(): Promise<void>;
}

const KEYS = new Map<string, Readonly<Record<Person, SshKeyFile>>>();

/** Made once a directory. */
function keysIn({ directory }: GitClient): Readonly<Record<Person, SshKeyFile>> {
  let keys = KEYS.get(directory);
  if (keys === undefined) {
    const make = (name: Person): SshKeyFile => makeSshKey(directory, `key-of-${name}`);
    keys = { ada: make("ada"), eve: make("eve"), stranger: make("stranger") };
    KEYS.set(directory, keys);
  }
  return keys;
}

/** @param workspace where keys and known hosts are kept */
export async function openDoors(
  workspace: GitClient,
  options: Partial<GitServerOptions> = {},
  listen: Partial<ListenOptions> = {},
): Promise<Doors> {
  const keys = keysIn(workspace);
  const log: ServiceLogEntry[] = [];
  const byLine = new Map<string, string>(
    (["ada", "eve"] as const).map((name) => [keys[name].line.split(" ").slice(0, 2).join(" "), name]),
  );
  const server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    log: (entry) => void log.push(entry),
    authenticate: (credentials) => {
      if (credentials.kind === "ssh-key") {
        const user = byLine.get(credentials.line);
        return user === undefined
          ? undefined
          : { user, method: "ssh-key", credentialId: credentials.fingerprint };
      }
      if (credentials.kind !== "basic") return undefined;
      const { user, password } = credentials;
      return password === "x" && ["ada", "eve"].includes(user) ? { user } : undefined;
    },
    policies: [
      { effect: "allow", users: ["ada"] },
      { effect: "allow", users: ["eve"], operations: ["read"] },
    ],
    anonymousRead: ["public/**"],
    gitDaemon: { exportAll: true, receivePack: true },
    ...options,
  });
  const { http, ssh, git } = await server.listen({ http: 0, ssh: 0, git: 0, ...listen });
  const sshPort = ssh?.port ?? 0;
  return {
    server,
    httpUrl: http.url,
    sshPort,
    gitUrl: git?.url ?? "",
    log,
    keyOf: (person) => keys[person],
    sshAs: (person) =>
      createSshClient({
        directory: workspace.directory,
        port: sshPort,
        keys: [keys[person].path],
        options: ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"],
      }),
    close: () => server.close({ graceMs: 0 }),
  };
}

export function basicOf(user: string, password = "x"): Record<string, string> {
  return { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
}

/** Headers of a caller, whose address a trusted proxy (loopback) tells. */
export function calledFrom(address: string, user?: string, password = "x"): Record<string, string> {
  return { "X-Forwarded-For": address, ...(user === undefined ? {} : basicOf(user, password)) };
}

/** The same for git. */
export function gitHeaders(headers: Record<string, string>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => ["-c", `http.extraHeader=${name}: ${value}`]);
}

type Service = "git-upload-pack" | "git-receive-pack" | "git-upload-archive";

/** One way to send bytes to a service without having asked what there is. @returns all that came back, in one text */
export type RawCall = (service: Service, repository: string, bytes: Buffer | string) => Promise<string>;

export function overHttp({ httpUrl }: Doors, headers: Record<string, string> = {}): RawCall {
  return async (service, repository, body) => {
    const { status, body: answer } = await send(`${httpUrl}/${repository}.git/${service}`, {
      body,
      headers: { "Content-Type": `application/x-${service}-request`, ...headers },
    });
    return `${status} ${answer.toString()}`;
  };
}

export function overSsh(doors: Doors, person: Person): RawCall {
  const client = doors.sshAs(person);
  return async (service, repository, bytes) => {
    const { status, stdout, stderr } = await client.ssh(
      ["git@127.0.0.1", `${service} '${repository}'`],
      bytes,
    );
    return `${status} ${stdout}${stderr}`;
  };
}

export function overGit({ gitUrl }: Doors): RawCall {
  return async (service, repository, bytes) => {
    const head = pktLine(`${service} /${repository}\0host=127.0.0.1\0`);
    const request = await openRequest(gitUrl, Buffer.concat([Buffer.from(head), Buffer.from(bytes)]));
    request.socket.end();
    return request.closed;
  };
}
