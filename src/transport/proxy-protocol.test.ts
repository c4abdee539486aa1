import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseProxyHead, PROXY_HEAD_BYTES_MAX } from "./proxy-protocol.js";

const SIGNATURE = "0d0a0d0a000d0a515549540a";

function version2(command: string, family: string, body: string, length = body.length / 2): Buffer {
  return Buffer.from(`${SIGNATURE}${command}${family}${length.toString(16).padStart(4, "0")}${body}`, "hex");
}

const FOUR = "c0000207" + "c0000201" + "1f40" + "0050";
const SIX = "20010db8000000000000000000000007" + "20010db8000000000000000000000001" + "1f40" + "0050";

describe("heads of the PROXY protocol", () => {
  it.each<[string, Buffer, string | undefined]>([
    ["of version 1, IPv4", Buffer.from("PROXY TCP4 192.0.2.7 192.0.2.1 8000 80\r\n"), "192.0.2.7"],
    ["of version 1, IPv6", Buffer.from("PROXY TCP6 2001:db8::7 2001:db8::1 8000 80\r\n"), "2001:db8::7"],
    ["of version 1, unknown", Buffer.from("PROXY UNKNOWN\r\n"), undefined],
    ["of version 1, unknown with more", Buffer.from("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), undefined],
    ["of version 2, IPv4", version2("21", "11", FOUR), "192.0.2.7"],
    ["of version 2, IPv6", version2("21", "21", SIX), "2001:db8::7"],
    ["of version 2, with further values", version2("21", "11", `${FOUR}040003616263`), "192.0.2.7"],
    ["of version 2, local", version2("20", "00", ""), undefined],
    ["of version 2, local with addresses", version2("20", "11", FOUR), undefined],
    [
      "of version 2, IPv4 in IPv6",
      version2("21", "21", `00000000000000000000ffffc0000207${SIX.slice(32)}`),
      "192.0.2.7",
    ],
  ])("%s: read to its end, whatever its pieces", (_, head, address) => {
    const more = Buffer.concat([head, Buffer.from("GET / HTTP/1.1\r\n")]);
    expect(parseProxyHead(more)).toEqual({ length: head.length, address });
    for (let length = 0; length < head.length; length++)
      expect(parseProxyHead(more.subarray(0, length))).toBe("incomplete");
  });

  it.each<[string, Buffer]>([
    ["no head", Buffer.from("GET / HTTP/1.1\r\n")],
    ["a line without end", Buffer.from(`PROXY TCP4 ${"1".repeat(107)}`)],
    ["a family that is not known", Buffer.from("PROXY UDP4 192.0.2.7 192.0.2.1 8000 80\r\n")],
    ["no address", Buffer.from("PROXY TCP4 192.0.2 192.0.2.1 8000 80\r\n")],
    ["an address of the other family", Buffer.from("PROXY TCP4 2001:db8::7 192.0.2.1 8000 80\r\n")],
    ["a port that is none", Buffer.from("PROXY TCP4 192.0.2.7 192.0.2.1 80000 80\r\n")],
    ["too many words", Buffer.from("PROXY TCP4 192.0.2.7 192.0.2.1 8000 80 x\r\n")],
    ["too few words", Buffer.from("PROXY TCP4 192.0.2.7\r\n")],
    ["another version", version2("31", "11", FOUR)],
    ["another command", version2("22", "11", FOUR)],
    ["datagrams", version2("21", "12", FOUR)],
    ["less than the addresses", version2("21", "11", "c0000207")],
    ["more than is held", version2("21", "11", FOUR, PROXY_HEAD_BYTES_MAX)],
  ])("refuse %s", (_, head) => {
    expect(parseProxyHead(head)).toBe("malformed");
  });

  it("are an answer for any bytes", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("", SIGNATURE, "50524f585920"),
        fc.uint8Array({ maxLength: 64 }),
        (start, tail) => {
          const bytes = Buffer.concat([Buffer.from(start, "hex"), tail]);
          const head = parseProxyHead(bytes);
          if (typeof head === "object") expect(head.length).toBeLessThanOrEqual(bytes.length);
        },
      ),
      { numRuns: 300 },
    );
  });
});
