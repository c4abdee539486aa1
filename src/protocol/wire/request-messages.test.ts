/** Requests as values and as lines: one is the other, and nothing a peer writes does worse than a peer's error. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GitwharfError } from "../../base/errors.js";
import { hexLength, type ObjectFormat } from "../../object/object-format.js";
import { formatCapabilities, parseCapabilities } from "./capabilities.js";
import {
  createCommandHead,
  formatCommandHead,
  readArguments,
  readCommandRequest,
  takeCommandLine,
} from "./command-request.js";
import { formatFetchArguments, parseFetchArguments } from "./fetch-arguments.js";
import { checkFetchRequest, createFetchRequest, deepens, type FetchRequest } from "./fetch-request.js";
import {
  createLsRefsArguments,
  formatLsRefsArguments,
  REF_PREFIXES_MAX,
  takeLsRefsArgument,
} from "./ls-refs-arguments.js";
import {
  createObjectInfoArguments,
  formatObjectInfoArguments,
  takeObjectInfoArgument,
} from "./object-info-line.js";
import { DELIM, encodePktLine, FLUSH, PktLineReader } from "./pkt-line.js";
import { createUploadRequest, formatUploadRequest, takeUploadRequestLine } from "./upload-request.js";

const limits = { wantsMax: 100, havesMax: 100 };
const features = { filter: true, refInWant: true, sidebandAll: true, packfileUris: true };
const formats = fc.constantFrom<ObjectFormat>("sha1", "sha256");
const oidOf = (format: ObjectFormat) => fc.stringMatching(new RegExp(`^[0-9a-f]{${hexLength(format)}}$`));
const word = fc.stringMatching(/^[!-<>-~]{1,20}$/);
const refName = fc.stringMatching(/^refs\/[a-z]{1,5}\/[a-zA-Z0-9é._-]{1,12}$/);

const fetchRequest = (format: ObjectFormat, version: 0 | 2): fc.Arbitrary<FetchRequest> =>
  fc
    .record({
      wants: fc.array(oidOf(format), { maxLength: 5, minLength: version === 0 ? 1 : 0 }),
      wantRefs: fc.array(refName, { maxLength: version === 2 ? 3 : 0 }),
      haves: fc.array(oidOf(format), { maxLength: version === 2 ? 5 : 0 }),
      clientShallow: fc.array(oidOf(format), { maxLength: 3 }),
      depth: fc.option(fc.integer({ min: 1, max: 0x7fffffff }), { nil: undefined }),
      since: fc.option(fc.nat(2 ** 40), { nil: undefined }),
      not: fc.array(refName, { maxLength: 3 }),
      filterSpec: fc.option(fc.constantFrom("blob:none", "tree:0", "combine:a+b"), { nil: undefined }),
      uriProtocols: fc.uniqueArray(fc.constantFrom("http", "https"), { maxLength: version === 2 ? 2 : 0 }),
      flags: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
    })
    .map(({ wants, wantRefs, haves, clientShallow, depth, since, not, filterSpec, uriProtocols, flags }) => {
      const [
        relative = false,
        thinPack = false,
        ofsDelta = false,
        includeTag = false,
        noProgress = false,
        ...more
      ] = flags;
      const [done = false, waitForDone = false, sidebandAll = false] = version === 2 ? more : [];
      return {
        ...createFetchRequest(),
        wants: new Set(wants),
        wantRefs: new Set(wantRefs),
        haves,
        clientShallow: new Set(clientShallow),
        depth,
        since,
        not: new Set(not),
        filterSpec,
        uriProtocols: new Set(uriProtocols),
        relative,
        thinPack,
        ofsDelta,
        includeTag,
        noProgress,
        done,
        waitForDone,
        sidebandAll,
      };
    });

function peerErrorOf(run: () => unknown): GitwharfError | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(GitwharfError);
    expect((error as GitwharfError).kind).toBe("peer");
    return error as GitwharfError;
  }
}

describe("fetch arguments of v2", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(
        formats.chain((format) => fc.tuple(fc.constant(format), fetchRequest(format, 2))),
        ([objectFormat, request]) => {
          const lines = formatFetchArguments(request);
          expect(parseFetchArguments(lines, { objectFormat, limits, features })).toEqual(request);
        },
      ),
    );
  });

  it("are limited, each at its limit and one past it", () => {
    const oid = (i: number): string => i.toString(16).padStart(40, "0");
    const cases = [
      ["want", "wantsMax", (i: number) => `want ${oid(i)}`],
      ["have", "havesMax", (i: number) => `have ${oid(i)}`],
      ["shallow", "havesMax", (i: number) => `shallow ${oid(i)}`],
      ["deepen-not", "wantsMax", (i: number) => `deepen-not r${i}`],
      ["want-ref", "wantsMax", (i: number) => `want-ref refs/heads/r${i}`],
    ] as const;
    for (const [name, limit, line] of cases) {
      const some = (count: number) => Array.from({ length: count }, (_, i) => line(i));
      const context = { objectFormat: "sha1" as const, limits, features };
      parseFetchArguments(some(limits[limit]), context);
      const error = peerErrorOf(() => parseFetchArguments(some(limits[limit] + 1), context));
      expect(error?.code, name).toBe("base/limit-exceeded");
      expect(error?.message).toContain(limit);
    }
  });

  it("are refused when they are malformed, unknown or were not advertised", () => {
    const context = {
      objectFormat: "sha1" as const,
      limits,
      features: { filter: false, refInWant: false, sidebandAll: false, packfileUris: false },
    };
    const oid = "a".repeat(40);
    for (const line of [
      "",
      "want",
      "want ",
      `want ${oid}x`,
      `want ${oid.slice(1)}`,
      `want ${oid.toUpperCase()}`,
      `want ${oid} `,
      "have zz",
      "deepen 0",
      "deepen -1",
      "deepen 1x",
      "deepen 1e3",
      "deepen ",
      "deepen-since yesterday",
      "filter blob:none",
      "want-ref refs/heads/main",
      "sideband-all",
      "packfile-uris https",
      "constructor",
      "__proto__",
      "done ",
    ]) {
      expect(peerErrorOf(() => parseFetchArguments([line], context))?.code, line).toBe(
        "protocol/bad-request",
      );
    }
    const twice = ["filter blob:none", "filter tree:0"];
    expect(peerErrorOf(() => parseFetchArguments(twice, { ...context, features }))?.message).toMatch(
      /multiple filter/,
    );
    const refs = ["want-ref refs/heads/a", "want-ref refs/heads/a"];
    expect(peerErrorOf(() => parseFetchArguments(refs, { ...context, features }))?.code).toBe(
      "protocol/bad-request",
    );
  });

  it("survive anything", () => {
    const almost = fc
      .tuple(
        fc.constantFrom(
          "want ",
          "have ",
          "deepen ",
          "deepen-since ",
          "deepen-not ",
          "shallow ",
          "filter ",
          "want-ref ",
        ),
        fc.string(),
      )
      .map(([key, value]) => key + value);
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), almost), { maxLength: 5 }), (lines) => {
        const error = peerErrorOf(() =>
          parseFetchArguments(lines, { objectFormat: "sha1", limits, features }),
        );
        // Messages hold a bounded part of what a peer wrote, and no control characters of its.
        expect(error?.message ?? "").toMatch(/^[^\x00-\x1f]{0,900}$/);
      }),
    );
  });
});

describe("the upload request of v0 and v1", () => {
  it("comes back as it was", () => {
    fc.assert(
      fc.property(
        formats.chain((format) => fc.tuple(fc.constant(format), fetchRequest(format, 0))),
        ([objectFormat, fetch]) => {
          const names = [
            ...(fetch.thinPack ? ["thin-pack"] : []),
            ...(fetch.ofsDelta ? ["ofs-delta"] : []),
            ...(fetch.includeTag ? ["include-tag"] : []),
            ...(fetch.noProgress ? ["no-progress"] : []),
            ...(fetch.relative ? ["deepen-relative"] : []),
            "filter",
            `object-format=${objectFormat}`,
          ];
          const request = { fetch, capabilities: parseCapabilities(names.join(" ")) };
          const read = createUploadRequest();
          for (const line of formatUploadRequest(request))
            takeUploadRequestLine(read, line, { objectFormat, limits });
          expect(read).toEqual(request);
        },
      ),
    );
  });

  const oid = "b".repeat(40);
  const context = { objectFormat: "sha1" as const, limits };

  it("takes capabilities from the first want alone", () => {
    const read = createUploadRequest();
    takeUploadRequestLine(read, `want ${oid} thin-pack agent=git/2.39.5`, context);
    takeUploadRequestLine(read, `want ${"c".repeat(40)} ofs-delta`, context);
    expect(read.capabilities).toEqual(
      new Map([
        ["thin-pack", ""],
        ["agent", "git/2.39.5"],
      ]),
    );
    expect(read.fetch).toMatchObject({ thinPack: true, ofsDelta: false });
    expect(read.fetch.wants.size).toBe(2);
  });

  it("is refused when its object format is another, or its filter was not negotiated", () => {
    const of = (...lines: string[]) =>
      peerErrorOf(() => {
        const read = createUploadRequest();
        for (const line of lines) takeUploadRequestLine(read, line, context);
      });
    expect(of(`want ${"d".repeat(64)} object-format=sha256`)).toMatchObject({
      code: "protocol/unsupported",
      message: "mismatched object format: server sha1; client sha256",
    });
    expect(of(`want ${oid} thin-pack`, "filter blob:none")?.message).toMatch(/not negotiated/);
    expect(of("filter blob:none")?.message).toMatch(/not negotiated/);
    expect(of(`have ${oid}`)?.message).toMatch(/expected to get object ID/);
    expect(of("done")?.code).toBe("protocol/bad-request");
    expect(of(`want ${oid} agent=\x1b[2J`)?.message).toMatch(/control characters/);
  });

  it("survives anything", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.string(),
            fc.string().map((text) => `want ${text}`),
          ),
          { maxLength: 4 },
        ),
        (lines) => {
          peerErrorOf(() => {
            const read = createUploadRequest();
            for (const line of lines) takeUploadRequestLine(read, line, context);
          });
        },
      ),
    );
  });
});

describe("checkFetchRequest", () => {
  it("refuses a depth beside a time or a ref", () => {
    checkFetchRequest({ ...createFetchRequest(), depth: 1 });
    checkFetchRequest({ ...createFetchRequest(), since: 0, not: new Set(["main"]) });
    expect(
      peerErrorOf(() => checkFetchRequest({ ...createFetchRequest(), depth: 1, since: 0 })),
    ).toBeDefined();
    expect(
      peerErrorOf(() => checkFetchRequest({ ...createFetchRequest(), depth: 1, not: new Set(["x"]) })),
    ).toBeDefined();
    expect(deepens(createFetchRequest())).toBe(false);
  });
});

describe("ls-refs arguments", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        fc.array(fc.string(), { maxLength: 5 }),
        (peel, symrefs, unborn, prefixes) => {
          const request = { peel, symrefs, unborn, prefixes, tooMany: false };
          const read = createLsRefsArguments();
          for (const line of formatLsRefsArguments(request)) takeLsRefsArgument(read, line);
          expect(read).toEqual(request);
        },
      ),
    );
  });

  it("forget the prefixes when there are too many", () => {
    const read = createLsRefsArguments();
    for (let i = 0; i < REF_PREFIXES_MAX - 1; i++) takeLsRefsArgument(read, `ref-prefix refs/heads/${i}`);
    expect(read.prefixes).toHaveLength(REF_PREFIXES_MAX - 1);
    takeLsRefsArgument(read, "ref-prefix refs/heads/one-more");
    takeLsRefsArgument(read, "ref-prefix refs/heads/and-another");
    expect(read).toMatchObject({ prefixes: [], tooMany: true });
  });

  it("that do not exist are refused", () => {
    for (const line of ["", "peeled", "ref-prefix", "peel "]) {
      expect(peerErrorOf(() => takeLsRefsArgument(createLsRefsArguments(), line))?.code).toBe(
        "protocol/bad-request",
      );
    }
  });
});

describe("object-info arguments", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(oidOf("sha256"), { maxLength: 5 }), (size, oids) => {
        const read = createObjectInfoArguments();
        for (const line of formatObjectInfoArguments({ size, oids })) {
          takeObjectInfoArgument(read, line, { objectFormat: "sha256", limits });
        }
        expect(read).toEqual({ size, oids });
      }),
    );
  });
});

describe("capabilities", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(word, fc.oneof(fc.constant(""), word)), { maxLength: 8 }), (pairs) => {
        const capabilities = new Map(pairs);
        expect(parseCapabilities(formatCapabilities(capabilities))).toEqual(capabilities);
      }),
    );
  });
});

describe("the head of a v2 command", () => {
  const advertised = new Set(["agent", "object-format", "session-id", "server-option"]);

  it("comes back as it was", () => {
    const optional = fc.option(word, { nil: undefined });
    fc.assert(
      fc.property(
        word,
        optional,
        optional,
        optional,
        fc.array(word, { maxLength: 3 }),
        (command, objectFormat, agent, sessionId, serverOptions) => {
          const head = { command, objectFormat, agent, sessionId, serverOptions };
          const read = createCommandHead();
          for (const line of formatCommandHead(head)) takeCommandLine(read, line, advertised);
          expect(read).toEqual(head);
        },
      ),
    );
  });

  const read = async (...packets: (string | Buffer)[]) => {
    async function* source(): AsyncGenerator<Uint8Array> {
      yield Buffer.concat(
        packets.map((packet) => (typeof packet === "string" ? encodePktLine(packet) : packet)),
      );
    }
    const reader = new PktLineReader(source(), { totalBytesMax: 1 << 20, limitName: "requestBytesMax" });
    const request = await readCommandRequest(reader, { objectFormat: "sha1", advertised });
    if (request === undefined) return undefined;
    const lines: string[] = [];
    await readArguments(reader, request, (line) => lines.push(line));
    return { command: request.command, lines };
  };

  it("is followed by arguments or by nothing", async () => {
    expect(await read("command=ls-refs\n", "agent=x\n", DELIM, "peel\n", "symrefs", FLUSH)).toEqual({
      command: "ls-refs",
      lines: ["peel", "symrefs"],
    });
    expect(await read("command=fetch", FLUSH)).toEqual({ command: "fetch", lines: [] });
    expect(await read(FLUSH)).toBeUndefined();
    expect(await read()).toBeUndefined();
  });

  it("is refused when it is out of order", async () => {
    const codeOf = (...packets: (string | Buffer)[]) =>
      read(...packets).then(
        () => "fine",
        (error: GitwharfError) => error.code,
      );
    expect(await codeOf(DELIM, FLUSH)).toBe("protocol/bad-request");
    expect(await codeOf("agent=x", FLUSH)).toBe("protocol/bad-request");
    expect(await codeOf("command=a", "command=b", FLUSH)).toBe("protocol/bad-request");
    expect(await codeOf("command=a", "frotz=1", FLUSH)).toBe("protocol/bad-request");
    expect(await codeOf("command=a", "object-format=sha256", FLUSH)).toBe("protocol/unsupported");
    expect(await codeOf("command=a", "agent=\x1b[", FLUSH)).toBe("protocol/bad-request");
    expect(await codeOf("command=a", Buffer.from("0002"))).toBe("protocol/bad-request");
    expect(await codeOf("command=a")).toBe("base/truncated");
    expect(await codeOf("command=a", DELIM, "x")).toBe("base/truncated");
    expect(await codeOf("command=a", DELIM, "x", DELIM)).toBe("protocol/bad-request");
    expect(await codeOf("command=a", ...Array.from({ length: 1001 }, () => "server-option=x"), FLUSH)).toBe(
      "base/limit-exceeded",
    );
  });
});
