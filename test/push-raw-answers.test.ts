/**
 * How a push is answered by what the client said it understands: reports of both versions, with and without side band,
 * quiet or not, nothing at all. Held against `git http-backend` asked with the same bytes.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PktLineReader } from "../src/protocol/wire/pkt-line.js";
import { type PushBesideGit, type Side, startPushBesideGit } from "./support/push-beside-git.js";
import { send } from "./support/raw-http.js";
import { blobOid, formatCommands, packOfBlobs, RECEIVE_PACK_TYPE, sealPack } from "./support/raw-push.js";

let pair: PushBesideGit;
beforeEach(async () => (pair = await startPushBesideGit()));
afterEach(() => pair.close());

interface Answer {
  readonly status: number;
  /** The report, out of its band where there are bands. */
  readonly report: readonly string[];
  readonly progress: string;
  readonly fatal: string;
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

async function packets(bytes: Buffer): Promise<(Buffer | "flush")[]> {
  const reader = new PktLineReader(once(bytes), {
    totalBytesMax: Number.POSITIVE_INFINITY,
    limitName: "requestBytesMax",
  });
  const found: (Buffer | "flush")[] = [];
  for (let left = 1000; left > 0; left -= 1) {
    const packet = await reader.next();
    if (packet.kind === "eof") return found;
    found.push(packet.kind === "data" ? Buffer.from(packet.payload) : "flush");
  }
  throw new Error("the answer does not end");
}

async function ask(
  side: Side,
  capabilities: string,
  pack = packOfBlobs("x"),
  names: readonly string[] = ["refs/tags/a"],
): Promise<Answer> {
  const commands = names.map((name) => ({ newOid: blobOid("x"), name }));
  const { status, body } = await send(`${side.url}/git-receive-pack`, {
    body: Buffer.concat([Buffer.from(formatCommands(commands, capabilities)), pack]),
    headers: { "content-type": RECEIVE_PACK_TYPE },
  });
  const text = (list: readonly (Buffer | "flush")[]): string[] =>
    list.map((packet) => (packet === "flush" ? packet : packet.toString("utf8").replace(/\n$/, "")));
  if (!capabilities.includes("side-band-64k"))
    return { status, report: text(await packets(body)), progress: "", fatal: "" };
  const lines = await packets(body);
  expect(lines.at(-1)).toBe("flush");
  const band = (number: number): Buffer =>
    Buffer.concat(
      lines.flatMap((line) => (line !== "flush" && line[0] === number ? [line.subarray(1)] : [])),
    );
  return {
    status,
    report: text(await packets(band(1))),
    progress: band(2).toString("utf8"),
    fatal: band(3).toString("utf8"),
  };
}

const taken = (side: Side): Promise<string> => side.repository.run("rev-parse", "refs/tags/a");

describe("a push is reported", () => {
  for (const words of [
    "report-status",
    "report-status-v2",
    "report-status report-status-v2",
    "report-status side-band-64k",
    "report-status-v2 side-band-64k",
    "report-status side-band-64k quiet",
    "report-status quiet",
    "report-status side-band-64k ofs-delta delete-refs agent=x object-format=sha1",
    "report-status no-such-word session-id=y",
  ]) {
    it(`in git's lines to who says ${words}`, async () => {
      const ours = await ask(pair.ours, words, packOfBlobs("x"), ["refs/tags/a", "refs/heads/.."]);
      const theirs = await ask(pair.theirs, words, packOfBlobs("x"), ["refs/tags/a", "refs/heads/.."]);
      expect(ours.report).toEqual(["unpack ok", "ok refs/tags/a", "ng refs/heads/.. funny refname", "flush"]);
      expect(ours).toMatchObject({ status: 200, report: theirs.report, fatal: theirs.fatal });
      expect(await taken(pair.ours)).toBe(blobOid("x"));
      const isTold = words.includes("side-band-64k") && !words.includes("quiet");
      expect(ours.progress.includes("Unpacking")).toBe(isTold);
    });
  }

  for (const words of ["", "quiet", "atomic", "side-band-64k", "side-band-64k quiet"]) {
    it(`not at all to who says ${JSON.stringify(words)}, and done nevertheless`, async () => {
      const ours = await ask(pair.ours, words);
      const theirs = await ask(pair.theirs, words);
      expect(ours.report).toEqual([]);
      expect(ours.report).toEqual(theirs.report);
      expect(ours.fatal).toBe("");
      expect(await taken(pair.ours)).toBe(blobOid("x"));
      await pair.refs();
    });
  }
});

describe("a push whose pack is broken", () => {
  const broken = Buffer.concat([
    sealPack(1, Buffer.from("no entry at all")).subarray(0, -20),
    Buffer.alloc(20),
  ]);

  for (const words of [
    "report-status",
    "report-status-v2 side-band-64k",
    "report-status side-band-64k quiet",
  ]) {
    it(`is reported to who says ${words}`, async () => {
      const ours = await ask(pair.ours, words, broken);
      const theirs = await ask(pair.theirs, words, broken);
      expect(ours.report[0]).toMatch(/^unpack (?!ok)./);
      expect(ours.report.slice(1)).toEqual(["ng refs/tags/a unpacker error", "flush"]);
      expect(ours.report.slice(1)).toEqual(theirs.report.slice(1));
      expect((await pair.ours.repository.try("rev-parse", "-q", "--verify", "refs/tags/a")).status).toBe(1);
    });
  }

  it.each(["", "side-band-64k"])("leaves nothing where nobody reads a report: %j", async (words) => {
    const ours = await ask(pair.ours, words, broken);
    expect(ours).toMatchObject({ status: 200, report: [] });
    expect((await pair.ours.repository.try("rev-parse", "-q", "--verify", "refs/tags/a")).status).toBe(1);
    expect((await pair.push("two:main")).status).toBe(0);
  });
});

it("words that were not advertised are no reason to stop, but those that change the push are", async () => {
  const options = await ask(pair.ours, "report-status push-options");
  expect(options.report.join()).toMatch(/^ERR this repository takes no push options/);
  const format = await ask(pair.ours, "report-status object-format=sha256");
  expect(format.report.join()).toMatch(/^ERR this repository's object format is sha1/);
  expect((await pair.push("two:main")).status).toBe(0);
});
