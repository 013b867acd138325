import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import { accountPoint } from "../core/allocate/weighted-router.ts";
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

	it("says which of two allocators an account belongs to, and what it has of the pool", async () => {
		const file = join(folder, "router.ini");
		writeFileSync(
			file,
			"[request_scheduler]\nallocator = weighted_router\nscheduler = atleast\n[capacity]\nmax_concurrent = 10\nmax_inflight_tokens = 10000\n[allocator.bucket]\nbase_capacity_rps = 100\ncapacity_basis = total\n",
		);
		const ask = (account: string, ...more: string[]) =>
			explained("--config", file, "--tier", "internal", "--account", account, ...more);
		const accounts = Array.from({ length: 40 }, (_, at) => `a${at}`);
		const half = accounts.map((account) => (accountPoint(account) < 0.9 ? "priority" : "bucket"));
		const inBuckets = accounts[half.indexOf("bucket")]!;
		expect((await ask(accounts[half.indexOf("priority")]!)).allocation).toMatchObject({
			allocator: "priority",
			queue: "P2",
			router: { share_pct: 90, from_pct: 0, to_pct: 90 },
		});
		const own = await ask(inBuckets);
		expect(own.allocation).toMatchObject({ allocator: "bucket", queue: "B3", router: { from_pct: 90, to_pct: 100 } });
		expect(own.capacity).toMatchObject([{ pool: "default:bucket", max_concurrent: 1, max_inflight_tokens: 1000 }]);
		// Larger than its half: the other one takes it.
		const large = await ask(inBuckets, "--prompt-tokens", "4000");
		expect(large.allocation).toMatchObject({ allocator: "priority", queue: "P2", index: 2 });
		const { out } = await explain("--config", file, "--account", inBuckets, "--prompt-tokens", "4000");
		expect(out).toMatch(
			/4 route {6}account a\d+ stands at 9[\d.]+ %: accounts from 90 % to 100 % are of the bucket allocator, which has 10 % of every pool; it is too large for that half, so the priority allocator takes it/,
		);
		expect(await ask(inBuckets, "--prompt-tokens", "20000")).toMatchObject({ could_run: false });
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

	describe("with a policy", () => {
		const PROMISES = join(folder, "promises.ini");
		const POLICY = join(folder, "policy.yaml");
		writeFileSync(
			PROMISES,
			`[allocator.priority.level.0]
reserved_tps = 800
[capacity]
max_tokens_per_sec = 2000
max_concurrent = 32
[capacity_guard]
enabled = true
[preemption]
enabled = true
[request_scheduler]
allocator = priority
`,
		);
		writeFileSync(
			POLICY,
			`accounts:
  - { id: acme, name: Acme, account_type: external, email: a@example.com, organisation: corp }
windows:
  - name: Night
    schedule_type: cron
    schedule_expr: "0 22 * * *"
    duration_sec: 28800
    timezone: Europe/Berlin
    rules:
      - { target_type: tier, target_value: external, adjustments: { priority_override: 1, quota_multiplier: 2 } }
      - { target_type: all, adjustments: { capacity_multiplier: 0.5, internal_limit_pct: 60 } }
quotas:
  - { id: day, account_id: acme, node: "organisation:corp", quota_type: hard, limit_dimension: tokens_per_day, limit_value: 1000 }
  - { id: rate, account_id: acme, quota_type: burstable, limit_dimension: tps, limit_value: 50, max_borrow_pct: 20 }
`,
		);
		const ask = (...args: string[]) =>
			explained("--config", PROMISES, "--policy", POLICY, "--tier", "external", "--account", "acme", ...args);
		const steps = (answer: { promises: { step: string; result: string }[] }, wanted: string) =>
			answer.promises.filter(({ step }) => step === wanted).map(({ result }) => result);

		it("windows hold at their time and change what they say", async () => {
			const day = await ask("--at", "2026-11-27T12:00+01:00");
			const night = await ask("--at", "2026-11-27T22:00+01:00");
			expect([day.allocation.queue, night.allocation.queue]).toEqual(["P3", "P1"]);
			expect([day.capacity[0].max_concurrent, night.capacity[0].max_concurrent]).toEqual([32, 16]);
			expect(steps(day, "window")).toEqual([]);
			expect(steps(night, "window")).toHaveLength(4);
			expect(steps(night, "guard")[0]).toContain("60 % of 2000 tokens/s");
			expect(steps(day, "quota")[0]).toContain("at most 1000 until 2026-11-28T00:00:00.000Z, it fits");
			expect(steps(night, "quota")[0]).toContain("at most 2000");
		});

		it("a budget too small for the request refuses it, a rate says what it assures", async () => {
			const answer = await ask("--prompt-tokens", "900", "--at", "2026-11-27T12:00Z");
			expect([answer.could_run, answer.verdict]).toEqual([false, "quota_exceeded"]);
			expect(steps(answer, "rate")).toEqual(["burstable account:acme: 50 tokens/s assured, at most 60"]);
		});

		it("reservations, preemption and the guard are named", async () => {
			const best = await explained("--config", PROMISES, "--tier", "internal", "--environment", "production");
			expect(steps(best, "reserved")).toEqual(["800 tokens/s reserved"]);
			expect(steps(best, "preemption")[0]).toContain("P3, P4 is taken back for it");
			const worst = await explained("--config", PROMISES, "--tier", "spot");
			expect(steps(worst, "preemption")[0]).toContain("P0 to P1 may take its space back");
			expect(steps(worst, "guard")[0]).toContain("it would be refused while internal work uses 90 % of 2000 tokens/s");
		});

		it("an account that is not there and a policy that is wrong are told with their place", async () => {
			const unknown = await explain("--policy", POLICY, "--account", "nobody");
			expect([unknown.code, unknown.error]).toEqual([1, expect.stringContaining("it has acme")]);
			const wrong = join(folder, "wrong.yaml");
			writeFileSync(
				wrong,
				"accounts: []\nquotas:\n  - { id: a, account_id: b, quota_type: hard, limit_dimension: tps, limit_value: 1 }\n",
			);
			const told = await explain("--policy", wrong);
			expect(told.code).toBe(1);
			expect(told.error).toContain("wrong.yaml:3: ");
			expect((await explain("--at", "tomorrow", "--policy", POLICY)).error).toContain("is no instant");
			expect((await explain("--at", "2026-11-27")).error).toContain("--at needs --policy");
		});
	});
});
