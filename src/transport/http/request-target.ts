/**
 * What a request asks for, from its method-independent part: path and query.
 * Specification: gitprotocol-http; the routes are those of git-http-backend.
 */
import { GitwharfError } from "../../base/errors.js";
import { parseRepositoryName } from "../../storage/contracts/repository-name.js";

export type ServiceName = "git-upload-pack" | "git-receive-pack";

export type RequestTarget =
  | { readonly kind: "info-refs"; readonly repository: string; readonly service: string | undefined }
  | { readonly kind: "service"; readonly repository: string; readonly service: ServiceName }
  /** Dumb protocol: a file of the repository, relative path. */
  | { readonly kind: "file"; readonly repository: string; readonly path: string }
  | { readonly kind: "bundle"; readonly repository: string; readonly id: string };

const FILE =
  /^(.+?)\/(HEAD|objects\/info\/(?:packs|alternates|http-alternates)|objects\/[0-9a-f]{2}\/[0-9a-f]{38}(?:[0-9a-f]{24})?|objects\/pack\/pack-[0-9a-f]{40}(?:[0-9a-f]{24})?\.(?:pack|idx))$/;

const BUNDLE = /^(.+?)\/bundles\/([0-9a-f-]{36})\.bundle$/;

/**
 * @param url path and query as in a request line, below the prefix under which the handler is mounted
 * @param parseName what may be called a repository
 * @returns undefined when no route fits
 * @throws storage/bad-name when a route fits but the name cannot be a repository's
 */
export function parseRequestTarget(
  url: string,
  parseName: (text: string) => string = parseRepositoryName,
): RequestTarget | undefined {
  const question = url.indexOf("?");
  const path = decodePath(question < 0 ? url : url.slice(0, question));
  if (path === undefined) return undefined;
  const query = new URLSearchParams(question < 0 ? "" : url.slice(question + 1));
  const name = (text: string): string => parseName(text.slice(1));
  if (path.endsWith("/info/refs")) {
    return {
      kind: "info-refs",
      repository: name(path.slice(0, -"/info/refs".length)),
      service: query.get("service") ?? undefined,
    };
  }
  for (const service of ["git-upload-pack", "git-receive-pack"] as const) {
    if (path.endsWith(`/${service}`)) {
      return { kind: "service", repository: name(path.slice(0, -service.length - 1)), service };
    }
  }
  const file = FILE.exec(path);
  if (file?.[1] !== undefined && file[2] !== undefined) {
    return { kind: "file", repository: name(file[1]), path: file[2] };
  }
  const bundle = BUNDLE.exec(path);
  if (bundle?.[1] !== undefined && bundle[2] !== undefined)
    return { kind: "bundle", repository: name(bundle[1]), id: bundle[2] };
  return undefined;
}

/** Decoded once; an encoded slash, a backslash, NUL or broken encoding names nothing here. */
function decodePath(path: string): string | undefined {
  if (!path.startsWith("/") || /%2f|%5c|%00/i.test(path) || path.length > 4096) return undefined;
  try {
    const decoded = decodeURIComponent(path);
    return decoded.includes("\\") || decoded.includes("\0") ? undefined : decoded;
  } catch {
    throw new GitwharfError("storage/bad-name", "the path of the request is not valid percent-encoding");
  }
}
