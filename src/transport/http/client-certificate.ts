/** The certificate that came with the TLS handshake, as the access layer reads it. */
import type { PeerCertificate, TLSSocket } from "node:tls";
import type { ClientCertificate } from "../../access/authenticator.js";
import type { HttpRequest } from "./request-body.js";

/** undefined when there is none: plain HTTP, no certificate asked for, none offered. */
export function clientCertificateOf(request: HttpRequest): ClientCertificate | undefined {
  const socket = "stream" in request ? request.stream.session?.socket : request.socket;
  const tls = socket as Partial<TLSSocket> | undefined;
  // Not `in`: what HTTP/2 hands out stands for its socket and answers that with no.
  if (typeof tls?.getPeerCertificate !== "function") return undefined;
  const certificate = tls.getPeerCertificate() as Partial<PeerCertificate> | null;
  // Without one, Node answers with an object that has nothing in it.
  if (certificate?.fingerprint256 === undefined) return undefined;
  return {
    isTrusted: tls.authorized === true,
    subject: { ...certificate.subject },
    alternativeNames: splitAlternativeNames(certificate.subjectaltname ?? ""),
    fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
  };
}

/** `DNS:a, email:b`; a value that holds a comma or a quote stands in JSON quotes. */
export function splitAlternativeNames(text: string): readonly string[] {
  const names: string[] = [];
  for (const match of text.matchAll(/\s*([^:,\s]+(?: [^:,\s]+)*):("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)/g)) {
    const [, kind = "", value = ""] = match;
    names.push(`${kind}:${value.startsWith('"') ? unquote(value) : value}`);
  }
  return names;
}

function unquote(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text;
  }
}
