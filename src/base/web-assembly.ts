/**
 * The little of WebAssembly that is used, typed: the `WebAssembly` global is declared only in the browsers' library,
 * which a server does not load.
 */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}
export interface WasmGlobal {
  value: number;
}
export type WasmExports = Readonly<
  Record<string, ((...values: number[]) => number) | WasmMemory | WasmGlobal>
>;
export type WasmModule = object & { readonly wasmModule?: never };

interface Api {
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Instance: new (module: WasmModule) => { readonly exports: WasmExports };
}

const { WebAssembly: api } = globalThis as unknown as { readonly WebAssembly: Api };

export function compileWasm(bytes: Uint8Array): WasmModule {
  return new api.Module(bytes);
}

/** Of a module that imports nothing. */
export function instantiateWasm(module: WasmModule): WasmExports {
  return new api.Instance(module).exports;
}
