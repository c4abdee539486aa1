/** Clients that come in crowds: connections on which nothing happens, and requests that are refused. */
import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import ssh2 from "ssh2";

export interface Crowd {
  /** Connections that the server has not closed. */
  open(): number;
  leave(): void;
}

/** Connections that are made at once. */
const AT_ONCE = 50;

async function gather(count: number, make: () => Promise<Socket | ssh2.Client>): Promise<Crowd> {
  const members = new Set<Socket | ssh2.Client>();
  for (let made = 0; made < count; made += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - made) }, async () => {
      const member = await make();
      members.add(member);
      member.once("close", () => members.delete(member));
      member.on("error", () => undefined);
    });
    await Promise.all(some);
  }
  return {
    open: () => members.size,
    leave: () => {
      for (const member of members) member.destroy();
    },
  };
}

/** @param first sent at once; the connection counts when something came back, or without it when it stands */
export function plainConnections(url: string, count: number, first = ""): Promise<Crowd> {
  const { hostname, port } = new URL(url);
  return gather(count, async () => {
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    if (first !== "") {
      const answered = once(socket, "data");
      socket.write(first);
      await answered;
    }
    socket.resume();
    return socket;
  });
}

export function tlsConnections(url: string, count: number): Promise<Crowd> {
  const { hostname, port } = new URL(url);
  return gather(count, async () => {
    const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false });
    await once(socket, "secureConnect");
    socket.resume();
    return socket;
  });
}

export function sshConnections(url: string, count: number, privateKey: string): Promise<Crowd> {
  const { hostname, port } = new URL(url);
  return gather(count, async () => {
    const client = new ssh2.Client();
    const ready = once(client, "ready");
    client.connect({ host: hostname, port: Number(port), username: "git", privateKey });
    await ready;
    return client;
  });
}

export interface FloodResult {
  readonly seconds: number;
  readonly statuses: ReadonlyMap<number, number>;
}

/** So many requests, over so many connections that stay open. */
export async function floodOfRequests(
  url: string,
  about: {
    readonly count: number;
    readonly connections: number;
    readonly headersOf: (i: number) => Record<string, string>;
  },
): Promise<FloodResult> {
  const { hostname, port, pathname, search } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: about.connections });
  const statuses = new Map<number, number>();
  let next = 0;
  const one = (i: number): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = about.headersOf(i);
      const outgoing = request({ hostname, port, path: pathname + search, headers, agent }, (incoming) => {
        incoming.resume();
        incoming.on("end", () => resolve(incoming.statusCode ?? 0));
      });
      outgoing.on("error", reject);
      outgoing.end();
    });
  const worker = async (): Promise<void> => {
    while (next < about.count) {
      const status = await one(next++);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: about.connections }, worker));
  agent.destroy();
  return { seconds: (performance.now() - started) / 1000, statuses };
}

/** Connections that try to sign in over SSH until they are closed. @returns attempts in all */
export async function floodOfSshAttempts(
  url: string,
  about: { readonly connections: number; readonly atOnce: number; readonly next: () => object },
): Promise<{ readonly seconds: number; readonly attempts: number }> {
  const { hostname, port } = new URL(url);
  let attempts = 0;
  let left = about.connections;
  const one = async (): Promise<void> => {
    const client = new ssh2.Client();
    client.on("error", () => undefined);
    const closed = once(client, "close");
    client.connect({
      host: hostname,
      port: Number(port),
      username: "ada",
      authHandler: ((_left: unknown, _partial: unknown, give: (method: unknown) => void) => {
        attempts++;
        give({ username: "ada", ...about.next() });
      }) as never,
    });
    await closed;
  };
  const worker = async (): Promise<void> => {
    while (left-- > 0) await one();
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: about.atOnce }, worker));
  return { seconds: (performance.now() - started) / 1000, attempts };
}
