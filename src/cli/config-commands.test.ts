import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import { configCommand } from "./config.ts";
import type { CommandIo } from "./config-options.ts";
import { validateConfigCommand } from "./validate-config.ts";

const SEED = readFileSync(new URL("../../config/gateway.ini", import.meta.url), "utf8");
const folder = mkdtempSync(join(tmpdir(), "tokligence-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
	const path = join(folder, name);
	writeFileSync(path, text);
	return path;
}

async function run(...args: string[]): Promise<{ out: string; error: string; code: number }> {
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
	const program = new Command().exitOverride().addCommand(validateConfigCommand(io)).addCommand(configCommand(io));
	await program.parseAsync(args, { from: "user" });
	return result;
}

describe("validate-config", () => {
	it("accepts the seed's file", async () => {
		const { out, code } = await run("validate-config", file("gateway.ini", SEED));
		expect(code).toBe(0);
		expect(out).toMatch(/gateway\.ini: 0 errors, 1 warning\n$/);
	});

	it("checks a policy file with it: what never holds, does nothing, or is more than there is, each with its line", async () => {
		const ini = file(
			"policy.ini",
			"[request_scheduler]\nallocator = priority\n[capacity]\nmax_concurrent = 8\nmax_tokens_per_sec = 1000\n",
		);
		const policy = file(
			"policy.yaml",
			`accounts:
  - { id: acme, name: Acme, account_type: external, email: a@example.com }
  - { id: ops, name: Ops, account_type: internal, email: o@example.com, organisation: corp }
windows:
  - name: Over
    schedule_type: one_time
    schedule_expr: "2020-01-01T00:00Z"
    duration_sec: 60
    rules: [{ target_type: all, adjustments: { internal_limit_pct: 60 } }]
  - name: Always
    schedule_type: cron
    schedule_expr: "0 * * * *"
    duration_sec: 7200
    rules:
      - { target_type: account, target_value: nobody, adjustments: { bucket_shift: 1, priority_delta: 1 } }
quotas:
  - { id: usd, account_id: acme, quota_type: hard, limit_dimension: usd_per_day, limit_value: 5 }
  - { id: first, account_id: acme, quota_type: reserved, limit_dimension: tps, limit_value: 700 }
  - { id: second, account_id: ops, node: "organisation:corp", quota_type: reserved, limit_dimension: tps, limit_value: 400 }
  - { id: third, account_id: ops, node: "organisation:none", quota_type: hard, limit_dimension: tokens_per_day, limit_value: 4 }
`,
		);
		const { out, code } = await run("validate-config", ini, "--policy", policy);
		expect(code).toBe(0);
		const told = out.split("\n").map((line) => line.replace(folder, ""));
		for (const line of [
			"warning: /policy.yaml:7: windows.0: 2020-01-01T00:00Z is over: it never holds again",
			"warning: /policy.yaml:9: windows.0: internal_limit_pct has no effect: [capacity_guard] enabled = false",
			"note: /policy.yaml:13: windows.1: lasts until it begins again, so that it always holds",
			'warning: /policy.yaml:15: windows.1: account "nobody" is not in the file',
			"warning: /policy.yaml:15: windows.1: bucket_shift has no effect: levels are moved by priority_delta",
			"warning: /policy.yaml:17: quotas.0: counts nothing: no [pricing.MODEL] says what tokens cost",
			"warning: /policy.yaml:19: quotas.2: with it 1100 tokens/s are assured, more than max_tokens_per_sec = 1000",
			"warning: /policy.yaml:20: quotas.3: no account of the file is in organisation:none",
		])
			expect(told).toContain(line);
		expect(told.at(-2)).toMatch(/0 errors, 8 warnings$/);
		const json = JSON.parse((await run("validate-config", ini, "--policy", policy, "--json")).out);
		expect(json).toMatchObject({ ok: true, policy, errors: [] });
		expect(json.warnings).toHaveLength(8);
	});

	it("a policy that cannot be applied is an error with its line and exit status 78", async () => {
		const policy = file(
			"wrong.yaml",
			"accounts: []\nquotas:\n  - { id: a, account_id: nobody, quota_type: hard, limit_dimension: tokens_per_day, limit_value: 1 }\n" +
				"windows:\n  - name: W\n    schedule_type: cron\n    schedule_expr: 0 0 30 2 *\n    duration_sec: 60\n    rules: [{ target_type: all, adjustments: { cost_multiplier: 2 } }]\n",
		);
		const { out, code } = await run("validate-config", file("ok.ini", SEED), "--policy", policy);
		expect(code).toBe(78);
		expect(out).toMatch(/error: .*wrong\.yaml:3: quotas\.0\.account_id "nobody" is no account/);
		expect(out).toMatch(/error: .*wrong\.yaml:7: windows\.0: .* never comes: no such date exists/);
	});

	it("knows a buffer that leaves less than is reserved, and a guard that would keep out what it protects", async () => {
		const ini = file(
			"guard.ini",
			"[request_scheduler]\nallocator = priority\n[capacity_guard]\nenabled = true\nmax_tps = 1000\nbuffer_pct = 0.5\nexternal_tiers = external,internal\n" +
				"[allocator.priority.level.2]\nreserved_tps = 600\n",
		);
		const { out } = await run("validate-config", ini);
		expect(out).toMatch(/guard\.ini:6: \[capacity_guard\] buffer_pct: leaves 500 of max_tps = 1000 .* 600 reserved/);
		expect(out).toMatch(/guard\.ini:7: \[capacity_guard\] external_tiers: names internal/);
	});

	it("reports both planted errors with exit status 78", async () => {
		const bad = SEED.replace("bucket_count = 10 ", "bucket_cuont = 10 ").replace(
			"decay_ratio = 0.7",
			"decay_ratio = 1.7",
		);
		const { out, code } = await run("validate-config", file("bad.ini", bad));
		expect(code).toBe(78);
		expect(out).toMatch(/bad\.ini:9: .*bucket_count/);
		expect(out).toMatch(/bad\.ini:11: .*decay_ratio/);
	});

	it("speaks JSON, and lets --set win", async () => {
		const { out, code } = await run(
			"validate-config",
			"--config",
			file("gateway.ini", SEED),
			"--set",
			"allocator.bucket.bucket_count=1",
			"--json",
		);
		expect(code).toBe(78);
		expect(JSON.parse(out)).toMatchObject({ ok: false, errors: [{ where: "--set", key: "bucket_count" }] });
	});

	it("answers for a missing file and for bytes that are no text", async () => {
		expect(await run("validate-config", join(folder, "none.ini"))).toMatchObject({ code: 78 });
		const binary = join(folder, "binary.ini");
		writeFileSync(
			binary,
			Uint8Array.from({ length: 4096 }, (_, index) => (index * 37) % 256),
		);
		const { out, code } = await run("validate-config", binary);
		expect(code).toBe(78);
		expect(out).toContain("not a UTF-8 text file");
	});
});

describe("config show", () => {
	it("prints values with their sources, as a file that reads back", async () => {
		const path = file("gateway.ini", SEED);
		const { out, code } = await run("config", "show", "--config", path, "--set", "gateway.max_body=1MB");
		expect(code).toBe(0);
		expect(out).toMatch(/^max_body = 1MB +# --set$/m);
		expect(out).toMatch(/^decay_ratio = 0\.7 +# .*gateway\.ini:11$/m);
		expect(out).toMatch(/^default_priority = 4 +# default$/m);
		const again = await run("validate-config", file("shown.ini", onlyAvailable(out)));
		expect(again).toMatchObject({ code: 0 });
	});

	it("prints JSON", async () => {
		const { out } = await run("config", "show", "--config", file("gateway.ini", SEED), "--json");
		const { values } = JSON.parse(out) as { values: readonly Record<string, string>[] };
		expect(values).toContainEqual({
			section: "allocator.bucket",
			key: "bucket_count",
			value: "10",
			source: "file",
			where: `${join(folder, "gateway.ini")}:9`,
		});
	});
});

describe("config upgrade", () => {
	it("rewrites the file and keeps each older text", async () => {
		const before = "# keep me\n[scheduler]\ntype = wfq\n";
		const path = file("old.ini", before);
		expect(await run("config", "upgrade", path, "--dry-run")).toMatchObject({
			code: 0,
			out: expect.stringContaining("[request_scheduler]\nscheduler = wfq"),
		});
		expect(readFileSync(path, "utf8")).toBe(before);
		expect(await run("config", "upgrade", path)).toMatchObject({ code: 0 });
		expect(readFileSync(path, "utf8")).toBe("# keep me\n[request_scheduler]\nscheduler = wfq\n");
		expect(readFileSync(`${path}.bak`, "utf8")).toBe(before);
		writeFileSync(path, before);
		await run("config", "upgrade", path);
		expect(
			readdirSync(folder)
				.filter((name) => name.startsWith("old.ini"))
				.sort(),
		).toEqual(["old.ini", "old.ini.bak", "old.ini.bak.1"]);
	});
});

/** Keys of a part that is not there yet are shown with their defaults, but may not be set. */
function onlyAvailable(text: string): string {
	return text.replaceAll(/^overflow.*\n/gm, "");
}
