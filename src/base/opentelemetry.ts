/**
 * OpenTelemetry's API, in the build for CommonJS: prom-client loads that one in any case, and the one for ECMAScript modules would
 * be fifty files more at each start. Either finds what an application has registered with the other.
 */
import { createRequire } from "node:module";
import type * as library from "@opentelemetry/api";

export const { context, propagation, SpanKind, SpanStatusCode, trace } = createRequire(import.meta.url)(
  "@opentelemetry/api",
) as typeof library;
