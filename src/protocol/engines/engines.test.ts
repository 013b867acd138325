import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { detectEngine, ENGINES } from "./detect-engine.ts";
import { ENGINE_NAMES, type Engine, isStrippedHeader } from "./engine.ts";
import { readSamples } from "./prometheus.ts";

const load = (engine: Engine, path: string, text: string) =>
	engine.loadSources.find((source) => source.path === path)?.read(text);

describe("load", () => {
	it("adds up ranks and takes the fullest cache", () => {
		const text = [
			"# HELP vllm:num_requests_running Number of requests",
			"# TYPE vllm:num_requests_running gauge",
			'vllm:num_requests_running{engine="0",model_name="a} 9"} 3.0',
			'vllm:num_requests_running{engine="1",model_name="a"} 4.0 1700000000',
			'vllm:num_requests_waiting{engine="0"} 2e1',
			'vllm:num_requests_waiting_by_reason{reason="capacity"} 99',
			'vllm:kv_cache_usage_perc{engine="0"} 0.25',
			'vllm:kv_cache_usage_perc{engine="1"} 0.75',
		].join("\n");
		expect(load(ENGINES.vllm, "/metrics", text)).toEqual({ running: 7, waiting: 20, kvUse: 0.75 });
		expect(readSamples("x NaN\nx +Inf\n", "x")).toBeUndefined();
		expect(readSamples("x 2", "x")).toEqual({ sum: 2, max: 2, count: 1 });
	});

	it("reads SGLang's loads in any wrapping", () => {
		const rank = {
			num_running_reqs: 2,
			num_waiting_reqs: 1,
			token_usage: 0.5,
			max_running_requests: 8,
			max_total_num_tokens: 100,
		};
		const both = { running: 4, waiting: 2, kvUse: 0.5, maxRunning: 16, maxTokens: 200 };
		expect(load(ENGINES.sglang, "/v1/loads", JSON.stringify([rank, rank]))).toEqual(both);
		expect(load(ENGINES.sglang, "/v1/loads", JSON.stringify({ loads: [rank, rank] }))).toEqual(both);
		expect(load(ENGINES.sglang, "/v1/loads", "{}")).toBeUndefined();
	});

	it("reads llama.cpp's slots and TGI's metrics", () => {
		const slots = JSON.stringify([
			{ id: 0, is_processing: true },
			{ id: 1, is_processing: false },
		]);
		expect(load(ENGINES.llamacpp, "/slots", slots)).toEqual({ running: 1, maxRunning: 2 });
		expect(load(ENGINES.tgi, "/metrics", "tgi_batch_current_size 3\ntgi_queue_size 4\n")).toEqual({
			running: 3,
			waiting: 4,
		});
	});

	it("never throws on what is no load, models list or header", () => {
		fc.assert(
			fc.property(fc.oneof(fc.string(), fc.json()), fc.anything(), (text, value) => {
				for (const name of ENGINE_NAMES) {
					for (const source of ENGINES[name].loadSources) source.read(text);
					for (const source of ENGINES[name].contextSources) source.read(value, "m");
				}
				detectEngine(value, {});
			}),
		);
	});
});

describe("context length", () => {
	it.each<[keyof typeof ENGINES, string, unknown, number | undefined]>([
		[
			"vllm",
			"/v1/models",
			{
				data: [
					{ id: "x", max_model_len: 1 },
					{ id: "m", max_model_len: 8192 },
				],
			},
			8192,
		],
		["vllm", "/v1/models", { data: [{ id: "x", max_model_len: 1 }, { id: "y" }] }, undefined],
		["tgi", "/info", { max_total_tokens: 4096 }, 4096],
		["ollama", "/api/show", { model_info: { "llama.context_length": 131072 } }, 131072],
		["llamacpp", "/props", { default_generation_settings: { n_ctx: 2048 } }, 2048],
		["llamacpp", "/v1/models", { data: [{ id: "file.gguf", meta: { n_ctx_train: 512 } }] }, 512],
	])("%s %s", (name, path, answer, expected) => {
		expect(ENGINES[name].contextSources.find((source) => source.path === path)?.read(answer, "m")).toBe(expected);
	});
});

describe("priority", () => {
	it("points the right way in each engine", () => {
		expect(ENGINES.vllm.priority?.ofLevel(1, 5, "chat")).toEqual({ body: 1 });
		expect(ENGINES.vllm.priority?.ofLevel(1, 5, "message")).toEqual({ header: ["X-Vllm-Priority", "1"] });
		expect(ENGINES.sglang.priority?.ofLevel(0, 5, "chat")).toEqual({ body: 4 });
		const share = ENGINES.sglang.priority?.ofShare;
		expect((share?.(true, "chat").body ?? 0) - (share?.(false, "chat").body ?? 0)).toBeGreaterThan(10);
		expect(ENGINES.ollama.priority).toBeUndefined();
	});

	it("takes it from no client", () => {
		for (const name of [
			"x-vllm-priority",
			"x-data-parallel-rank",
			"x-conversation-id",
			"x-override-priority",
			"x-tgw-source",
		])
			expect(isStrippedHeader(name)).toBe(true);
		expect(isStrippedHeader("x-request-id")).toBe(false);
	});
});

describe("detectEngine", () => {
	it.each([
		["vllm", { id: "m", owned_by: "vllm" }],
		["sglang", { id: "m", owned_by: "sglang" }],
		["llamacpp", { id: "m", owned_by: "llamacpp" }],
		["ollama", { id: "m", owned_by: "library" }],
		["tgi", { id: "org/m", owned_by: "org/m", created: 0 }],
		["generic", { id: "gpt", owned_by: "system" }],
	])("%s", (name, entry) => {
		expect(detectEngine({ object: "list", data: [entry] }, {}).name).toBe(name);
	});

	it("believes the server header", () => {
		expect(detectEngine({}, { server: "llama.cpp" }).name).toBe("llamacpp");
	});
});
