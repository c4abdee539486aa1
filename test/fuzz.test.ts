/** Every codec on damaged bytes: it answers, or throws an error of ours that is no defect of ours; nothing else escapes. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createAuditFile } from "../src/access/audit/audit-file.js";
import { verifyAudit } from "../src/access/audit/verify-audit.js";
import { isGitwharfError } from "../src/base/errors.js";
import { DEFAULT_LIMITS } from "../src/base/limits.js";
import { parseSshCertificate } from "../src/access/ssh-certificate.js";
import { parseSshPublicKey } from "../src/access/ssh-public-key.js";
import { parseSshRevocations } from "../src/access/ssh-revocation.js";
import { readDiscovery } from "../src/client/discovery.js";
import { fetchPack } from "../src/client/fetch-pack.js";
import type { HaveSource } from "../src/client/have-source.js";
import type { HttpTransport } from "../src/client/http-transport.js";
import { namingRemote } from "../src/client/remote-git-failure.js";
import { readLsRefs, refsIn } from "../src/client/remote-refs.js";
import { createReportReader } from "../src/client/report-reader.js";
import { closeWorkerPool } from "../src/base/worker-pool.js";
import { readYaml } from "../src/deploy/build/read-yaml.js";
import { parseSparsePatterns } from "../src/engine/fetch/sparse-patterns.js";
import { formatFilter, parseFilter } from "../src/engine/filter.js";
import { ingestPack } from "../src/engine/ingest/ingest-pack.js";
import { talkToProcReceive } from "../src/hooks/proc-receive-protocol.js";
import { parseCommitLinks } from "../src/object/commit.js";
import { parseCommitText, subjectOf } from "../src/object/commit-text.js";
import { checkGitmodules } from "../src/object/fsck/gitmodules.js";
import { checkObject, createFsckState } from "../src/object/fsck/object-fsck.js";
import { hashObject, type ObjectType } from "../src/object/object-id.js";
import { parseTagLinks } from "../src/object/tag.js";
import { parseTree } from "../src/object/tree.js";
import { PackBitmap } from "../src/pack/bitmap.js";
import { CommitGraph } from "../src/pack/commit-graph.js";
import { applyDelta, deltaSizes } from "../src/pack/delta.js";
import { parseLooseObject } from "../src/pack/loose-object.js";
import { PackIndex } from "../src/pack/pack-index.js";
import { formatPackMtimes, parsePackMtimes } from "../src/pack/pack-mtimes.js";
import { PackOffsets } from "../src/pack/reverse-index.js";
import { readPushRequest } from "../src/protocol/receive-pack/push-request.js";
import { readArguments, readCommandRequest } from "../src/protocol/wire/command-request.js";
import { takeFetchArgument } from "../src/protocol/wire/fetch-arguments.js";
import { checkFetchRequest, createFetchRequest } from "../src/protocol/wire/fetch-request.js";
import { createLsRefsArguments, takeLsRefsArgument } from "../src/protocol/wire/ls-refs-arguments.js";
import { createObjectInfoArguments, takeObjectInfoArgument } from "../src/protocol/wire/object-info-line.js";
import { packetText, PktLineReader } from "../src/protocol/wire/pkt-line.js";
import { createUploadRequest, takeUploadRequestLine } from "../src/protocol/wire/upload-request.js";
import { GitConfig } from "../src/storage/disk/git-config-values.js";
import { parsePackedRefs } from "../src/storage/disk/refs/packed-refs.js";
import { logKey } from "../src/storage/disk/refs/reftable/records.js";
import {
  findLogBlock,
  forEachLog,
  parseLayout,
  parseRefs,
} from "../src/storage/disk/refs/reftable/table-reader.js";
import { settingsFromConfig } from "../src/storage/disk/settings-from-config.js";
import { formatRecipe, readRecipe } from "../src/storage/object-store/chunks/recipe.js";
import { spliceEntry } from "../src/storage/object-store/chunks/splice-entry.js";
import { nodesInMemory } from "../src/storage/object-store/tree/node.js";
import { formatPackLeaf, parsePackLeaf } from "../src/storage/object-store/tree/pack-leaves.js";
import { formatRefValue, parseRefValue } from "../src/storage/object-store/tree/ref-values.js";
import { formatRootNode, parseRootNode } from "../src/storage/object-store/tree/root-node.js";
import {
  childAt,
  entryCountOf,
  formatTreeNode,
  parseTreeNode,
} from "../src/storage/object-store/tree/tree-node.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { parseReflog } from "../src/storage/refs/reflog-entry.js";
import { parseRequestTarget } from "../src/transport/http/request-target.js";
import { createRandom, listSeedFolders, mutate, type Random, readSeeds } from "./support/fuzz.js";

const SHA1 = "sha1";
const LIMITS = {
  ...DEFAULT_LIMITS,
  objectSizeBytesMax: 1_000_000,
  inflatedTotalBytesMax: 4_000_000,
  packObjectsMax: 10_000,
};
const ADVERTISED = new Set(["agent", "object-format", "server-option", "session-id"]);

/** Takes bytes; whatever it throws is judged by the runner. */
type Feed = (bytes: Buffer, random: Random) => unknown;

interface Codec {
  readonly feed: Feed;
  /** @default 3,000 */
  readonly rounds?: number;
}

async function* inPieces(bytes: Buffer, random: Random): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + random(bytes.length);
    yield await Promise.resolve(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
}

function lines(bytes: Buffer, random: Random): PktLineReader {
  return new PktLineReader(inPieces(bytes, random), { totalBytesMax: 100_000, limitName: "requestBytesMax" });
}

function shared(bytes: Buffer): SharedArrayBuffer {
  const copy = new SharedArrayBuffer(bytes.length);
  Buffer.from(copy).set(bytes);
  return copy;
}

const historyIndex = (): PackIndex => PackIndex.parse(shared(readSeeds("pack-index").at(-1) as Buffer), SHA1);

function checked(type: ObjectType, data: Buffer): void {
  checkObject({
    type,
    data,
    oid: hashObject(SHA1, type, data),
    objectFormat: SHA1,
    policy: { severities: new Map(), skipList: new Set(), strict: true },
    state: createFsckState(),
  });
}

const remotely = <T>(work: () => Promise<T>): Promise<T> => namingRemote(() => "https://example.com", work);

/** Twenty commits, which are told in two requests. */
function twentyHaves(): HaveSource {
  const ids = Array.from({ length: 20 }, (_, i) => i.toString(16).padStart(40, "0"));
  return { next: async (count) => ids.splice(0, count), acknowledge: () => undefined };
}

/** Answers to every request with these bytes. */
function transportOf(bytes: Buffer, random: Random): HttpTransport {
  const answer = async () => Object.assign(inPieces(bytes, random), { close: () => undefined });
  const openPost = (): Promise<never> => Promise.reject(new Error("nothing is pushed"));
  return {
    shown: "https://example.com",
    discover: answer,
    post: answer,
    openPost,
    close: () => undefined,
  };
}

const CODECS: Readonly<Record<string, Codec>> = {
  "remote-advertisement": {
    feed: (bytes, random) =>
      remotely(async () => {
        const about = { service: "git-upload-pack", bytesMax: 100_000 } as const;
        const discovery = await readDiscovery(inPieces(bytes, random), about);
        if (discovery.protocol === 0) refsIn(discovery, []);
      }),
  },
  "remote-refs": {
    feed: (bytes, random) =>
      remotely(() =>
        readLsRefs(inPieces(bytes, random), { objectFormat: SHA1, prefixes: [], bytesMax: 100_000 }),
      ),
  },
  "remote-pack": {
    feed: (bytes, random) =>
      remotely(async () => {
        const context = {
          transport: transportOf(bytes, random),
          objectFormat: SHA1,
          agent: "fuzz",
          answerBytesMax: 100_000,
        } as const;
        const names = ["multi_ack_detailed", "no-done", "side-band-64k"];
        const capabilities = new Map(names.map((name) => [name, ""]));
        const advertisement = { capabilities, refs: [], shallow: [] };
        const answer = await fetchPack(
          context,
          bytes.includes("packfile")
            ? { protocol: 2, objectFormat: SHA1, capabilities: new Map([["fetch", "shallow filter"]]) }
            : { protocol: 0, objectFormat: SHA1, advertisement, symbolicTargets: new Map() },
          { wants: ["1".repeat(40)], haves: random(8) === 0 ? undefined : twentyHaves() },
        );
        for await (const chunk of answer.pack) if (chunk.length === 0) throw new Error("an empty piece");
      }),
  },
  report: {
    feed: (bytes, random) =>
      remotely(async () => {
        const reader = createReportReader();
        for await (const piece of inPieces(bytes, random)) reader.add(piece);
      }),
  },
  "pkt-line": {
    async feed(bytes, random) {
      const reader = lines(bytes, random);
      while ((await reader.next()).kind !== "eof");
    },
  },
  "v2-request": {
    async feed(bytes, random) {
      const reader = lines(bytes, random);
      const request = await readCommandRequest(reader, { objectFormat: SHA1, advertised: ADVERTISED });
      if (request === undefined) return;
      const features = { filter: true, refInWant: true, sidebandAll: true, packfileUris: true };
      const context = { objectFormat: SHA1, limits: LIMITS, features } as const;
      const fetch = createFetchRequest();
      const lsRefs = createLsRefsArguments();
      const info = createObjectInfoArguments();
      await readArguments(reader, request, (line) => {
        if (request.command === "ls-refs") takeLsRefsArgument(lsRefs, line);
        else if (request.command === "object-info") takeObjectInfoArgument(info, line, context);
        else takeFetchArgument(fetch, line, context);
      });
      checkFetchRequest(fetch);
      if (fetch.filterSpec !== undefined) parseFilter(fetch.filterSpec, LIMITS);
    },
  },
  "ssh-certificate": {
    rounds: 1500,
    feed: (bytes) => (bytes.includes("-cert-v01@") ? parseSshCertificate(bytes) : parseSshPublicKey(bytes)),
  },
  "ssh-revocations": {
    feed: (bytes) => void parseSshRevocations(bytes).hasKey(bytes),
  },
  "v0-request": {
    async feed(bytes, random) {
      const reader = lines(bytes, random);
      const request = createUploadRequest();
      for (;;) {
        const packet = await reader.next();
        if (packet.kind !== "data") break;
        takeUploadRequestLine(request, packetText(packet.payload), { objectFormat: SHA1, limits: LIMITS });
      }
      checkFetchRequest(request.fetch);
    },
  },
  "push-request": {
    feed: (bytes, random) =>
      readPushRequest(lines(bytes, random), {
        objectFormat: SHA1,
        limits: LIMITS,
        acceptsOptions: true,
        acceptsCertificates: true,
      }),
  },
  pack: {
    rounds: 1500,
    async feed(bytes, random) {
      const store = createMemoryRepositoryStore();
      const repository = await store.create("app");
      const snapshot = await repository.snapshot();
      const quarantine = await repository.openQuarantine();
      try {
        await ingestPack({
          quarantine,
          objects: snapshot.objects,
          source: inPieces(bytes, random),
          objectFormat: SHA1,
          limits: LIMITS,
          collisionDetection: false,
          fsck: { severities: new Map(), skipList: new Set(), strict: false },
          maxInputSizeBytes: Infinity,
        });
      } finally {
        snapshot.release();
        await quarantine.discard();
      }
    },
  },
  "pack-index": {
    feed(bytes) {
      const index = PackIndex.parse(shared(bytes), SHA1);
      index.verifyChecksum();
      const raw = Buffer.alloc(20);
      for (let p = 0; p < Math.min(index.objectCount, 100); p++) {
        index.copyOid(p, raw, 0);
        index.find(index.oidAt(p));
        index.findBytes(raw, 0);
        index.findPrefix(index.oidAt(p).slice(0, 6));
        index.crc32At(p);
      }
      PackOffsets.of(index, 5000);
    },
  },
  bitmap: {
    feed(bytes) {
      const index = historyIndex();
      const bitmap = PackBitmap.parse(bytes, index);
      for (let p = 0; p < index.objectCount; p++) bitmap.bitmapOf(index.oidAt(p));
    },
  },
  "pack-mtimes": {
    feed(bytes) {
      const index = historyIndex();
      if (!formatPackMtimes(index, parsePackMtimes(bytes, index)).equals(bytes))
        throw new Error("not canonical, and taken");
    },
  },
  "commit-graph": {
    feed(bytes) {
      const graph = CommitGraph.parse([shared(bytes)], SHA1);
      for (let p = 0; p < Math.min(graph.commitCount, 100); p++) {
        graph.find(graph.oidAt(p));
        graph.treeAt(p);
        graph.generationAt(p);
        graph.dateSecondsAt(p);
        graph.parentsAt(p);
      }
    },
  },
  commit: {
    feed(bytes) {
      checked("commit", bytes);
      subjectOf(parseCommitText(bytes).message);
      parseCommitLinks(bytes, SHA1);
    },
  },
  tree: {
    feed(bytes) {
      checked("tree", bytes);
      parseTree(bytes, SHA1);
    },
  },
  tag: {
    feed(bytes) {
      checked("tag", bytes);
      parseTagLinks(bytes, SHA1);
    },
  },
  delta: {
    feed(bytes) {
      const base = Buffer.alloc(60, "base");
      // As everywhere: the claimed size is looked at before anything is allocated for it.
      if (deltaSizes(bytes).resultSizeBytes < 100_000) applyDelta(base, bytes);
    },
  },
  "loose-object": { feed: (bytes) => parseLooseObject(bytes) },
  gitmodules: { feed: (bytes) => checkGitmodules(bytes.toString("utf8"), () => undefined) },
  config: {
    feed(bytes) {
      const config = GitConfig.parse(bytes.toString("utf8"));
      const settings = settingsFromConfig({ config, looksBare: true, fsckSkipList: () => new Set() });
      // Each part is made when it is asked for; a bad one must hide no other.
      for (const part of ["receive", "uploadPack", "uploadPackFilter", "lsRefs", "gc"] as const) {
        try {
          void settings[part];
        } catch (error) {
          if (!isGitwharfError(error, "storage/bad-config")) throw error;
        }
      }
    },
  },
  "packed-refs": { feed: (bytes) => parsePackedRefs(bytes, SHA1) },
  reftable: {
    feed(bytes, random) {
      // Its footer has a checksum: half of the time only what is before it is damaged.
      const footer = (readSeeds("reftable")[0] as Buffer).subarray(-68);
      const whole = random(2) === 0 ? bytes : Buffer.concat([bytes.subarray(0, -68), footer]);
      const layout = parseLayout(whole, whole, whole.length, SHA1);
      const refs = parseRefs(whole, layout);
      const read = (start: number, end: number): Buffer => {
        if (start < 0 || start > end || end > whole.length) throw new Error(`read from ${start} to ${end}`);
        return whole.subarray(start, end);
      };
      forEachLog(read, layout, () => undefined);
      for (const { name } of refs) findLogBlock(read, layout, logKey(name, 1));
    },
  },
  "tree-node": {
    feed(bytes) {
      const node = parseTreeNode(bytes);
      if (!formatTreeNode(node).equals(bytes)) throw new Error("a node that is not canonical was taken");
      if (node.level > 0) for (let i = 0; i < node.keys.length; i++) childAt(node, i);
      entryCountOf(node);
    },
  },
  "root-node": {
    feed(bytes) {
      if (!formatRootNode(parseRootNode(bytes)).equals(bytes)) throw new Error("not canonical, and taken");
    },
  },
  "ref-value": {
    feed(bytes) {
      const value = parseRefValue("refs/heads/main", bytes, SHA1);
      if (!formatRefValue(value).equals(bytes)) throw new Error("not canonical, and taken");
    },
  },
  "pack-leaf": {
    feed(bytes) {
      if (!formatPackLeaf(parsePackLeaf(1, bytes, SHA1)).equals(bytes))
        throw new Error("not canonical, and taken");
    },
  },
  recipe: {
    async feed(bytes) {
      const recipe = await readRecipe(nodesInMemory(new Map()), bytes);
      if (formatRecipe(recipe)?.value.equals(bytes) !== true) throw new Error("not canonical, and taken");
      spliceEntry(recipe);
    },
  },
  reflog: { feed: (bytes) => parseReflog(bytes.toString("utf8"), SHA1) },
  filter: { feed: (bytes) => formatFilter(parseFilter(bytes.toString("utf8"), LIMITS)) },
  yaml: { feed: (bytes) => readYaml(bytes.toString("utf8"), "a file") },
  "sparse-patterns": { feed: (bytes) => parseSparsePatterns(bytes) },
  "proc-receive": {
    async feed(bytes, random) {
      const name = "refs/for/main";
      const { results } = await talkToProcReceive(
        { write: async () => true, output: inPieces(bytes, random) },
        {
          commands: [{ name, oldOid: "0".repeat(40), newOid: "1".repeat(40) }],
          pushed: [name],
          options: ["a=b"],
          atomic: true,
          takesOptions: true,
          objectFormat: SHA1,
        },
      );
      if (results?.some((result) => result.name !== name) === true)
        throw new Error("an answer to no question");
    },
  },
  "audit-log": {
    // Each round opens files.
    rounds: 400,
    async feed(bytes) {
      const directory = mkdtempSync(join(tmpdir(), "gitwharf-fuzz-"));
      const file = join(directory, "log");
      const writer = createAuditFile({ path: file, durability: "none" });
      try {
        writeFileSync(file, bytes);
        await verifyAudit([file], { onFinding: () => undefined });
        // Whatever stands there stays, and what is written behind it can be read.
        await writer.append([{ event: "request" }]).finally(() => {
          if (!readFileSync(file).subarray(0, bytes.length).equals(bytes))
            throw new Error("the log was changed");
        });
        const last = readFileSync(file, "utf8").trimEnd().split("\n").at(-1) ?? "";
        if ((JSON.parse(last) as { readonly event: string }).event !== "request")
          throw new Error("nothing was added");
      } finally {
        await writer.close();
        rmSync(directory, { recursive: true });
      }
    },
  },
  "request-target": { feed: (bytes) => parseRequestTarget(bytes.toString("latin1")) },
};

describe("codecs on damaged bytes", () => {
  afterAll(closeWorkerPool);

  it("have seeds, and every seed has its codec", () => {
    expect(Object.keys(CODECS).toSorted()).toEqual(listSeedFolders());
  });

  it.each(Object.entries(CODECS))("%s", async (name, { feed, rounds = 3000 }) => {
    const seeds = readSeeds(name);
    const random = createRandom(name.length * 7919 + 17);
    let taken = 0;
    for (let round = -seeds.length; round < rounds; round++) {
      const bytes = round < 0 ? (seeds[round + seeds.length] as Buffer) : mutate(seeds, random);
      try {
        await feed(bytes, random);
        if (round < 0) taken++;
      } catch (error) {
        if (isGitwharfError(error) && error.kind !== "invariant") continue;
        throw new Error(`${name}, round ${round}: ${bytes.toString("hex")}`, { cause: error });
      }
    }
    // Of the seeds; not all of them are right by themselves (a thin pack has no bases here).
    expect(taken).toBeGreaterThan(0);
  });
});
