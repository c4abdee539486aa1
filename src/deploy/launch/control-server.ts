/**
 * Takes the commands of operators on a socket in the file system, which only the server's own user can open: `gitwharf ps`
 * and the others come from processes of their own.
 */
import { chmod, mkdir, rm } from "node:fs/promises";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { dirname } from "node:path";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { AppControl } from "./app-control.js";
import {
  type ControlAnswer,
  type ControlCall,
  controlErrorOf,
  parseControlCall,
} from "./control-messages.js";

export interface ControlServer {
  close(): Promise<void>;
}

/** More than a one-off command has between SIGTERM and SIGKILL. */
const GRACE_MS = 12_000;
const CALL_BYTES_MAX = 8 * 1024 * 1024;
/** What the address of such a socket holds, its NUL included, on every system. */
const PATH_BYTES_MAX = 103;

/** @param graceMs for commands at work when it is closed. @throws server/bad-configuration */
export async function listenForOperators(
  path: string,
  control: AppControl,
  onFailure: (error: unknown) => void,
  graceMs = GRACE_MS,
): Promise<ControlServer> {
  if (Buffer.byteLength(path) > PATH_BYTES_MAX)
    throw wrong(
      `the path of the socket ${path} is longer than ${PATH_BYTES_MAX} bytes; use a shorter directory`,
    );
  const directory = dirname(path);
  // Only this one is the server's alone, not those above it.
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if (await isAnswered(path))
    throw wrong(`another server takes commands on ${path}: stop it, or let this one deploy nothing`);
  // A server that was killed leaves it behind.
  await rm(path, { force: true });
  const leaving = new AbortController();
  const server = createServer((request, response) => {
    void answer(control, request, response, leaving.signal, onFailure);
  });
  server.requestTimeout = 0;
  server.listen(path);
  try {
    await once(server, "listening");
    await chmod(path, 0o600);
  } catch (cause) {
    server.close();
    throw new GitwharfError("server/bad-configuration", `cannot listen on ${path}`, { cause });
  }
  return {
    async close() {
      leaving.abort();
      const closed = once(server, "close");
      server.close();
      server.closeIdleConnections();
      // Who does not read the end of his command's output is not waited for.
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

async function answer(
  control: AppControl,
  request: IncomingMessage,
  response: ServerResponse,
  leaving: AbortSignal,
  onFailure: (error: unknown) => void,
): Promise<void> {
  const left = new AbortController();
  response.once("close", () => left.abort());
  response.on("error", () => undefined);
  const say = async (line: ControlAnswer): Promise<void> => {
    if (response.destroyed || response.write(`${JSON.stringify(line)}\n`)) return;
    const { signal } = left;
    // Rejected, too, when the response is closed: then nobody waits for the rest.
    await once(response, "drain", { signal }).catch(() => undefined);
  };
  response.setHeader("Connection", "close");
  try {
    const call = parseControlCall(await textOf(request));
    const signal = AbortSignal.any([left.signal, leaving]);
    const result = await carryOut(control, call, signal, (chunk) =>
      say({ output: Buffer.from(chunk).toString("base64") }),
    );
    await say({ result: result ?? null });
  } catch (error) {
    if (!isGitwharfError(error) || error.kind === "invariant") onFailure(error);
    await say(controlErrorOf(error)).catch(() => undefined);
  }
  response.end();
}

function carryOut(
  control: AppControl,
  call: ControlCall,
  signal: AbortSignal,
  onOutput: (chunk: Uint8Array) => Promise<void>,
): Promise<unknown> {
  switch (call.command) {
    case "ps":
      return control.ps(call.app);
    case "apps":
      return control.apps();
    case "create-app":
      return control.createApp({ ...call, name: call.app });
    case "remove-app":
      return control.removeApp(call.app);
    case "builds":
      return control.builds(call.app);
    case "cancel-build":
      return control.cancelBuild(call.app, call.build);
    case "retry-build":
      return control.retryBuild(call.app, { commit: call.commit, by: call.by, signal, onOutput });
    case "scale":
      return control.scale(call.app, call.formation);
    case "config":
      return control.config(call.app);
    case "set-config":
      return control.setConfig(call.app, call.changes, call.by);
    case "releases":
      return control.releases(call.app);
    case "rollback":
      return control.rollback(call.app, call.number, call.by);
    case "follow-build":
      return control.followBuild(call.app, signal, onOutput);
    case "run":
      return control.run(call.app, call.line, signal, onOutput);
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Read to its end in any case: leaving in the middle would take the connection along, and the answer with it.
    if (bytes <= CALL_BYTES_MAX) chunks.push(chunk);
  }
  if (bytes > CALL_BYTES_MAX)
    throw new GitwharfError("base/limit-exceeded", `a command has at most ${CALL_BYTES_MAX} bytes`);
  return Buffer.concat(chunks).toString("utf8");
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
