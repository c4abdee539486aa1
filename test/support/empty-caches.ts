/** Before each test file: nothing is known of what those before it in the same process have read. Most tests make the same commits. */
import { emptyProcessCaches } from "../../src/base/process-caches.js";

emptyProcessCaches();
