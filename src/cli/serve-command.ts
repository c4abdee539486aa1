/** `gitwharf serve`: the server, until it is told to stop. */
import { access, constants, mkdir, readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Command, Option } from "commander";
import { defaultDatabase } from "./access-database.js";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import type { Limits } from "../base/limits.js";
import type { ObjectFormat } from "../object/object-format.js";
import {
  checkDeployConfiguration,
  type DeployConfiguration,
  EXECUTOR_NAMES,
  type ExecutorName,
} from "./deploy-configuration.js";
import { formatLogEntry, type LogForm } from "./log-form.js";
import { openrukoFromEnvironment } from "./openruko-environment.js";
import { parseLimit } from "./parse-limit.js";
import type { ServedDeployment } from "./serve-deployment.js";
import type { GatewayConfiguration, ServedGateway } from "./serve-gateway.js";
import {
  openServedStorage,
  parseBytes,
  parseLargeBlobs,
  parseTime,
  type ServedStorage,
  STORAGES,
  type StorageConfiguration,
  type StorageFlags,
} from "./serve-storage.js";
import type { GitServer, Listening } from "../server/git-server.js";
import type { GitServerOptions, ListenOptions } from "../server/git-server-options.js";
import type { GitDaemonOptions } from "../server/git-daemon-options.js";
import type { SshServerOptions } from "../server/ssh-options.js";
import type { RefFormat } from "../storage/contracts/repository.js";
import type { AutoCreate, ServiceLogEntry } from "../transport/service-host.js";

/** What a configuration file may say: the options of `createGitServer`, where to listen, and what is deployed. */
type Configuration = Partial<GitServerOptions> &
  Partial<ListenOptions> & {
    readonly deploy?: boolean | DeployConfiguration;
    readonly gateway?: GatewayConfiguration;
    readonly storage?: StorageConfiguration;
  };

const SSH_OFF = "off";
const SSH_DEFAULT = "127.0.0.1:5022";

interface ServeFlags extends StorageFlags {
  readonly http?: string;
  readonly ssh?: string;
  readonly sshHostKeys?: string;
  readonly sshUserCa?: string;
  readonly sshRevokedKeys?: string;
  readonly openruko?: boolean;
  readonly git?: string;
  readonly metrics?: string;
  readonly gitExportAll?: boolean;
  readonly gitInterpolatedPath?: string;
  readonly gitReceivePack?: boolean;
  readonly autoCreate?: boolean | AutoCreate;
  readonly config?: string;
  readonly deploy?: boolean | ExecutorName;
  readonly deployDomain?: string;
  readonly defaultBranch?: string;
  readonly objectFormat?: ObjectFormat;
  readonly refFormat?: RefFormat;
  readonly repositoryHooks?: boolean;
  readonly collisionDetection: boolean;
  readonly sync: boolean;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly database?: string;
  readonly anonymousRead: readonly string[];
  readonly trustUserHeader?: string;
  readonly trustedProxy: readonly string[];
  readonly proxyProtocol: readonly ("http" | "ssh" | "git")[];
  readonly auditLog?: string;
  readonly api?: boolean;
  readonly bundleUris?: boolean;
  readonly packfileUris?: boolean;
  readonly past?: boolean;
  readonly limit?: Record<string, number>;
  readonly grace: string;
  readonly log: LogForm;
}

export function serveCommand(): Command {
  return new Command("serve")
    .description("Serve a directory of repositories over HTTP, SSH and git://.")
    .argument("[directory]", "where the repositories are (made when missing)  [default: ./repositories]")
    .option("--http <address>", "PORT, HOST:PORT or [IPV6]:PORT  [default: 127.0.0.1:5000]")
    .option("--ssh <address>", 'the same for SSH, or "off"  [default: 127.0.0.1:5022]')
    .option(
      "--ssh-host-keys <directory>",
      "the SSH server's own keys  [default: .gitwharf/ssh in the directory]",
    )
    .option("--ssh-user-ca <file>", "public keys of authorities whose user certificates let in")
    .option(
      "--ssh-revoked-keys <file>",
      "keys and certificates that no longer do (a KRL of ssh-keygen, or what it makes one of)",
    )
    .option(
      "--openruko",
      "pass SSH commands on to builds, as the environment says (APISERVER_KEY and others; docs/openruko.md)",
    )
    .option(
      "--metrics <address>",
      "/metrics, /healthz and /readyz on an address of their own, in the same form  [default: off]",
    )
    .option("--git <address>", "the same for git://, without passwords and encryption  [default: off]")
    .option(
      "--git-export-all",
      "serve every repository over git://  [default: those with a file git-daemon-export-ok]",
    )
    .option(
      "--git-interpolated-path <format>",
      "how a name is made of %H (host), %IP, %P (port) and %D (path)  [default: %D]",
    )
    .option("--git-receive-pack", "take pushes over git://, which nobody has signed in for")
    .addOption(
      new Option(
        "--auto-create [when]",
        'make a repository on its first "push", or on its first "read" as well',
      ).choices(["push", "read"]),
    )
    .option("--no-auto-create", "serve only repositories that exist  [default: made on first push]")
    .option("--config <file>", "a .json file or a JavaScript module with the options of createGitServer")
    .addOption(
      new Option(
        "--deploy [executor]",
        "push to deploy: build and run what is pushed in a sandbox, or elsewhere (docs/deploy.md)",
      ).choices(EXECUTOR_NAMES),
    )
    .option("--no-deploy", "build nothing, whatever the configuration says")
    .option("--deploy-domain <name>", "apps are APP.NAME  [default: localhost]")
    .addOption(
      new Option(
        "--storage <kind>",
        "plain repositories, a bucket that is a directory, or one in S3 (docs/object-store.md)  [default: disk]",
      ).choices(STORAGES),
    )
    .option("--bucket <location>", "s3://NAME/PREFIX, or a directory  [default: bucket in the directory]")
    .option("--s3-endpoint <url>", "of a store that is not AWS  [default: AWS_ENDPOINT_URL_S3]")
    .option("--no-witnesses", "do not write into the bucket what a lost database is made again from")
    .option(
      "--large-blobs <bytes>",
      'keep blobs from this size on as chunks, which versions share, or "off"  [default: 1048576]',
      parseLargeBlobs,
    )
    .option(
      "--cache-bytes <bytes>",
      "of copies of what is in the bucket, on the local disk  [default: 10737418240]",
      parseBytes,
    )
    .option("--as-of <time>", "the object store as it was then, to be read only: an ISO date", parseTime)
    .option("--default-branch <name>", "the branch HEAD names in new repositories  [default: main]")
    .addOption(new Option("--object-format <format>", "of new repositories").choices(["sha1", "sha256"]))
    .addOption(
      new Option("--ref-format <format>", "how new repositories keep refs  [default: files]").choices([
        "files",
        "reftable",
      ]),
    )
    .option("--repository-hooks", "run the hooks that stand inside repositories (trusted repositories only)")
    .option("--no-collision-detection", "do not look for SHA-1 collision attacks in pushed objects (faster)")
    .option("--no-sync", "do not wait until pushes are on the disk (faster; a power cut may lose them)")
    .option("--tls-cert <file>", "serve HTTPS with this certificate (PEM; read again on SIGHUP)")
    .option("--tls-key <file>", "its key (PEM)")
    .option(
      "--client-ca <file>",
      "take TLS client certificates of these authorities (PEM); their CN is the user",
    )
    .addOption(
      new Option(
        "--database <location>",
        "users, keys and tokens: sqlite:PATH or postgres://…  [default: .gitwharf/access.sqlite in the directory]",
      ).env("GITWHARF_DATABASE"),
    )
    .option("--trust-user-header <name>", "the header in which a reverse proxy names the user")
    .option(
      "--trusted-proxy <address>",
      "an address or network (CIDR) whose X-Forwarded-For and --trust-user-header are believed; may be repeated",
      (text: string, before: readonly string[]) => [...before, text],
      [],
    )
    .option(
      "--proxy-protocol <listener>",
      "http, ssh or git: its connections come from a --trusted-proxy that speaks the PROXY protocol; may be repeated",
      (text: string, before: readonly string[]) => [...before, text],
      [],
    )
    .option(
      "--anonymous-read <pattern>",
      "repositories that anyone may read, for instance public/**; may be repeated",
      (text: string, before: readonly string[]) => [...before, text],
      [],
    )
    .addOption(
      new Option(
        "--audit-log <file>",
        "append who did what, from where, with what outcome: lines of JSON in a hash chain  [default: off]",
      ).env("GITWHARF_AUDIT_LOG"),
    )
    .option("--api", "serve repositories over REST beside Git: /repositories, /health (docs/api.md)")
    .option(
      "--bundle-uris",
      "make bundles of repositories in the object store, and offer them to clients that ask",
    )
    .option("--packfile-uris", "let clients that ask get packs from the bucket (object store in S3)")
    .option(
      "--past",
      "serve NAME@{GENERATION} and NAME@{TIME} to who may read NAME: what it was (object store; docs/object-store.md)",
    )
    .option("--limit <name=value>", "change a limit of docs/limits.md; may be repeated", parseLimit)
    .option("--grace <seconds>", "how long requests may take to finish when the server stops", "10")
    .addOption(
      new Option("--log <form>", "how requests are logged").choices(["text", "json", "none"]).default("text"),
    )
    .addHelpText(
      "after",
      "\nWithout authentication the server listens on loopback addresses only and is open to everyone on this machine.\n",
    )
    .action(serve);
}

async function serve(directory: string | undefined, flags: ServeFlags): Promise<void> {
  const configuration = flags.config === undefined ? {} : await readConfiguration(flags.config);
  const { http, ssh, git, metrics, tls, proxyProtocol, deploy, gateway, storage, ...fromFile } =
    configuration;
  const deployConfiguration = deployOf(flags, deploy);
  const repositories = directory ?? fromFile.repositories ?? "./repositories";
  const autoCreate = autoCreateOf(flags) ?? fromFile.autoCreate ?? "push";
  const options: GitServerOptions = {
    log: (entry) => log(flags.log, entry),
    ...fromFile,
    repositories: typeof repositories === "string" ? resolve(repositories) : repositories,
    autoCreate,
    ...(flags.anonymousRead.length > 0 ? { anonymousRead: flags.anonymousRead } : {}),
    ...databaseOf(flags, fromFile, repositories),
    ...(flags.trustedProxy.length > 0 ? { trustedProxies: flags.trustedProxy } : {}),
    ...(flags.openruko === true ? { openruko: openrukoFromEnvironment(process.env, fromFile.openruko) } : {}),
    ...defined("trustedUserHeader", trustedUserHeaderOf(flags)),
    limits: { ...fromFile.limits, ...(flags.limit as Partial<Limits>) },
    ...defined("audit", auditOf(flags, fromFile.audit)),
    ...(flags.api === true ? { api: typeof fromFile.api === "object" ? fromFile.api : true } : {}),
    ...(flags.bundleUris === true
      ? { bundleUris: typeof fromFile.bundleUris === "object" ? fromFile.bundleUris : true }
      : {}),
    ...(flags.packfileUris === true
      ? { packfileUris: typeof fromFile.packfileUris === "object" ? fromFile.packfileUris : true }
      : {}),
    ...defined("past", flags.past),
    ...defined("defaultBranch", flags.defaultBranch),
    ...defined("objectFormat", flags.objectFormat),
    ...defined("refFormat", flags.refFormat),
    ...defined("repositoryHooks", flags.repositoryHooks),
    ...(flags.collisionDetection ? {} : { collisionDetection: false }),
    ...(flags.clientCa === undefined ? {} : { clientCertificates: fromFile.clientCertificates ?? {} }),
    ...(flags.sync ? {} : { durability: "none" as const }),
  };
  const sshServer = { ...fromFile.sshServer, ...sshServerOf(flags) };
  const graceMs = Number(flags.grace) * 1000;
  if (!(graceMs >= 0)) throw new GitwharfError("server/bad-configuration", "--grace is a number of seconds");
  const gitDaemon = { ...fromFile.gitDaemon, ...gitDaemonOf(flags) };
  const { openruko } = options;
  const sshAddress = flags.ssh ?? ssh ?? (openruko === undefined ? undefined : SSH_DEFAULT);
  if (openruko !== undefined && sshAddress === SSH_OFF)
    throw new GitwharfError("server/bad-configuration", "openruko is about SSH, which is off");
  const addresses: ListenOptions = {
    http: flags.http ?? http ?? "127.0.0.1:5000",
    ...defined("git", flags.git ?? git),
    ...defined("metrics", flags.metrics ?? metrics),
    ...defined("tls", tlsOf(flags) ?? tls),
    ...defined("proxyProtocol", flags.proxyProtocol.length > 0 ? flags.proxyProtocol : proxyProtocol),
  };
  let everything: GitServerOptions = { ...options, sshServer, gitDaemon };
  const { checkOptions } = await import("../server/check-options.js");
  const { createGitServer } = await import("../server/git-server.js");
  // Before anything is made: what is wrong with them is told at once.
  checkOptions(everything);
  if (typeof options.repositories === "string") await makeDirectory(options.repositories);
  const stored = await openServedStorage(flags, storage, everything);
  everything = { ...everything, ...stored?.options };
  let deployment: ServedDeployment | undefined;
  let contributions: ServedGateway | undefined;
  let server: GitServer | undefined;
  let listening: Listening;
  let deployed: readonly string[];
  const asked = stopSignal();
  try {
    deployment =
      deployConfiguration === undefined
        ? undefined
        : await (await import("./serve-deployment.js")).openServedDeployment({
            configuration: deployConfiguration,
            server: everything,
            log: options.log ?? ((entry) => log(flags.log, entry)),
          });
    contributions =
      gateway === undefined
        ? undefined
        : await (await import("./serve-gateway.js")).openServedGateway({
            configuration: gateway,
            server: everything,
            log: options.log ?? ((entry) => log(flags.log, entry)),
          });
    server = createGitServer({ ...everything, ...deployment?.options, ...contributions?.options });
    listening = await listen(server, sshAddress, addresses);
    // Apps may take their time to come up; who wants it to stop does not wait for them.
    deployed = await Promise.race([
      deployment?.start(server, listening.http.url) ?? [],
      asked.then(() => []),
    ]);
  } catch (error) {
    await server?.close({ graceMs: 0 });
    await contributions?.close();
    await deployment?.close();
    await stored?.close();
    throw error;
  }
  const open = await server.isOpen();
  const {
    http: { url },
    ssh: sshListener,
    git: gitListener,
    metrics: operations,
  } = listening;
  process.stdout.write(
    banner({
      url,
      ssh: sshListener,
      git: gitListener,
      operations,
      repositories,
      stored,
      autoCreate,
      open,
      openruko,
      deployed,
    }),
  );
  process.on("SIGHUP", () => {
    listening.http.reloadCertificate().catch((error: unknown) => {
      log("text", { level: "error", message: "the certificate was not reloaded", error });
    });
  });
  await asked;
  await stop(server, { contributions, deployment, stored }, graceMs);
}

/** The flags have the last word. */
function deployOf(
  { deploy, deployDomain }: ServeFlags,
  fromFile: Configuration["deploy"],
): DeployConfiguration | undefined {
  if (deploy === false) return undefined;
  const asked = deploy === undefined ? fromFile : fromFile === false ? true : (fromFile ?? true);
  const configuration = checkDeployConfiguration(asked);
  if (configuration === undefined) {
    if (deployDomain === undefined) return undefined;
    throw new GitwharfError("server/bad-configuration", "--deploy-domain needs --deploy");
  }
  return {
    ...configuration,
    ...(typeof deploy === "string" ? { executor: deploy } : {}),
    ...defined("domain", deployDomain),
  };
}

/** The flag names another file for what the configuration says. */
function auditOf(
  { auditLog: file }: ServeFlags,
  fromFile: GitServerOptions["audit"],
): GitServerOptions["audit"] {
  if (file === undefined) return fromFile;
  if (typeof fromFile !== "object") return file;
  const { sink: _sink, ...others } = fromFile;
  return { ...others, file };
}

/** @param ssh what was asked for: an address that nobody asked for may be another server's */
async function listen(
  server: GitServer,
  ssh: number | string | undefined,
  others: ListenOptions,
): Promise<Listening> {
  if (ssh === SSH_OFF) return server.listen(others);
  try {
    return await server.listen({ ...others, ssh: ssh ?? SSH_DEFAULT });
  } catch (error) {
    if (ssh !== undefined || !isGitwharfError(error) || error.details["taken"] !== "ssh") throw error;
    process.stderr.write(
      `gitwharf: SSH is off: another program listens on ${SSH_DEFAULT}; --ssh HOST:PORT chooses another address\n`,
    );
    return server.listen(others);
  }
}

function gitDaemonOf(flags: ServeFlags): GitDaemonOptions {
  return {
    ...defined("exportAll", flags.gitExportAll),
    ...defined("interpolatedPath", flags.gitInterpolatedPath),
    ...defined("receivePack", flags.gitReceivePack),
  };
}

function sshServerOf(flags: ServeFlags): SshServerOptions {
  return {
    ...defined("hostKeyDirectory", flags.sshHostKeys),
    ...defined("userAuthoritiesFile", flags.sshUserCa),
    ...defined("revokedKeysFile", flags.sshRevokedKeys),
  };
}

/** Better told now than on every request. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
    await access(path, constants.R_OK | constants.X_OK);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GitwharfError("server/bad-configuration", `repositories cannot be kept in ${path}: ${why}`, {
      cause,
    });
  }
}

async function stop(
  server: GitServer,
  opened: {
    readonly contributions: ServedGateway | undefined;
    readonly deployment: ServedDeployment | undefined;
    readonly stored: ServedStorage | undefined;
  },
  graceMs: number,
): Promise<void> {
  if (server.active > 0) {
    process.stderr.write(
      `gitwharf: stopping; ${server.active} requests may finish (Ctrl-C again stops at once)\n`,
    );
  }
  await Promise.race([server.close({ graceMs }), stopSignal()]);
  await server.close({ graceMs: 0 });
  await opened.contributions?.close();
  await opened.deployment?.close();
  await opened.stored?.close();
  process.exit();
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
}

function banner(about: {
  readonly url: string;
  readonly ssh: Listening["ssh"];
  readonly git: Listening["git"];
  readonly operations: Listening["metrics"];
  readonly repositories: GitServerOptions["repositories"];
  readonly stored: ServedStorage | undefined;
  readonly autoCreate: AutoCreate;
  readonly open: boolean;
  readonly openruko: GitServerOptions["openruko"];
  readonly deployed: readonly string[];
}): string {
  const { url, ssh, git, operations, repositories, stored, autoCreate, open, openruko, deployed } = about;
  const lines = [
    `gitwharf serves ${whatIsServed(repositories, stored)} on ${url}`,
    ...(ssh === undefined ? [] : [`and on ${ssh.url} (its key is ${ssh.hostKeys[0]?.fingerprint})`]),
    ...(openruko === undefined ? [] : ["SSH commands are passed on to builds (Openruko)"]),
    ...(git === undefined ? [] : [`and on ${git.url}`]),
    ...(operations === undefined ? [] : [`metrics and health on ${operations.url}`]),
    ...deployed,
    ...(open
      ? [
          "OPEN: there are no users, so anyone on this machine can read and push.",
          "`gitwharf user add NAME` adds the first one and closes it at once.",
        ]
      : []),
    "",
    ...(autoCreate === "never"
      ? ["Make a repository with `gitwharf init NAME`, then try:", ""]
      : ["Try (the repository is made on the first push):", ""]),
    "  git init -b main demo && cd demo && git commit --allow-empty -m 'First commit'",
    `  git push ${url}/demo.git main`,
    `  git clone ${url}/demo.git ../copy`,
    `  git -C ../copy pull`,
    "",
    "Ctrl-C stops the server when running requests are done.",
    "",
  ];
  return lines.join("\n");
}

function whatIsServed(
  repositories: GitServerOptions["repositories"],
  stored: ServedStorage | undefined,
): string {
  if (stored !== undefined) return stored.where;
  return typeof repositories === "string" ? resolve(repositories) : "a repository store";
}

function autoCreateOf(flags: ServeFlags): AutoCreate | undefined {
  switch (flags.autoCreate) {
    case undefined:
      return undefined;
    case true:
      return process.argv.some((argument) => argument.startsWith("--auto-create")) ? "push" : undefined;
    case false:
      return "never";
    default:
      return flags.autoCreate;
  }
}

function tlsOf(flags: ServeFlags): ListenOptions["tls"] {
  if (flags.tlsCert === undefined && flags.tlsKey === undefined) {
    if (flags.clientCa === undefined) return undefined;
    throw new GitwharfError("server/bad-configuration", "--client-ca needs --tls-cert and --tls-key");
  }
  if (flags.tlsCert === undefined || flags.tlsKey === undefined) {
    throw new GitwharfError("server/bad-configuration", "--tls-cert and --tls-key go together");
  }
  const files = { certificateFile: flags.tlsCert, keyFile: flags.tlsKey };
  return flags.clientCa === undefined ? files : { ...files, clientCaFile: flags.clientCa };
}

function databaseOf(
  flags: ServeFlags,
  fromFile: Configuration,
  repositories: GitServerOptions["repositories"],
): Pick<GitServerOptions, "database"> {
  const given = flags.database ?? fromFile.database;
  if (given !== undefined) return { database: given };
  return typeof repositories === "string" ? { database: defaultDatabase(repositories) } : {};
}

function trustedUserHeaderOf(flags: ServeFlags): GitServerOptions["trustedUserHeader"] {
  if (flags.trustUserHeader === undefined) return undefined;
  if (flags.trustedProxy.length === 0) {
    throw new GitwharfError("server/bad-configuration", "--trust-user-header needs --trusted-proxy");
  }
  return { header: flags.trustUserHeader, proxies: flags.trustedProxy };
}

/** @throws server/bad-configuration */
export async function readConfiguration(file: string): Promise<Configuration> {
  const path = resolve(file);
  let value: unknown;
  try {
    value = path.endsWith(".json")
      ? JSON.parse(await readFile(path, "utf8"))
      : ((await import(pathToFileURL(path).href)) as { default?: unknown }).default;
  } catch (cause) {
    if (isGitwharfError(cause)) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GitwharfError("server/bad-configuration", `the configuration ${path} cannot be read: ${why}`, {
      cause,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new GitwharfError(
      "server/bad-configuration",
      `the configuration ${path} must be (or export) one object`,
    );
  }
  for (const key of Object.keys(value)) {
    if (!CONFIGURATION_KEYS.has(key)) {
      const known = [...CONFIGURATION_KEYS].join(", ");
      throw new GitwharfError(
        "server/bad-configuration",
        `${path}: there is no option '${key}'; known are ${known}`,
      );
    }
  }
  return value;
}

const CONFIGURATION_KEYS: ReadonlySet<string> = new Set(
  Object.keys({
    front: true,
    beside: true,
    repositories: true,
    autoCreate: true,
    defaultBranch: true,
    objectFormat: true,
    refFormat: true,
    authenticate: true,
    authenticators: true,
    policies: true,
    anonymousRead: true,
    serialPushes: true,
    verifyCommit: true,
    database: true,
    users: true,
    signedTokens: true,
    trustedUserHeader: true,
    trustedProxies: true,
    clientCertificates: true,
    authorize: true,
    remote: true,
    openruko: true,
    gitorious: true,
    requirePreReceive: true,
    resolveRepository: true,
    handlers: true,
    handlerTimeoutMs: true,
    hooks: true,
    httpHooks: true,
    events: true,
    webhooks: true,
    repositoryHooks: true,
    verifyPushCertificate: true,
    collisionDetection: true,
    limits: true,
    rates: true,
    panicFile: true,
    audit: true,
    durability: true,
    api: true,
    bundleUris: true,
    packfileUris: true,
    past: true,
    log: true,
    http: true,
    ssh: true,
    git: true,
    metrics: true,
    furtherMetrics: true,
    deploy: true,
    gateway: true,
    gitDaemon: true,
    sshServer: true,
    proxyProtocol: true,
    tls: true,
    storage: true,
  } satisfies Record<keyof Required<Configuration>, true>),
);

function defined<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Partial<Record<K, V>>);
}

function log(form: LogForm, entry: ServiceLogEntry): void {
  const line = formatLogEntry(form, entry, new Date());
  if (line !== undefined) process.stderr.write(line);
}
