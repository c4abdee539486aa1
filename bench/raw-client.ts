/**
 * A client that asks and reads, and does nothing with what it gets: so that the server is what is measured.
 * Protocol v2 for reading, v0 for pushing.
 */
import { Agent, request } from "node:http";

const agent = new Agent({ keepAlive: true, maxSockets: 100 });

/** A run starts with connections of its own: one kept from the last may be about to be closed by the server. */
export function dropConnections(): void {
  agent.destroy();
}

export interface Remote {
  readonly port: number;
  /** Repository name with `.git`. */
  readonly repository: string;
}

function line(text: string): string {
  return (Buffer.byteLength(text) + 4).toString(16).padStart(4, "0") + text;
}

/** @returns bytes of the answer; the answer itself when `keep` is set */
async function call(
  remote: Remote,
  about: { path: string; contentType?: string; body?: Buffer; protocol: string; keep?: boolean },
): Promise<{ readonly bytes: number; readonly text: Buffer }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: "127.0.0.1",
        port: remote.port,
        agent,
        method: about.body === undefined ? "GET" : "POST",
        path: `/${remote.repository}${about.path}`,
        headers: {
          "Git-Protocol": about.protocol,
          ...(about.contentType === undefined ? {} : { "Content-Type": about.contentType }),
          ...(about.body === undefined ? {} : { "Content-Length": about.body.length }),
        },
      },
      (incoming) => {
        let bytes = 0;
        const kept: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (about.keep === true) kept.push(chunk);
        });
        incoming.on("end", () => {
          if (incoming.statusCode !== 200)
            reject(new Error(`status ${incoming.statusCode} for ${about.path}`));
          else resolve({ bytes, text: Buffer.concat(kept) });
        });
        incoming.on("error", reject);
      },
    );
    outgoing.on("error", reject);
    outgoing.end(about.body);
  });
}

export interface AdvertisedRef {
  readonly oid: string;
  readonly name: string;
}

export async function listRefs(remote: Remote): Promise<readonly AdvertisedRef[]> {
  const body = `${line("command=ls-refs\n")}${line("object-format=sha1")}0001${line("peel\n")}${line("symrefs\n")}${line("ref-prefix refs/heads/\n")}${line("ref-prefix refs/tags/\n")}0000`;
  const answer = await uploadPack(remote, Buffer.from(body), { keep: true });
  const refs: AdvertisedRef[] = [];
  for (let at = 0; at + 4 <= answer.text.length; ) {
    const length = Number.parseInt(answer.text.toString("latin1", at, at + 4), 16);
    if (length < 4) break;
    const [oid, name] = answer.text
      .toString("utf8", at + 4, at + length)
      .trim()
      .split(" ");
    if (oid !== undefined && name !== undefined) refs.push({ oid, name });
    at += length;
  }
  return refs;
}

/** The discovery request alone, then ls-refs: what `git ls-remote` does. */
export async function discoverAndListRefs(remote: Remote): Promise<number> {
  await call(remote, { path: "/info/refs?service=git-upload-pack", protocol: "version=2", keep: true });
  return (await listRefs(remote)).length;
}

/** A fetch that is ready at once. @returns bytes of the answer */
export async function fetchPack(
  remote: Remote,
  wants: readonly string[],
  haves: readonly string[],
): Promise<number> {
  const lines = [
    line("command=fetch"),
    line("object-format=sha1"),
    "0001",
    line("thin-pack"),
    line("ofs-delta"),
    ...wants.map((oid) => line(`want ${oid}\n`)),
    ...haves.map((oid) => line(`have ${oid}\n`)),
    line("done\n"),
    "0000",
  ];
  return (await uploadPack(remote, Buffer.from(lines.join("")), { keep: false })).bytes;
}

function uploadPack(
  remote: Remote,
  body: Buffer,
  options: { readonly keep: boolean },
): Promise<{ readonly bytes: number; readonly text: Buffer }> {
  return call(remote, {
    path: "/git-upload-pack",
    contentType: "application/x-git-upload-pack-request",
    body,
    protocol: "version=2",
    keep: options.keep,
  });
}

export interface PushRequest {
  readonly name: string;
  readonly oldOid: string;
  readonly newOid: string;
  readonly pack: Buffer;
}

/** Discovery and push. @throws when the report says anything but ok */
export async function push(remote: Remote, about: PushRequest): Promise<void> {
  await call(remote, { path: "/info/refs?service=git-receive-pack", protocol: "version=0", keep: true });
  const capabilities = "report-status side-band-64k object-format=sha1 agent=gitwharf-bench";
  const command = `${line(`${about.oldOid} ${about.newOid} ${about.name}\0${capabilities}`)}0000`;
  const answer = await call(remote, {
    path: "/git-receive-pack",
    contentType: "application/x-git-receive-pack-request",
    body: Buffer.concat([Buffer.from(command), about.pack]),
    protocol: "version=0",
    keep: true,
  });
  const text = answer.text.toString("latin1");
  if (!text.includes("unpack ok") || !text.includes(`ok ${about.name}`))
    throw new Error(`push failed: ${text}`);
}
