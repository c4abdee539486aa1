/** A TCP balancer that passes connections on, each with bytes of the test's choice before what the client sends. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";

export interface Balancer {
  readonly port: number;
  close(): void;
}

/** @param pieces written one by one, each as a packet of its own as far as the system lets it */
export async function startBalancer(to: number, pieces: readonly Buffer[]): Promise<Balancer> {
  const server = createServer((client) => {
    const upstream = connect({ host: "127.0.0.1", port: to, noDelay: true });
    client.on("error", () => upstream.destroy());
    upstream.on("error", () => client.destroy());
    for (const piece of pieces) upstream.write(piece);
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

/** @param source an IPv4 address */
export function proxyHead(version: 1 | 2, source: string): Buffer {
  if (version === 1) return Buffer.from(`PROXY TCP4 ${source} 192.0.2.1 40000 443\r\n`);
  return Buffer.concat([
    Buffer.from("0d0a0d0a000d0a515549540a2111000c", "hex"),
    Buffer.from(source.split(".").map(Number)),
    Buffer.from([192, 0, 2, 1, 0x9c, 0x40, 0x01, 0xbb]),
  ]);
}
