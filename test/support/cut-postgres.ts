/**
 * A way to PostgreSQL that breaks at a chosen statement, once: before the server hears of it, after it has carried it out and
 * before its answer, or in between, when the server hears of it only long after its client has gone.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export type Cut = "before" | "after" | "held";

export interface CutPostgres {
  /** Of the same database, through here. */
  readonly url: string;
  /** At the next statement with this text. @returns a promise that the client has lost its connection */
  cut(text: string, how: Cut): Promise<HeldStatement>;
  /** Nobody gets through from here on, or everybody again. */
  refuse(refuses: boolean): void;
  close(): Promise<void>;
}

export interface HeldStatement {
  /** Lets the server have what its client said. */
  deliver(): Promise<void>;
  /** The server learns that its client has gone. */
  drop(): void;
}

/** @param url `postgres://USER@/NAME?host=DIRECTORY`, the directory of its socket */
export async function cutPostgres(url: string): Promise<CutPostgres> {
  const { pathname, searchParams } = new URL(url.replace("@/", "@localhost/"));
  const path = `${searchParams.get("host") ?? ""}/.s.PGSQL.5432`;
  const sockets = new Set<Socket>();
  let refuses = false;
  let armed: { readonly text: string; readonly how: Cut; done(held: HeldStatement): void } | undefined;

  const server = createServer((client) => {
    if (refuses) return void client.destroy();
    const upstream = connect(path);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true).on("error", () => socket.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
    let isCut = false;
    upstream.on("data", (bytes) => void (isCut || client.write(bytes)));
    upstream.on("close", () => client.destroy());
    client.on("close", () => void (isCut || upstream.destroy()));
    client.on("data", (bytes) => {
      if (armed === undefined || !bytes.includes(armed.text)) return void upstream.write(bytes);
      const { how, done } = armed;
      armed = undefined;
      isCut = true;
      const held: HeldStatement = {
        async deliver() {
          upstream.write(bytes);
          await once(upstream, "data");
          upstream.destroy();
        },
        drop: () => void upstream.destroy(),
      };
      if (how === "before") held.drop();
      const heard = how === "after" ? held.deliver() : Promise.resolve();
      void heard.then(() => {
        client.destroy();
        done(held);
      });
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return {
    url: `postgres://postgres@127.0.0.1:${port}${pathname}`,
    cut: (text, how) =>
      new Promise((resolve) => {
        armed = { text, how, done: resolve };
      }),
    refuse(value) {
      refuses = value;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
