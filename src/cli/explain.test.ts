import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import type { CommandIo } from "./config-options.ts";
import { explainCommand } from "./explain.ts";

const folder = mkdtempSync(join(tmpdir(), "tokligence-explain-"));
afterAll(() => rmSync(folder, { recursive: true }));

const SEED = new URL("../../config/gateway.ini", import.meta.url).pathname;
const LEVELS = join(folder, "levels.ini");
writeFileSync(LEVELS, "[request_scheduler]\nallocator = priority\n[models]\ngpt-4o = llama\n");

async function explain(...args: string[]) {
	const result = { out: "", error: "", code: 0 };
	const io: CommandIo = {
		env: {},
		out: (text) => {
			result.out += `${text}\n`;
		},
		error: (text) => {
			result.error += `${text}\n`;
		},
		setExitCode: (code) => {
			result.code = code;
		},
	};
	await new Command()
		.exitOverride()
		.addCommand(explainCommand(io))
		.parseAsync(["explain", ...args], { from: "user" });
	return result;
}

async function explained(...args: string[]) {
	const result = await explain(...args, "--json");
	expect(result.code).toBe(0);
	return JSON.parse(result.out);
}

describe("explain", () => {
	it.each([
		[["--tier", "internal", "--environment", "production"], "Internal Production", "P0", "B0"],
		[["--tier", "internal", "--environment", "staging"], "Internal Staging", "P1", "B2"],
		[["--tier", "internal"], "Internal Dev", "P2", "B3"],
		[["--tier", "premium"], "External Premium", "P2", "B4"],
		[["--tier", "external"], "External Standard", "P3", "B7"],
		[["--tier", "internal", "--workload", "batch"], "Batch", "P4", "B9"],
		[[], "Catch-all", "P4", "B9"],
	])("%j follows the default rule %s to %s or %s", async (args, rule, level, bucket) => {
		const byLevel = await explained(...args, "--config", LEVELS);
		expect([byLevel.rule.rule_name, byLevel.allocation.queue]).toEqual([rule, level]);
		const byBucket = await explained(...args, "--config", SEED);
		expect([byBucket.rule.rule_name, byBucket.allocation.queue]).toEqual([rule, bucket]);
		expect(byBucket.rules.filter((tried: { matched: boolean }) => tried.matched)).toHaveLength(1);
	});

	it("says every step to people", async () => {
		const { out } = await explain(
			"--tier",
			"internal",
			"--environment",
			"production",
			"--model",
			"gpt-4o",
			"--config",
			LEVELS,
		);
		expect(out).toContain("1 classify   tier internal, environment production");
		expect(out).toContain("5 Batch: needs workload batch, has none");
		expect(out).toMatch(/4 allocate {3}P0 critical: the rule names it/);
		expect(out).toContain("waits up to 30 s");
		expect(out).toContain("500 prompt + 256 completion tokens (nothing learnt yet), cost 1012");
		expect(out).toContain("model gpt-4o = llama");
		expect(out).toMatch(/It could run: an idle gateway starts it at once\.\n$/);
	});

	it("knows what could never run", async () => {
		const space = ["--config", LEVELS, "--set", "capacity.max_inflight_tokens=1000", "--prompt-tokens"];
		expect(await explained(...space, "744", "--max-tokens", "256")).toMatchObject({
			could_run: true,
			verdict: "dispatch",
		});
		expect(await explained(...space, "745", "--max-tokens", "256")).toMatchObject({
			could_run: false,
			verdict: "exceeds_capacity",
		});
		const context = ["--config", LEVELS, "--set", "capacity.max_context_length=100"];
		expect(await explained(...context)).toMatchObject({
			could_run: false,
			refusal: { code: "context_length_exceeded" },
		});
		const models = ["--config", LEVELS, "--set", "provider.a.models=llama-*", "--model", "qwen"];
		expect(await explained(...models)).toMatchObject({ could_run: false, refusal: { code: "model_not_served" } });
	});

	it("grants a hint for the better only with the right to it", async () => {
		const high = ["--tier", "external", "--priority", "high", "--config", LEVELS];
		expect(await explained(...high)).toMatchObject({ refusal: { code: "priority_not_allowed" } });
		expect(await explained(...high, "--max-priority", "1")).toMatchObject({
			allocation: { queue: "P1", via: "header_hint" },
		});
		expect((await explain(...high)).out).toContain("refused      priority_not_allowed");
	});

	it("answers wrong words and a broken configuration without a trace", async () => {
		expect(await explain("--tier", "In ternal")).toMatchObject({
			code: 1,
			error: expect.stringMatching(/^error: tier/),
		});
		expect(await explain("--config", join(folder, "none.ini"))).toMatchObject({ code: 78, out: "" });
	});
});
