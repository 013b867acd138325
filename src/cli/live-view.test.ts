import { expect, test } from "vitest";
import { type Promises, poolText, promisesText } from "./live-view.ts";

const CAPACITY: Promises["capacity"] = {
	max_tps: 1000,
	internal_tps: 950,
	internal_usage_pct: 95,
	external_allowed: false,
	guard: { enabled: true, internal_limit_pct: 90, opens_in_sec: 42, held: 3, rejected_total: 7 },
	providers: [{ pool: "default", headroom_pct: 3 }],
};

test("what was promised: the guard's state, windows that hold, budgets nearly spent", () => {
	const budget = {
		node: "account:acme",
		environment: null,
		used_value: 95,
		limit_value: 100,
		limit_dimension: "tokens_per_day",
		usage_pct: 95,
		window_end: "2026-11-28T00:00:00.000Z",
	};
	const windows = [{ name: "Night", active_until: "2026-11-28T06:00:00.000Z" }];
	const lines = promisesText({ capacity: CAPACITY, windows, budgets: [budget] })!.split("\n");
	expect(lines).toEqual([
		"capacity guard closed to external work for 42 s at least: internal 950 of 1000 tokens/s (95 %, limit 90 %), 3 held, 7 refused",
		"time window Night holds until 2026-11-28T06:00:00.000Z",
		"budget of account:acme: 95 of 100 tokens_per_day used (95 %), until 2026-11-28T00:00:00.000Z",
	]);
	const guard = { ...CAPACITY.guard, enabled: false };
	expect(promisesText({ capacity: { ...CAPACITY, guard }, windows: [], budgets: [] })).toBeUndefined();
});

test("reservations and limits have columns where any queue has one", () => {
	const queue = (reserved: number, limit: number | null) => ({
		label: "P0",
		name: "critical",
		current_depth: 0,
		in_flight: 0,
		avg_wait_ms: 0,
		total_enqueued: 0,
		total_dequeued: 0,
		total_timeout: 0,
		total_dropped: 0,
		paused: false,
		weight: 1,
		max_depth: null,
		reserved_tps: reserved,
		limit_tps: limit,
		limit_rps: null,
	});
	const status = {
		pool: "default",
		pools: ["default"],
		allocator: "priority",
		scheduler: "strict",
		capacity: {
			current_tps: 0,
			max_tps: null,
			utilization_pct: 0,
			active_requests: 0,
			mode: "static",
			endpoints: 1,
			endpoints_up: 1,
			max_concurrent: 8,
			in_flight_tokens: 0,
			max_inflight_tokens: null,
		},
		preemptions_total: 0,
	};
	const plain = poolText({ ...status, queues: [queue(0, null)] });
	expect(plain).not.toContain("RESERVED/S");
	const rich = poolText({ ...status, queues: [queue(800, null), queue(0, 900)] });
	expect(rich).toMatch(/RESERVED\/S {2}AT MOST\/S/);
	expect(rich).not.toContain("REQUESTS/S");
});
