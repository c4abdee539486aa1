/** A task for worker-pool.test.ts whose module takes some hundred files to load. */
import { Kysely } from "kysely";

export default function run(): string {
  return Kysely.name;
}
