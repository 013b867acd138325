/** `/metrics` of a gateway that runs: the documented names, a text that Prometheus' own tool accepts, bounded, and for whom. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { OPEN, openTestBed, type TestBed } from "./running-gateway.ts";

/** Design 06 §7, as far as this version has what they measure. */
const NAMES = [
	...["queue_depth", "enqueued_total", "dequeued_total", "timeout_total", "dropped_total", "wait_time_seconds"].map(
		(name) => `tokligence_scheduler_${name}`,
	),
	...[
		"capacity_tps",
		"capacity_qps",
		"utilization_pct",
		"preemptions_total",
		"throughput_tokens",
		"fairness_ratio",
	].map((name) => `tokligence_scheduler_${name}`),
	"tokligence_scheduler_waiting_tokens",
	"tgw_billing_tokens_total",
	"tgw_capacity_internal_tps",
	"tgw_capacity_external_tps",
	"tgw_capacity_max_tps",
	"tgw_header_routing_total",
	"tgw_external_rejected_total",
	"tokligence_time_window_active",
	"tokligence_time_window_applied_total",
	...["used", "limit", "usage_pct", "alerts_total", "borrow_total"].map((name) => `tokligence_quota_${name}`),
	"token_cache_hit_total",
	"token_cache_miss_total",
	"token_routing_degradation_total",
	"snapshot_cache_size",
	"snapshot_cache_age_seconds",
	"snapshot_cache_refresh_errors_total",
	"snapshot_cache_last_refresh_timestamp",
	"tokligence_time_to_first_token_seconds",
	"tokligence_time_per_output_token_seconds",
	"tokligence_request_duration_seconds",
	"tokligence_upstream_errors_total",
	"tokligence_upstream_circuit_state",
	"tokligence_capacity_limit",
	"tokligence_capacity_in_use",
	"tokligence_capacity_hold_seconds_total",
	"tokligence_journal_bytes",
	"tokligence_journal_unsent_records",
	"tokligence_event_loop_delay_seconds",
];
const BUCKET_NAMES = [
	"capacity",
	"guarantee",
	"utilization",
	"upgrades_total",
	"rejections_total",
	"unmapped_total",
].map((name) => `tgw_bucket_${name}`);

async function open(ini: string): Promise<TestBed> {
	const bed = await openTestBed(ini);
	onTestFinished(() => bed.close());
	return bed;
}

async function scrape({ gateway }: TestBed, headers: Record<string, string> = {}) {
	const response = await fetch(`${gateway.adminUrl}/metrics`, { headers });
	return {
		status: response.status,
		type: response.headers.get("content-type"),
		text: await response.text(),
	};
}

async function ask({ gateway }: TestBed, stream = true): Promise<void> {
	const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
		method: "POST",
		headers: { "x-tgw-source": "internal", "x-tgw-environment": "production" },
		body: JSON.stringify({ model: "mock", max_tokens: 8, stream, messages: [{ role: "user", content: "hi" }] }),
	});
	await response.arrayBuffer();
}

function familiesOf(text: string): readonly string[] {
	return [...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]!);
}

function undocumented(families: readonly string[]): readonly string[] {
	const page = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
	return families.filter((name) => !page.includes(`\n| \`${name}\` | `));
}

/** What Prometheus' own tool finds; undefined where it is not installed. */
function complaints(text: string): string | undefined {
	const run = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
	return run.error === undefined ? `${run.stdout}${run.stderr}` : undefined;
}

const TRUSTING = `${OPEN}[classifier.header]\ntrusted_cidrs = 127.0.0.1/32\n`;

test("priority levels: every documented family, counted, and nothing that promtool minds", async () => {
	const bed = await open(TRUSTING);
	await ask(bed);
	await ask(bed, false);
	const { text, type } = await scrape(bed);
	expect(type).toBe("text/plain; version=0.0.4; charset=utf-8");
	const families = familiesOf(text);
	expect(NAMES.filter((name) => !families.includes(name))).toEqual([]);
	expect(new Set(families).size).toBe(families.length);
	expect(undocumented(families)).toEqual([]);
	expect(text).toContain('tokligence_scheduler_dequeued_total{pool="default",priority="0"} 2\n');
	expect(text).toContain('tgw_header_routing_total{source="internal",environment="production"} 2\n');
	expect(text).toContain('tokligence_upstream_circuit_state{provider="default",endpoint="0"} 0\n');
	expect(text).toContain('tokligence_request_duration_seconds_count{pool="default",outcome="completed"} 2\n');
	expect(complaints(text) ?? "").toBe("");
});

test("OpenMetrics when it is asked for", async () => {
	const bed = await open(TRUSTING);
	const { text, type } = await scrape(bed, { accept: "application/openmetrics-text; version=1.0.0" });
	expect(type).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
	expect(text.endsWith("# EOF\n")).toBe(true);
	expect(familiesOf(text)).toContain("tokligence_scheduler_enqueued");
	expect(familiesOf(text)).not.toContain("tokligence_scheduler_enqueued_total");
});

test("a hundred buckets: their own families, and no more series than twenty, the active ones and ranges", async () => {
	const bed = await open(
		`${TRUSTING}[request_scheduler]\nallocator = bucket\nscheduler = atleast\n[allocator.bucket]\nbucket_count = 100\nbase_capacity_rps = 1000\ncapacity_basis = total\ndecay_ratio = 0.97\n`,
	);
	await ask(bed);
	const { text } = await scrape(bed);
	expect(BUCKET_NAMES.filter((name) => !familiesOf(text).includes(name))).toEqual([]);
	expect(undocumented(familiesOf(text))).toEqual([]);
	const depth = text.split("\n").filter((line) => line.startsWith("tokligence_scheduler_queue_depth{"));
	expect(depth).toHaveLength(28);
	expect(depth.at(-1)).toBe('tokligence_scheduler_queue_depth{pool="default",bucket_id="90-99"} 0');
	expect(complaints(text) ?? "").toBe("");
});

test("without a token on loopback only, unless it is said otherwise", async () => {
	const bed = await open(`${TRUSTING}[admin]\nmetrics_public = false\n`);
	const token = readFileSync(join(bed.folder, "admin-token"), "utf8").trim();
	expect((await scrape(bed)).status).toBe(401);
	expect((await scrape(bed, { authorization: "Bearer wrong" })).status).toBe(401);
	expect((await scrape(bed, { authorization: `Bearer ${token}` })).status).toBe(200);
	const basic = Buffer.from(`prometheus:${token}`).toString("base64");
	expect((await scrape(bed, { authorization: `Basic ${basic}` })).status).toBe(200);
});
