/** Tokens of a running gateway: the look-up over database and list file, and the snapshot that stands in when neither answers. */
import { join } from "node:path";
import type { Logger } from "pino";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { formatProblem } from "../config/problem.ts";
import { TokenLookup } from "../engine/token-lookup.ts";
import type { TokenReader } from "../ports/token-reader.ts";
import { refreshSnapshot, TokenSnapshotFile } from "../stores/snapshot/token-snapshot-file.ts";
import { tokenHash } from "../stores/token-secret.ts";
import type { ProcessMetricsParts } from "./process-metrics.ts";
import { systemClock, systemTimers } from "./system.ts";
import { readTokenFile, TokenSource } from "./token-source.ts";

const STORE_TIMEOUT_MS = 2000;

export interface RunningTokens {
	readonly lookup: TokenLookup;
	readonly snapshot: ProcessMetricsParts["snapshot"];
	/** Another list file, or none. */
	useFile(tokens: TokenReader | undefined): void;
	close(): void;
}

/** Throws a plain sentence when the list file cannot be read. */
export function openTokens(
	config: GatewayConfig["classifier"]["token"],
	dataDir: string,
	database: TokenReader,
	log: Pick<Logger, "error">,
): RunningTokens {
	const reader = new TokenSource(database);
	const file = readTokenFile(config.file);
	if (!file.ok) throw new Error(file.problems.map(formatProblem).join("\n"));
	reader.use(file.tokens);
	const snapshot = config.enableSnapshotCache
		? new TokenSnapshotFile(join(dataDir, "tokens.snapshot"), systemClock.epochNow)
		: undefined;
	const lookup = new TokenLookup(
		{
			cacheTtlMs: config.cacheTtlMs,
			cacheSize: config.localLruSize,
			negativeTtlMs: 5000,
			negativeSize: config.localLruSize,
			failMode: config.failMode,
			failOpenLimit: config.failOpenQuotaLimit,
			storeTimeoutMs: STORE_TIMEOUT_MS,
			storeRetryMs: 1000,
		},
		{
			reader,
			...(snapshot === undefined ? {} : { snapshot }),
			hash: tokenHash,
			clock: systemClock,
			timers: systemTimers,
			onStoreFailure: (error) => log.error({ error: String(error) }, "token store does not answer"),
		},
	);
	let refreshErrors = 0;
	const takeSnapshot = async () => {
		if (snapshot === undefined) return;
		await refreshSnapshot(reader, snapshot).catch((error: unknown) => {
			refreshErrors++;
			log.error({ error: String(error) }, "token snapshot failed");
		});
	};
	// at once, so that a store that fails within the hour leaves nobody unknown
	void takeSnapshot();
	const timer = setInterval(() => void takeSnapshot(), config.snapshotRefreshIntervalMs);
	timer.unref();
	return {
		lookup,
		snapshot: snapshot && {
			size: () => snapshot.size(),
			takenAt: () => snapshot.takenAt(),
			refreshErrors: () => refreshErrors,
		},
		useFile: (tokens) => {
			reader.use(tokens);
			lookup.forgetAll();
			void takeSnapshot();
		},
		close: () => clearInterval(timer),
	};
}
