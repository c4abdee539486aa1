/**
 * Compiles `assembly/` to WebAssembly and puts it beside the compiled module that loads it. Run by `npm run build`,
 * after the TypeScript compiler.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { compileWasm, instantiateWasm } from "../../src/base/web-assembly.js";
import { unrolledSource } from "./unrolled-source.js";

const ROOT = new URL("../../../", import.meta.url);
const TARGET = new URL("../../src/object/collision-detection.wasm", import.meta.url);
const STATIC_END_MAX = 16_384;

/** What is used of the compiler. Its own declarations bring AssemblyScript's globals with them, in place of Node's. */
interface AssemblyScriptCompiler {
  main(
    argv: readonly string[],
    files: {
      readFile(name: string): string | null;
      writeFile(name: string, contents: string | Uint8Array): void;
      listFiles(): string[];
    },
  ): Promise<{ readonly error: Error | null; readonly stderr: object }>;
}
const COMPILER: string = "assemblyscript/asc";
const { default: asc } = (await import(COMPILER)) as { readonly default: AssemblyScriptCompiler };

const sources: Readonly<Record<string, string>> = {
  "collision-detection.ts": await readFile(new URL("assembly/collision-detection.ts", ROOT), "utf8"),
  "memory-layout.ts": await readFile(new URL("assembly/memory-layout.ts", ROOT), "utf8"),
  "unrolled.ts": unrolledSource(),
};
const written = new Map<string, Uint8Array>();
const { error, stderr } = await asc.main(
  (
    "collision-detection.ts --outFile collision-detection.wasm --runtime stub --use abort= --enable simd " +
    "--initialMemory 3 --maximumMemory 3 --optimizeLevel 3 --shrinkLevel 0 --noAssert"
  ).split(" "),
  {
    readFile: (name) => sources[name] ?? null,
    writeFile: (name, contents) =>
      void written.set(name, typeof contents === "string" ? Buffer.from(contents) : contents),
    listFiles: () => [],
  },
);
const wasm = written.get("collision-detection.wasm");
if (error || wasm === undefined) {
  process.stderr.write(String(stderr));
  throw error ?? new Error("the AssemblyScript compiler wrote nothing");
}
const { staticEnd } = instantiateWasm(compileWasm(wasm));
if (typeof staticEnd !== "function" || staticEnd() > STATIC_END_MAX)
  throw new Error("the static data of the WebAssembly module runs into its working memory");
await mkdir(new URL("./", TARGET), { recursive: true });
await writeFile(fileURLToPath(TARGET), wasm);
