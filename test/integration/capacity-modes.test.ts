/** Where a running gateway takes its room from: the engine's own word, a benchmark report, or a controller that follows the engine. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ENGINE_PROFILES } from "../../src/simulate/engine-profiles.ts";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const ENGINE = ENGINE_PROFILES["a100-8b"];
const VLLM = `${OPEN}[provider.default]\nengine = vllm\n`;

async function open(ini: string): Promise<TestBed> {
	const bed = await openTestBed(ini, { profile: ENGINE, speed: 50 });
	onTestFinished(() => bed.close());
	return bed;
}

const capacity = (bed: TestBed) => bed.gateway.plane.engine.core.pools[0]!.capacity;

function ask(bed: TestBed, tokens: number, prompt = "hi"): Promise<Response> {
	return fetch(`${bed.gateway.dataUrl}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", "x-mock-output-tokens": String(tokens) },
		body: JSON.stringify({
			model: "mock",
			max_tokens: tokens,
			stream: true,
			messages: [{ role: "user", content: prompt }],
		}),
	});
}

test("mode = engine: the size of the engine's cache is the budget, unless it is configured", async () => {
	const bed = await open(VLLM);
	expect(capacity(bed)).toMatchObject({ maxConcurrent: 256, maxInflightTokens: ENGINE.kvTokens });
	expect(bed.gateway.notices.join("\n")).toContain(`the engine says it has room for ${ENGINE.kvTokens} tokens`);
	const own = await open(`${VLLM}mode = engine\nmax_inflight_tokens = 5000\n`);
	expect(capacity(own).maxInflightTokens).toBe(5000);
	const silent = await open(OPEN);
	expect(capacity(silent).maxConcurrent).toBe(64);
	expect(silent.gateway.notices.join("\n")).toContain("max_concurrent = 64 is assumed");
});

test("mode = measured: the report's concurrency; without one what degradation_mode says", async () => {
	const folder = mkdtempSync(join(tmpdir(), "report-"));
	onTestFinished(() => rmSync(folder, { recursive: true }));
	const path = join(folder, "report.json");
	const ini = `${VLLM}capacity_from = ${path}\nestimated_max_concurrent = 11\n`;
	const without = await open(ini);
	expect(capacity(without)).toMatchObject({ maxConcurrent: 11, maxTokensPerSec: 5000 });
	await expect(open(`${ini}degradation_mode = fail_closed\n`)).rejects.toThrow("cannot be read (ENOENT)");
	writeFileSync(path, JSON.stringify({ results: { recommended_max_concurrent: 108, recommended_safe_tps: 9000 } }));
	expect(capacity(await open(ini))).toMatchObject({ maxConcurrent: 108, maxTokensPerSec: Number.POSITIVE_INFINITY });
});

test("mode = adaptive: the limit grows with what waits, and all is given back", async () => {
	const bed = await open(`${VLLM}mode = adaptive\nheadroom = auto\ntarget_ttft_p99 = 5s\nmax_prefill_tokens = off\n`);
	expect(capacity(bed).maxInflightTokens).toBe(ENGINE.kvTokens);
	await until("the controller has begun", () => capacity(bed).maxConcurrent === 8);
	const asked = Array.from({ length: 60 }, async () => (await ask(bed, 400)).text());
	await until("it has grown", () => capacity(bed).maxConcurrent > 10);
	for (const text of await Promise.all(asked)) expect(text).toContain("[DONE]");
	await until("all is given back", () => atRest(bed));
	const metrics = await (await fetch(`${bed.gateway.adminUrl}/metrics`)).text();
	expect(metrics).toMatch(/tokligence_capacity_engine_queue\{pool="default"\} \d/);
	expect(metrics).toContain('tokligence_capacity_degraded{pool="default"} 0');
});
