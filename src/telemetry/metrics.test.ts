import { expect, test } from "vitest";
import { priorityQueues } from "../core/allocate/priority-allocator.ts";
import { coreSettings, DEFAULT_CAPACITY } from "../core/schedule/core-settings.ts";
import { flowPath } from "../core/schedule/flow-path.ts";
import { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import { submitRequest } from "../core/schedule/submit-request.ts";
import { Histogram } from "./histogram.ts";
import { Metrics } from "./metrics.ts";
import { asOpenMetrics, MetricsText, wantsOpenMetrics } from "./metrics-text.ts";

let now = 0;

function setUp(scheduler: "wfq" | "strict" = "wfq") {
	now = 0;
	const core = new SchedulingCore(
		coreSettings({
			scheduler,
			queues: priorityQueues({ levels: 2, defaultPriority: 1 }),
			pools: [{ name: 'a"b', endpoints: 1, capacity: { ...DEFAULT_CAPACITY, maxConcurrent: 1, headroom: 0 } }],
		}),
	);
	const metrics = new Metrics(core, {
		now: () => now,
		exposure: { maxExposed: 20, inactiveMs: 1000, ranges: true },
		buckets: () => undefined,
	});
	const submit = (queue: number) => {
		const ticket = core.submit(
			submitRequest({ queue, flow: flowPath(["x"]), promptTokens: 10, completionTokens: 10 }),
			now,
		);
		drain();
		return ticket;
	};
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			const { kind, queue, reason, waitMs, payer, pool } = decision;
			metrics.decision(kind, queue, reason, waitMs, payer, pool);
		}
	};
	const value = (series: string) => {
		const line = metrics
			.render()
			.split("\n")
			.find((one) => one.startsWith(`${series} `));
		return line === undefined ? undefined : Number(line.slice(series.length + 1));
	};
	return { core, metrics, submit, drain, value };
}

const POOL = 'pool="a\\"b"';

test("queues, waits and drops are counted with pool and queue", () => {
	const { core, submit, drain, value } = setUp();
	const first = submit(0);
	submit(1);
	now = 250;
	core.clear(0, 1, now);
	drain();
	core.finish(first, { promptTokens: 10, completionTokens: 5, cachedTokens: 0 }, now);
	drain();
	expect(value(`tokligence_scheduler_enqueued_total{${POOL},priority="1"}`)).toBe(1);
	expect(value(`tokligence_scheduler_dropped_total{${POOL},priority="1",reason="queue_cleared"}`)).toBe(1);
	expect(value(`tokligence_scheduler_wait_time_seconds_count{${POOL},priority="0"}`)).toBe(1);
	expect(value(`tokligence_capacity_hold_seconds_total{${POOL}}`)).toBe(0.25);
	expect(value(`tokligence_scheduler_capacity_tps{${POOL},type="max"}`)).toBe(Number.NaN);
});

test("an end adds tokens, durations and the time per token", () => {
	const { metrics, value } = setUp();
	metrics.ended({
		queue: 1,
		pool: 0,
		outcome: "completed",
		durationMs: 1100,
		ttftMs: 100,
		usage: { promptTokens: 7, completionTokens: 11, cachedTokens: 0, source: "measured" },
		arrival: {
			metadata: { tier: "internal", environment: "qa-of-a-client", accountId: "a", routedBy: "header" },
			allocation: { queue: 1, mode: "atleast", via: "unmapped", unmapped: true },
		},
	});
	metrics.ended({ queue: -1, outcome: "refused", code: "unknown_token", durationMs: 1 });
	expect(value(`tgw_billing_tokens_total{${POOL},kind="completion"}`)).toBe(11);
	expect(value(`tokligence_time_per_output_token_seconds_sum{${POOL},priority="1"}`)).toBeCloseTo(0.1);
	expect(value(`tokligence_request_duration_seconds_count{${POOL},outcome="completed"}`)).toBe(1);
	expect(value('tokligence_request_duration_seconds_count{pool="",outcome="refused"}')).toBe(1);
	expect(value('tokligence_scheduler_refused_total{code="unknown_token"}')).toBe(1);
	expect(value('tgw_header_routing_total{source="internal",environment="other"}')).toBe(1);
});

test("fairness compares what was served with the weights of those that wait", () => {
	const { submit, metrics, value, core } = setUp();
	submit(0);
	for (const queue of [0, 1, 0, 1]) submit(queue);
	const ended = (queue: number, completionTokens: number) =>
		metrics.ended({
			queue,
			pool: 0,
			outcome: "completed",
			durationMs: 1,
			usage: { promptTokens: 0, completionTokens, cachedTokens: 0, source: "measured" },
		});
	const [better, worse] = core.pools[0]!.weights;
	now = 1;
	ended(0, 100);
	ended(1, 100);
	now = 1000;
	const fair = (queue: number) => value(`tokligence_scheduler_fairness_ratio{${POOL},priority="${queue}"}`)!;
	expect(fair(0)).toBeCloseTo(0.5 / (better! / (better! + worse!)));
	expect(fair(1)).toBeCloseTo(0.5 / (worse! / (better! + worse!)));
	expect(setUp("strict").metrics.render()).not.toContain("fairness");
});

test("every family is described once, before its samples", () => {
	const { metrics } = setUp();
	const seen = new Set<string>();
	let family = "";
	for (const line of metrics.render().trimEnd().split("\n")) {
		const type = /^# TYPE (\S+) /.exec(line);
		if (type !== null) {
			family = type[1]!;
			expect(seen.has(family)).toBe(false);
			seen.add(family);
		} else if (!line.startsWith("#")) expect(line.startsWith(family)).toBe(true);
	}
});

test("OpenMetrics: counters' families lose their suffix, the samples keep it, and the end is marked", () => {
	const text = new MetricsText();
	text.single("a_total", "counter", "An a_total of things.", 3, { x: 'q"\\\n' });
	text.single("b_bytes", "gauge", "B.", Number.POSITIVE_INFINITY);
	expect(asOpenMetrics(text.toString())).toBe(
		'# HELP a An a_total of things.\n# TYPE a counter\na_total{x="q\\"\\\\\\n"} 3\n# HELP b_bytes B.\n# TYPE b_bytes gauge\nb_bytes +Inf\n# EOF\n',
	);
	expect(wantsOpenMetrics("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")).toBe(true);
	expect(wantsOpenMetrics("text/plain")).toBe(false);
	expect(wantsOpenMetrics(undefined)).toBe(false);
});

test("histograms add up", () => {
	const a = new Histogram([1, 2]);
	const b = new Histogram([1, 2]);
	a.observe(1);
	b.observe(1.5);
	b.observe(9);
	a.add(b);
	const text = new MetricsText();
	a.write(text, "h", {});
	expect(text.toString().trimEnd().split("\n")).toEqual([
		'h_bucket{le="1"} 1',
		'h_bucket{le="2"} 2',
		'h_bucket{le="+Inf"} 3',
		"h_sum 11.5",
		"h_count 3",
	]);
});
