/** The stores of a data folder, for commands: beside a running gateway (which notices changes within a tenth of a second) or without one. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { defaultRules } from "../core/classify/default-rules.ts";
import type { Stores } from "../ports/stores.ts";
import { openEmbedded } from "../stores/embedded/open.ts";
import { tokenHash } from "../stores/token-secret.ts";

export { tokenHash };

/** Rejects with a plain sentence when the folder cannot be used. */
export function openStores(dataDir: string): Promise<Stores> {
	mkdirSync(dataDir, { recursive: true, mode: 0o700 });
	return openEmbedded({ path: join(dataDir, "tokligence.db"), thread: false }, Date.now, defaultRules(5));
}
