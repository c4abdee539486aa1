/**
 * The line or head by which a TCP balancer says whose connection it passes on. A parser of bytes: sockets are in
 * `proxied-connections.ts`. Specification: HAProxy's "The PROXY protocol, versions 1 and 2".
 *
 * Version 1: `PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT\r\n` or `PROXY UNKNOWN …\r\n`, 107 bytes at most.
 *
 *   VERSION 2
 *   OFFSET  SIZE  MEANING
 *   0       12    signature
 *   12      1     version 2 in the high half; command in the low one: 0 LOCAL, 1 PROXY
 *   13      1     family in the high half: 1 IPv4, 2 IPv6; in the low one: 1 stream
 *   14      2     bytes that follow, big-endian
 *   16      4|16  source address; then destination, source port, destination port, further values
 */
import ipaddr from "ipaddr.js";
import { plainAddress } from "../access/client-address.js";

export type ProxyHead =
  | "incomplete"
  | "malformed"
  /** address undefined: the balancer speaks for itself, or does not know. */
  | { readonly length: number; readonly address: string | undefined };

const SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const LINE_START = Buffer.from("PROXY ");
const LINE_BYTES_MAX = 107;
const HEAD_BYTES = 16;
/** Of what follows the head of version 2: addresses and a few values. */
const REST_BYTES_MAX = 4096;
/** What a reader needs to hold at most. */
export const PROXY_HEAD_BYTES_MAX = HEAD_BYTES + REST_BYTES_MAX;

export function parseProxyHead(bytes: Buffer): ProxyHead {
  if (startsAs(bytes, SIGNATURE)) return parseVersion2(bytes);
  if (startsAs(bytes, LINE_START)) return parseVersion1(bytes);
  return "malformed";
}

function startsAs(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.subarray(0, length).equals(start.subarray(0, length));
}

function parseVersion1(bytes: Buffer): ProxyHead {
  const end = bytes.subarray(0, LINE_BYTES_MAX).indexOf("\r\n");
  if (end === -1) return bytes.length >= LINE_BYTES_MAX ? "malformed" : "incomplete";
  const length = end + 2;
  const [, family, source, destination, sourcePort, destinationPort, ...more] = bytes
    .toString("latin1", 0, end)
    .split(" ");
  if (family === "UNKNOWN") return { length, address: undefined };
  if (family !== "TCP4" && family !== "TCP6") return "malformed";
  const isFour = family === "TCP4";
  const areAddresses = [source, destination].every(
    (text = "") => text.includes(":") !== isFour && plainAddress(text) !== undefined,
  );
  const arePorts = [sourcePort, destinationPort].every(
    (text = "") => /^[0-9]{1,5}$/.test(text) && Number(text) <= 0xffff,
  );
  if (!areAddresses || !arePorts || more.length > 0) return "malformed";
  return { length, address: plainAddress(source ?? "") };
}

function parseVersion2(bytes: Buffer): ProxyHead {
  if (bytes.length < HEAD_BYTES) return "incomplete";
  const command = bytes.readUInt8(12);
  const family = bytes.readUInt8(13);
  const rest = bytes.readUInt16BE(14);
  if ((command !== 0x20 && command !== 0x21) || rest > REST_BYTES_MAX) return "malformed";
  const length = HEAD_BYTES + rest;
  if (bytes.length < length) return "incomplete";
  // LOCAL, and families that have no addresses of the internet.
  if (command === 0x20 || family === 0x00) return { length, address: undefined };
  const size = family === 0x11 ? 4 : family === 0x21 ? 16 : 0;
  if (size === 0 || rest < 2 * size + 4) return "malformed";
  const source = ipaddr.fromByteArray([...bytes.subarray(HEAD_BYTES, HEAD_BYTES + size)]);
  return { length, address: plainAddress(source.toString()) };
}
