/**
 * A server that stands in for a forge: its API is the forge's description, of which every request and every answer is held to
 * (`violations`), what is in it is plain data (`state`), and it can be told to fail. Its Git side is somebody else's: `onFork`
 * says when there is a repository to be made there.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ForgeSettings } from "../../../src/gateway/forges/forge-settings.js";
import { createCheckedApi } from "./checked-api.js";
import type { ForgeDescription } from "./forge-description.js";
import { createForgeState, type ForgeState, type StandInRepository } from "./forge-state.js";

export interface StandInOptions {
  /** Accounts by their tokens. @default { "token-of-bot": "bot" } */
  readonly accounts?: Readonly<Record<string, string>>;
  /** Where repositories are cloned from. @default the stand-in's own address, where there are none */
  readonly gitUrl?: string;
  /** Called before the fork is told of. */
  readonly onFork?: (upstream: StandInRepository, fork: StandInRepository) => Promise<void> | void;
  /** How often a new fork is looked at in vain. @default 0 */
  readonly forkLooks?: number;
}

export interface Reply {
  readonly status: number;
  /** Filled up with what the description wants. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Call {
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: Readonly<Record<string, unknown>>;
  /** Whose token it came with; "" without one. */
  readonly account: string;
}

export type Handlers = Readonly<Record<string, (call: Call) => Promise<Reply> | Reply>>;

export interface StandInRequest {
  readonly operation: string;
  readonly account: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface StandInForge {
  readonly url: string;
  readonly state: ForgeState;
  /** For `createForge`: everything waits for no time at all. */
  readonly settings: ForgeSettings;
  /** What was wrong with requests, and with the stand-in's own answers: none, or a test fails. */
  readonly violations: readonly string[];
  readonly requests: readonly StandInRequest[];
  /** The next ones of an operation are answered so, whatever they ask. A status of 0 breaks the connection off. */
  failNext(operation: string, reply: Reply, times?: number): void;
  /** Requests of an operation wait until the returned function is called. */
  hold(operation: string): () => void;
  close(): Promise<void>;
}

export interface StandInParts {
  readonly name: ForgeSettings["name"];
  /** Before its paths: `/api/v1`. */
  readonly prefix: string;
  readonly descriptions: readonly ForgeDescription[];
  /** `Bearer`, `token` … */
  tokenOf(request: IncomingMessage): string;
  handlers(state: ForgeState, options: Required<StandInOptions>, url: string): Handlers;
  /** Requests that are in no description. @returns undefined: it is none of those */
  other?(path: string, call: Call, state: ForgeState): Reply | undefined;
}

export async function startStandIn(parts: StandInParts, given: StandInOptions): Promise<StandInForge> {
  const state = createForgeState();
  const api = createCheckedApi(parts.descriptions);
  const violations: string[] = [];
  const requests: StandInRequest[] = [];
  const failures: { readonly operation: string; readonly reply: Reply; times: number }[] = [];
  const held = new Map<string, Promise<void>>();
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const options: Required<StandInOptions> = {
    accounts: { "token-of-bot": "bot" },
    gitUrl: url,
    onFork: () => undefined,
    forkLooks: 0,
    ...given,
  };
  const handlers = parts.handlers(state, options, url);

  async function answerTo(
    request: IncomingMessage,
  ): Promise<Reply & { readonly isChecked: boolean; readonly operation: string }> {
    const { pathname, searchParams: query } = new URL(request.url ?? "", url);
    const text = Buffer.concat(await request.toArray()).toString("utf8");
    const body = text === "" ? undefined : (JSON.parse(text) as Readonly<Record<string, unknown>>);
    const token = parts.tokenOf(request);
    const account = options.accounts[token] ?? "";
    const method = request.method ?? "";
    const matched = pathname.startsWith(parts.prefix)
      ? api.match(method, pathname.slice(parts.prefix.length))
      : undefined;
    const operation = matched?.operation ?? `${method} ${pathname}`;
    const call: Call = { parameters: matched?.parameters ?? {}, query, body: body ?? {}, account };
    requests.push({ operation, account, body: call.body });
    await held.get(operation);
    const failure = failures.find((each) => each.operation === operation && each.times > 0);
    if (failure !== undefined) {
      failure.times--;
      return { ...failure.reply, isChecked: false, operation };
    }
    if (token !== "" && account === "")
      return { status: 401, body: { message: "Bad credentials" }, isChecked: false, operation };
    const other = matched === undefined ? parts.other?.(pathname, call, state) : undefined;
    if (other !== undefined) return { ...other, isChecked: false, operation };
    const why = api.wrongRequest(operation, query, body);
    if (why !== "") violations.push(`request: ${why}`);
    const handler = handlers[operation];
    if (why !== "" || handler === undefined) return { status: 418, isChecked: false, operation };
    return { ...(await handler(call)), isChecked: true, operation };
  }

  server.on("request", (request, response) => {
    answerTo(request).then(
      ({ status, body, headers, isChecked, operation }) => {
        if (status === 0) return void request.socket.destroy();
        let whole = body;
        if (isChecked && status < 300) {
          whole = api.filled(operation, status, body);
          const why = api.wrongAnswer(operation, status, whole);
          if (why !== "") violations.push(`answer: ${why}`);
        }
        response.writeHead(status, { "Content-Type": "application/json; charset=utf-8", ...headers });
        response.end(
          whole === undefined ? undefined : typeof whole === "string" ? whole : JSON.stringify(whole),
        );
      },
      (error: unknown) => {
        violations.push(`the stand-in failed: ${String(error)}`);
        response.writeHead(599).end();
      },
    );
  });

  return {
    url,
    state,
    violations,
    requests,
    settings: {
      name: parts.name,
      host: "forge.example",
      webUrl: "https://forge.example",
      apiUrl: url,
      gitUrl: options.gitUrl,
      tokens: Object.keys(options.accounts),
      allowAddresses: ["loopback"],
      retryDelayMs: 1,
      forkPollMs: 1,
      isPaced: false,
    },
    failNext: (operation, reply, times = 1) => void failures.push({ operation, reply, times }),
    hold(operation) {
      let release = (): void => undefined;
      held.set(operation, new Promise((resolve) => (release = resolve)));
      return () => {
        held.delete(operation);
        release();
      };
    },
    close: () => closeServer(server),
  };
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
