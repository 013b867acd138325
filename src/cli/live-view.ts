/** What the running gateway says of itself at one moment, and the texts that `status` and `top` make of it. */
import { type AdminClient, callJson, queryOf } from "./admin-client.ts";
import { type Item, table } from "./store-access.ts";

export interface PoolStatus {
	readonly pool: string;
	readonly pools: readonly string[];
	readonly allocator: string;
	readonly scheduler: string;
	readonly queues: readonly QueueStatus[];
	readonly capacity: {
		readonly current_tps: number;
		readonly max_tps: number | null;
		readonly utilization_pct: number;
		readonly active_requests: number;
		readonly mode: string;
		readonly endpoints: number;
		readonly endpoints_up: number;
		readonly max_concurrent: number | null;
		readonly in_flight_tokens: number;
		readonly max_inflight_tokens: number | null;
	};
	readonly preemptions_total: number;
	/** Of a half of a pool. */
	readonly router?: { readonly share_pct: number; readonly traffic_pct: number | null };
}

export interface QueueStatus {
	readonly label: string;
	readonly name: string;
	readonly current_depth: number;
	readonly in_flight: number;
	readonly avg_wait_ms: number;
	readonly total_enqueued: number;
	readonly total_dequeued: number;
	readonly total_timeout: number;
	readonly total_dropped: number;
	readonly paused: boolean;
	readonly weight: number;
	readonly max_depth: number | null;
	readonly reserved_tps: number;
	readonly limit_tps: number | null;
	readonly limit_rps: number | null;
}

/** What the whole gateway promised, and how it stands. */
export interface Promises {
	readonly capacity: CapacityStatus;
	readonly windows: readonly Item[];
	/** Budgets near their limit, fullest first. */
	readonly budgets: readonly Item[];
}

interface CapacityStatus {
	readonly max_tps: number | null;
	readonly internal_tps: number;
	readonly internal_usage_pct: number | null;
	readonly external_allowed: boolean;
	readonly guard: {
		readonly enabled: boolean;
		readonly internal_limit_pct: number;
		readonly opens_in_sec: number | null;
		readonly held: number;
		readonly rejected_total: number;
	};
	readonly providers: readonly { readonly pool: string; readonly headroom_pct: number }[];
}

const NEARLY_SPENT_PCT = 80;
const SHOWN_BUDGETS = 5;

export async function promisesNow(client: AdminClient): Promise<Promises> {
	const [capacity, preview, quotas] = await Promise.all([
		callJson<CapacityStatus>(client, "GET", "/capacity/status"),
		callJson<{ readonly windows: readonly Item[] }>(client, "GET", "/time-windows/preview"),
		callJson<{ readonly quotas: readonly Item[] }>(
			client,
			"GET",
			`/quotas${queryOf({ min_usage_pct: NEARLY_SPENT_PCT, limit: SHOWN_BUDGETS })}`,
		),
	]);
	return { capacity, windows: preview.windows, budgets: quotas.quotas };
}

/** Undefined where nothing was promised. */
export function promisesText({ capacity, windows, budgets }: Promises): string | undefined {
	const lines = [
		...guardLines(capacity),
		...windows.map((window) => `time window ${window["name"]} holds until ${window["active_until"]}`),
		...budgets.map((budget) => {
			const where = budget["environment"] === null ? budget["node"] : `${budget["node"]} in ${budget["environment"]}`;
			return `budget of ${where}: ${budget["used_value"]} of ${budget["limit_value"]} ${budget["limit_dimension"]} used (${budget["usage_pct"]} %), until ${budget["window_end"]}`;
		}),
	];
	return lines.length === 0 ? undefined : lines.join("\n");
}

function guardLines({ guard, external_allowed: isOpen, max_tps: max, ...usage }: CapacityStatus): readonly string[] {
	if (!guard.enabled) return [];
	const state = isOpen ? "open" : `closed to external work for ${guard.opens_in_sec} s at least`;
	const use = `internal ${Math.round(usage.internal_tps)} of ${max} tokens/s (${Math.round(usage.internal_usage_pct ?? 0)} %, limit ${guard.internal_limit_pct} %)`;
	return [`capacity guard ${state}: ${use}, ${guard.held} held, ${guard.rejected_total} refused`];
}

/** Of one pool, or of all. */
export async function poolStatuses(client: AdminClient, pool: string | undefined): Promise<readonly PoolStatus[]> {
	const ask = (name: string | undefined) =>
		callJson<PoolStatus>(client, "GET", `/scheduler/status${queryOf({ pool: name })}`);
	const first = await ask(pool);
	const others = pool === undefined ? first.pools.slice(1) : [];
	return [first, ...(await Promise.all(others.map(ask)))];
}

export async function busiestAccounts(
	client: AdminClient,
	pool: string | undefined,
	limit: number,
): Promise<readonly Item[]> {
	const answer = await callJson<{ readonly accounts: readonly Item[] }>(
		client,
		"GET",
		`/scheduler/accounts${queryOf({ pool, limit })}`,
	);
	return answer.accounts;
}

/** `before`: the same pool some seconds earlier, for rates. */
export function poolText(
	status: PoolStatus,
	before?: { readonly status: PoolStatus; readonly seconds: number },
): string {
	const { pool, allocator, scheduler, capacity } = status;
	const endpoints =
		capacity.endpoints_up === capacity.endpoints
			? ""
			: `, ${capacity.endpoints_up} of ${capacity.endpoints} endpoints up`;
	const isAny = (of: (queue: QueueStatus) => number | null) => status.queues.some((queue) => (of(queue) ?? 0) > 0);
	const columns = {
		reserved: isAny((queue) => queue.reserved_tps),
		tps: isAny((queue) => queue.limit_tps),
		rps: isAny((queue) => queue.limit_rps),
	};
	const rows = status.queues.map((queue, index) => {
		const earlier = before?.status.queues[index];
		const served =
			earlier === undefined || before === undefined
				? { served: queue.total_dequeued }
				: { "served/s": rate(queue.total_dequeued - earlier.total_dequeued, before.seconds) };
		return {
			queue: queue.label,
			name: queue.name,
			waiting: queue.current_depth,
			running: queue.in_flight,
			avg_wait: durationText(queue.avg_wait_ms),
			...served,
			timeouts: queue.total_timeout,
			dropped: queue.total_dropped,
			weight: Number(queue.weight.toPrecision(4)),
			...(columns.reserved ? { "reserved/s": queue.reserved_tps === 0 ? "-" : queue.reserved_tps } : {}),
			...(columns.tps ? { "at most/s": limitText(queue.limit_tps) } : {}),
			...(columns.rps ? { "requests/s": limitText(queue.limit_rps) } : {}),
			state: queue.paused ? "paused" : "open",
		};
	});
	return [
		`pool ${pool}: ${allocator} allocator, ${scheduler} scheduler${endpoints}${routerText(status)}`,
		[
			`${of(capacity.active_requests, capacity.max_concurrent)} running`,
			`${of(capacity.in_flight_tokens, capacity.max_inflight_tokens)} tokens in flight`,
			`${of(capacity.current_tps, capacity.max_tps)} tokens/s`,
			`${Math.round(capacity.utilization_pct)} % used (${capacity.mode})`,
			`${status.preemptions_total} preemptions`,
		].join(", "),
		table(Object.keys(rows[0] ?? {}), rows),
	].join("\n");
}

function routerText({ router }: PoolStatus): string {
	if (router === undefined) return "";
	const percent = (value: number) => `${Number(value.toPrecision(3))} %`;
	const came = router.traffic_pct === null ? "" : `; ${percent(router.traffic_pct)} of the requests came here`;
	return `, ${percent(router.share_pct)} of capacity and accounts${came}`;
}

export function accountsText(accounts: readonly Item[]): string {
	if (accounts.length === 0) return "nobody waits, runs, or has been served within the last minute";
	const rows = accounts.map((one) => ({
		account: one["account_id"],
		waiting: one["waiting"],
		running: one["running"],
		longest_wait: durationText(Number(one["longest_wait_ms"])),
		"tokens in a minute": one["recent_tokens"],
		"ended in a minute": one["recent_requests"],
	}));
	return table(Object.keys(rows[0]!), rows);
}

export function durationText(ms: number): string {
	if (ms < 1000) return `${Math.round(ms)} ms`;
	return ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}

function limitText(limit: number | null): string {
	return limit === null ? "-" : String(Number(limit.toPrecision(4)));
}

function of(used: number, limit: number | null): string {
	return limit === null ? `${Math.round(used)}` : `${Math.round(used)} of ${Math.round(limit)}`;
}

function rate(count: number, seconds: number): string {
	return seconds <= 0 ? "-" : (Math.max(0, count) / seconds).toFixed(1);
}
