/** Lines of answers as values and as text: one is the other. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { type Acknowledgment, formatAcknowledgment, parseAcknowledgment } from "./acknowledgment.js";
import { formatLsRefsLine, type LsRefsLine, parseLsRefsLine } from "./ls-refs-line.js";
import { formatObjectInfoLine, parseObjectInfoLine } from "./object-info-line.js";
import { PktLineReader } from "./pkt-line.js";
import {
  type AdvertisedRef,
  formatAdvertisedRef,
  formatFirstAdvertisedRef,
  formatPeeledRef,
  parseRefAdvertisement,
} from "./ref-advertisement.js";
import { sanitizeText } from "./sanitize.js";
import { formatShallowLine, parseShallowLine } from "./shallow-line.js";

const format: ObjectFormat = "sha1";
const oid = fc.stringMatching(/^[0-9a-f]{40}$/);
const refName = fc.stringMatching(/^refs\/[a-z]{1,5}\/[a-zA-Z0-9é._-]{1,12}$/);

const chomp = (text: string): string => text.replace(/\n$/, "");

function expectPeerErrors(parse: (line: string, format: ObjectFormat) => unknown): void {
  fc.assert(
    fc.property(fc.string(), (line) => {
      try {
        parse(line, format);
      } catch (error) {
        expect(error).toBeInstanceOf(GitwharfError);
        expect((error as GitwharfError).kind).toBe("peer");
      }
    }),
  );
}

describe("acknowledgments", () => {
  it("come back as they were", () => {
    const acknowledgment: fc.Arbitrary<Acknowledgment> = fc.oneof(
      fc.constantFrom<Acknowledgment>({ kind: "nak" }, { kind: "ready" }),
      oid.map((id): Acknowledgment => ({ kind: "ack", oid: id })),
      fc
        .tuple(oid, fc.constantFrom("common" as const, "continue" as const, "ready" as const))
        .map(([id, status]): Acknowledgment => ({ kind: "ack", oid: id, status })),
    );
    fc.assert(
      fc.property(acknowledgment, (a) => {
        expect(parseAcknowledgment(chomp(formatAcknowledgment(a)), format)).toEqual(a);
      }),
    );
    expectPeerErrors(parseAcknowledgment);
  });
});

describe("shallow lines", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(fc.constantFrom("shallow" as const, "unshallow" as const), oid, (kind, id) => {
        expect(parseShallowLine(formatShallowLine({ kind, oid: id }), format)).toEqual({ kind, oid: id });
      }),
    );
    expectPeerErrors(parseShallowLine);
  });
});

describe("lines of ls-refs", () => {
  it("come back as they were", () => {
    const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
    const line: fc.Arbitrary<LsRefsLine> = fc.record({
      name: refName,
      oid: optional(oid),
      symrefTarget: optional(refName),
      peeled: optional(oid),
    });
    fc.assert(
      fc.property(line, (l) => {
        expect(parseLsRefsLine(chomp(formatLsRefsLine(l)), format)).toEqual(l);
      }),
    );
    expectPeerErrors(parseLsRefsLine);
  });
});

describe("lines of object-info", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(oid, fc.option(fc.nat(2 ** 40), { nil: undefined }), (id, sizeBytes) => {
        expect(parseObjectInfoLine(formatObjectInfoLine(id, sizeBytes), format)).toEqual({
          oid: id,
          sizeBytes,
        });
      }),
    );
    expectPeerErrors(parseObjectInfoLine);
  });
});

describe("ref advertisement", () => {
  it("comes back as it was", async () => {
    const ref: fc.Arbitrary<AdvertisedRef> = fc
      .tuple(refName, oid, fc.option(oid, { nil: undefined }))
      .map(([name, id, peeled]) => ({ name, oid: id, ...(peeled === undefined ? {} : { peeled }) }));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(ref, { maxLength: 6, selector: (r) => r.name }),
        fc.array(oid, { maxLength: 2 }),
        async (refs, shallow) => {
          const [first, ...rest] = refs;
          const head = formatFirstAdvertisedRef(first, { capabilities: "a b=c", objectFormat: format });
          const behind = first === undefined ? "" : formatPeeledRef(first);
          const text = `${head}${behind}${rest.map(formatAdvertisedRef).join("")}`;
          const payloads: Buffer[] = [];
          async function* source(): AsyncGenerator<Uint8Array> {
            yield Buffer.from(text);
          }
          const reader = new PktLineReader(source(), {
            totalBytesMax: 1 << 20,
            limitName: "requestBytesMax",
          });
          for (let packet = await reader.next(); packet.kind === "data"; packet = await reader.next())
            payloads.push(packet.payload);
          payloads.push(...shallow.map((id) => Buffer.from(formatShallowLine({ kind: "shallow", oid: id }))));
          expect(parseRefAdvertisement(payloads, format)).toEqual({
            capabilities: new Map([
              ["a", ""],
              ["b", "c"],
            ]),
            refs,
            shallow,
          });
        },
      ),
    );
  });
});

describe("sanitizeText", () => {
  it("leaves nothing that drives a terminal", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(sanitizeText(text)).not.toMatch(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/);
        expect(sanitizeText(text)).toHaveLength(text.length);
      }),
    );
    expect(sanitizeText("100% (3/3)\r\tdone, é 漢\n")).toBe("100% (3/3)\r\tdone, é 漢\n");
  });
});
