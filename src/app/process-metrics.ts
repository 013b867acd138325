/** Families of `/metrics` that are not of the scheduler: tokens and their caches, upstreams, journal, event loop. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { EpochMillis } from "../core/model/units.ts";
import type { TokenLookupCounters } from "../engine/token-lookup.ts";
import type { EndpointHealth } from "../providers/provider-set.ts";
import { type FamilyType, MetricsText } from "../telemetry/metrics-text.ts";

const NANOSECONDS = 1e9;
/** The delay shown is that of the last whole period, whoever scrapes. */
const DELAY_PERIOD_MS = 10_000;
const CIRCUIT: Readonly<Record<EndpointHealth, number>> = { up: 0, recovering: 1, down: 2 };

export interface ProcessMetricsParts {
	readonly tokens: TokenLookupCounters;
	/** Absent when no snapshot is kept. */
	readonly snapshot:
		| { size(): number; takenAt(): EpochMillis | undefined; readonly refreshErrors: () => number }
		| undefined;
	readonly epochNow: () => EpochMillis;
	readonly journal: () => { readonly bytes: number; readonly unsentRecords: number };
	/** By pool: its name, and the health of its endpoints. */
	readonly upstreams: () => readonly { readonly provider: string; readonly endpoints: readonly EndpointHealth[] }[];
	/** Forwarded requests that went wrong, by pool and kind. */
	readonly upstreamErrors: () => Iterable<readonly [provider: string, kind: string, count: number]>;
}

/** Answers what to add at each scrape, and how to stop measuring. */
export function processMetrics(parts: ProcessMetricsParts): { readonly lines: () => Iterable<string>; close(): void } {
	const eventLoop = monitorEventLoopDelay({ resolution: 20 });
	eventLoop.enable();
	let delayS = 0;
	const timer = setInterval(() => {
		delayS = eventLoop.percentile(99) / NANOSECONDS;
		eventLoop.reset();
	}, DELAY_PERIOD_MS);
	timer.unref();
	return {
		lines: () => {
			const text = new MetricsText();
			tokenFamilies(text, parts);
			upstreamFamilies(text, parts);
			const { bytes, unsentRecords } = parts.journal();
			text.single("tokligence_journal_bytes", "gauge", "Size of the journal on disk.", bytes);
			text.single(
				"tokligence_journal_unsent_records",
				"gauge",
				"Records that the ledger has not taken yet.",
				unsentRecords,
			);
			const help = "P99 of how late timers were in the last 10 s; 0 until then.";
			text.single("tokligence_event_loop_delay_seconds", "gauge", help, delayS);
			return text.toString().trimEnd().split("\n");
		},
		close: () => {
			clearInterval(timer);
			eventLoop.disable();
		},
	};
}

function tokenFamilies(text: MetricsText, { tokens, snapshot, epochNow }: ProcessMetricsParts): void {
	const family = (name: string, help: string, label: string, values: Readonly<Record<string, number>>) => {
		text.family(name, "counter", help);
		for (const [value, count] of Object.entries(values)) text.sample(name, { [label]: value }, count);
	};
	family("token_cache_hit_total", "Tokens found, by where.", "layer", {
		local: tokens.cacheHits,
		negative: tokens.negativeHits,
		database: tokens.storeHits,
		snapshot: tokens.snapshotHits,
	});
	family("token_cache_miss_total", "Tokens found nowhere, by why.", "reason", {
		unknown: tokens.unknown,
		store_failure: tokens.storeFailures,
	});
	family("token_routing_degradation_total", "Requests decided without a store, by how.", "mode", {
		snapshot: tokens.snapshotHits,
		fail_open: tokens.failedOpen,
		fail_close: tokens.failedClosed,
	});
	if (snapshot === undefined) return;
	const takenAt = snapshot.takenAt();
	const single = (name: string, type: FamilyType, help: string, value: number) => text.single(name, type, help, value);
	single("snapshot_cache_size", "gauge", "Tokens in the snapshot.", snapshot.size());
	single(
		"snapshot_cache_refresh_errors_total",
		"counter",
		"Snapshots that could not be taken.",
		snapshot.refreshErrors(),
	);
	if (takenAt === undefined) return;
	single("snapshot_cache_age_seconds", "gauge", "Age of the snapshot.", Math.max(0, epochNow() - takenAt) / 1000);
	single(
		"snapshot_cache_last_refresh_timestamp",
		"gauge",
		"When the snapshot was taken, in seconds since 1970.",
		takenAt / 1000,
	);
}

function upstreamFamilies(text: MetricsText, { upstreams, upstreamErrors }: ProcessMetricsParts): void {
	const errors = "tokligence_upstream_errors_total";
	text.family(errors, "counter", "Forwarded requests that went wrong, by kind.");
	for (const [provider, kind, count] of upstreamErrors()) text.sample(errors, { provider, kind }, count);
	const state = "tokligence_upstream_circuit_state";
	text.family(state, "gauge", "0 closed (up), 1 half open (recovering), 2 open (down).");
	for (const { provider, endpoints } of upstreams()) {
		for (const [endpoint, health] of endpoints.entries()) text.sample(state, { provider, endpoint }, CIRCUIT[health]);
	}
}
