/** The two servers of a comparison, on the same repositories: gitwharf, and git http-backend behind nginx. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:net";
import { createControlGroup, type ControlGroup } from "./control-group.js";

export interface BenchServer {
  readonly name: "gitwharf" | "git http-backend";
  readonly port: number;
  readonly group: ControlGroup;
  stop(): void;
}

const CLI = new URL("../src/cli/gitwharf.js", import.meta.url).pathname;

export interface ServerOptions {
  readonly repositories: string;
  readonly port: number;
  /** Scratch directory of its own. */
  readonly directory: string;
  readonly arguments?: readonly string[];
}

export async function startGitwharf(options: ServerOptions): Promise<BenchServer> {
  const group = createControlGroup(`gitwharf-bench-${process.pid}-${options.port}`);
  const child = group.spawn(
    process.execPath,
    [
      CLI,
      "serve",
      options.repositories,
      "--http",
      `127.0.0.1:${options.port}`,
      "--ssh",
      "off",
      "--log",
      "none",
      ...(options.arguments ?? []),
    ],
    process.env,
  );
  child.stdout?.resume();
  await listening(options.port);
  return {
    name: "gitwharf",
    port: options.port,
    group,
    stop() {
      child.kill("SIGTERM");
      group.remove();
    },
  };
}

/** Needs the Debian packages nginx-light and fcgiwrap. */
export async function startHttpBackend(options: ServerOptions): Promise<BenchServer> {
  const run = options.directory;
  mkdirSync(join(run, "tmp"), { recursive: true });
  const socket = join(run, "fcgi.sock");
  writeFileSync(join(run, "nginx.conf"), nginxConfiguration({ run, socket, ...options }));
  const group = createControlGroup(`git-bench-${process.pid}-${options.port}`);
  const fcgiwrap = group.spawn("fcgiwrap", ["-c", "8", "-s", `unix:${socket}`], process.env);
  const nginx = group.spawn(
    "nginx",
    ["-c", join(run, "nginx.conf"), "-e", join(run, "error.log")],
    process.env,
  );
  await listening(options.port);
  return {
    name: "git http-backend",
    port: options.port,
    group,
    stop() {
      nginx.kill("SIGTERM");
      fcgiwrap.kill("SIGTERM");
      for (const pid of group.processes()) endProcess(pid);
      group.remove();
    },
  };
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    // It ended since it was listed.
  }
}

function nginxConfiguration(about: {
  run: string;
  socket: string;
  port: number;
  repositories: string;
}): string {
  const { run, socket, port, repositories } = about;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${run}/tmp/${kind};`,
  );
  const parameters = {
    SCRIPT_FILENAME: "/usr/lib/git-core/git-http-backend",
    GIT_PROJECT_ROOT: repositories,
    GIT_HTTP_EXPORT_ALL: "1",
    REMOTE_USER: "bench",
    REMOTE_ADDR: "$remote_addr",
    PATH_INFO: "$uri",
    QUERY_STRING: "$query_string",
    REQUEST_METHOD: "$request_method",
    CONTENT_TYPE: "$content_type",
    CONTENT_LENGTH: "$content_length",
    HTTP_CONTENT_ENCODING: "$http_content_encoding",
    GIT_PROTOCOL: "$http_git_protocol",
    SERVER_PROTOCOL: "$server_protocol",
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "safe.directory",
    GIT_CONFIG_VALUE_0: '"*"',
  };
  return `worker_processes 2; daemon off; pid ${run}/nginx.pid; error_log ${run}/error.log warn;
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; client_max_body_size 0;
  ${temporary.join(" ")}
  server {
    listen 127.0.0.1:${port};
    location / {
      fastcgi_pass unix:${socket};
      ${Object.entries(parameters)
        .map(([key, value]) => `fastcgi_param ${key} ${value};`)
        .join("\n      ")}
      fastcgi_buffering off; fastcgi_request_buffering off; fastcgi_read_timeout 600s; fastcgi_send_timeout 600s;
    }
  }
}
`;
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`nothing listens on port ${port} after 10 seconds`);
}
