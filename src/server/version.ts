/** The version that stands in package.json, and how the server names itself on the wire. */
import { createRequire } from "node:module";

const manifest = createRequire(import.meta.url)("../../../package.json") as { readonly version: string };

export const VERSION = manifest.version;
export const AGENT = `gitwharf/${VERSION}`;
