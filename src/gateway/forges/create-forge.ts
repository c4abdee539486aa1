/** A forge by its name in the gateway's addresses. The SDK of one that is not configured is not loaded. */
import type { Forge } from "./forge.js";
import { type ForgeSettings, forgePlace } from "./forge-settings.js";
import { createTokenPool } from "./token-pool.js";

/** @throws server/bad-configuration */
export async function createForge(settings: ForgeSettings): Promise<Forge> {
  const place = forgePlace(settings);
  const pool = createTokenPool(settings.tokens ?? [], place.host);
  if (place.name === "gh") return (await import("./github-forge.js")).createGitHubForge(place, pool);
  if (place.name === "gl") return (await import("./gitlab-forge.js")).createGitLabForge(place, pool);
  return (await import("./gitea-forge.js")).createGiteaForge(place, pool);
}
