/** `gitwharf/storage-contract-suites`: what any storage backend must keep, as tests. See `suite-runner.ts` for use. */
export { type OpenedRefStore, type RefStoreBackend, refStoreSuite } from "./ref-store-suite.js";
export { repositoryStoreSuite } from "./repository-store-suite.js";
export { packMaintenanceSuite } from "./pack-maintenance-suite.js";
export { repositorySuite, type RepositorySuiteOptions } from "./repository-suite.js";
export { type OpenedStore, type StoreBackend, type SuiteRunner } from "./suite-runner.js";
export {
  type BucketBackend,
  bucketSuite,
  type OpenedBucket,
} from "../../object-store/bucket/bucket-suite.js";
