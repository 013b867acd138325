import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { loadConfig } from "../config/load.ts";
import type { CommandIo } from "./config-options.ts";
import { migrateCommand } from "./migrate.ts";
import { ruleCommand } from "./rule.ts";

const folder = mkdtempSync(join(tmpdir(), "tokligence-migrate-"));
afterAll(() => rmSync(folder, { recursive: true }));

const PRIORITY = `# ours
[request_scheduler]
allocator = priority     # five levels
scheduler = atleast
; a comment to keep
[allocator.priority]
priority_levels = 5
[allocator.priority.level.3]
timeout = 90s
[models]
gpt-4o = llama-3.3-70b
`;

let files = 0;
function file(text: string): string {
	const path = join(folder, `${files++}.ini`);
	writeFileSync(path, text);
	return path;
}

async function migrate(...args: string[]) {
	const result = { out: "", error: "", code: 0 };
	const io: CommandIo = {
		// Never the data folder of whoever runs the tests.
		env: { TOKLIGENCE_DATA_DIR: join(folder, "data") },
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
	const program = new Command().exitOverride().addCommand(migrateCommand(io));
	await program.parseAsync(["migrate-to-bucket-scheduler", ...args], { from: "user" });
	return result;
}

function loaded(path: string) {
	const result = loadConfig({ path });
	if (!result.ok) throw new Error(JSON.stringify(result.errors));
	return result;
}

describe("migrate-to-bucket-scheduler", () => {
	it("turns levels into the documented buckets, keeping all other lines and a backup", async () => {
		const path = file(PRIORITY);
		const { code, out, error } = await migrate("--bucket-count", "10", "--config", path);
		expect(code).toBe(0);
		expect(readFileSync(`${path}.bak`, "utf8")).toBe(PRIORITY);
		const text = readFileSync(path, "utf8");
		for (const line of PRIORITY.split("\n").filter((line) => !line.startsWith("allocator")))
			expect(text).toContain(line);
		expect(text).toMatch(/allocator = bucket\s+# five levels/);
		const { config, warnings } = loaded(path);
		expect(warnings).toEqual([]);
		expect(config.allocator.bucket).toMatchObject({ bucketCount: 10, baseCapacityRps: 100, capacityBasis: "total" });
		const ranges = Object.fromEntries(config.allocator.bucket.tierMappings.map((m) => [m.group, m.bucketRange]));
		expect(ranges).toEqual({
			internal_production: [0, 1],
			internal_staging: [2, 3],
			internal_dev: [4, 5],
			external_premium: [4, 5],
			external_standard: [6, 8],
			spot: [9, 9],
		});
		// A level's own timeout goes along to each of its buckets.
		for (const bucket of [6, 7, 8]) expect(config.allocator.bucket.buckets.get(bucket)?.timeoutMs).toBe(90_000);
		expect(out).toContain("P3 low -> B6-B8");
		expect(error).toContain("base of 100 requests/s is assumed");
		expect(error).toMatch(/P0 could use the whole pool .* at most 30\.\d %/);
	});

	it("writes nothing with --dry-run and prints the text alone", async () => {
		const path = file(PRIORITY);
		const { out, code } = await migrate("--bucket-count", "5", "--config", path, "--dry-run");
		expect(code).toBe(0);
		expect(readFileSync(path, "utf8")).toBe(PRIORITY);
		expect(existsSync(`${path}.bak`)).toBe(false);
		expect(loadConfig({ text: out })).toMatchObject({ ok: true });
	});

	it("is usable without an error for every count of buckets and levels", async () => {
		for (const levels of [2, 3, 5, 7, 20])
			for (const count of [2, 4, 10, 21, 30, 50, 51, 100]) {
				const path = file(PRIORITY.replace("levels = 5", `levels = ${levels}`).replace(/level\.3/, "level.1"));
				expect(await migrate("--bucket-count", String(count), "--config", path)).toMatchObject({ code: 0 });
				const about = loaded(path).warnings.map(({ message }) => message);
				expect(
					about.filter((message) => !message.includes("fewer than 5")),
					`${levels} levels, ${count} buckets`,
				).toEqual([]);
			}
	});

	it("takes the base from a report, and says what is wrong with a bad one", async () => {
		const report = join(folder, "report.json");
		writeFileSync(report, JSON.stringify({ results: { recommended_safe_rps: 41.2345, recommended_safe_tps: 5123 } }));
		const path = file(PRIORITY);
		const output = join(folder, "new.ini");
		const args = ["--config", path, "--output", output, "--report", report];
		expect(await migrate(...args)).toMatchObject({ code: 0 });
		expect(loaded(output).config.allocator.bucket.baseCapacityRps).toBe(41.23);
		expect(readFileSync(path, "utf8")).toBe(PRIORITY);
		expect(await migrate(...args, "--unit", "tps")).toMatchObject({ code: 0 });
		expect(loaded(output).config.allocator.bucket).toMatchObject({ baseCapacityTps: 5123 });
		writeFileSync(report, "{}");
		expect(await migrate(...args)).toMatchObject({ code: 1, error: expect.stringContaining("benchmark report") });
	});

	it("refuses a bucket configuration, a broken one, and contradicting flags, without a trace", async () => {
		const bucket = file("[request_scheduler]\nallocator = bucket\n[allocator.bucket]\nbase_capacity_rps = 5\n");
		expect(await migrate("--config", bucket)).toMatchObject({
			code: 1,
			error: expect.stringMatching(/^error: .*bucket already, there is nothing to migrate\n$/),
		});
		expect(await migrate("--config", file("[request_scheduler]\nallocator = bukcet\n"))).toMatchObject({ code: 78 });
		expect(await migrate("--config", join(folder, "none.ini"))).toMatchObject({ code: 78 });
		const both = await migrate("--config", file(PRIORITY), "--base-capacity-rps", "5", "--base-capacity-tps", "5");
		expect(both).toMatchObject({ code: 1, error: expect.stringContaining("exclude each other") });
	});

	it("counts what a level keeps: its whole range where idle better buckets may be used, else the bucket it arrives in", async () => {
		const shares = async (scheduler: string) => {
			const args = [
				"--config",
				file(PRIORITY),
				"--dry-run",
				"--json",
				"--bucket-count",
				"10",
				"--scheduler",
				scheduler,
			];
			const levels: { readonly share_after: number }[] = JSON.parse((await migrate(...args)).out).levels;
			return levels.map((level) => level.share_after);
		};
		const series = Array.from({ length: 10 }, (_, bucket) => 0.7 ** bucket);
		const part = (first: number, last: number, of = series) =>
			expect.closeTo(
				series.slice(first, last + 1).reduce((sum, number) => sum + number, 0) /
					of.reduce((sum, number) => sum + number, 0),
				9,
			);
		expect(await shares("atleast")).toEqual([part(0, 0), part(2, 3), part(4, 5), part(6, 8), part(9, 9)]);
		expect(await shares("strict")).toEqual([0, 2, 4, 6, 9].map((bucket) => part(bucket, bucket)));
		const arrivals = [0, 2, 4, 6, 9];
		const competing = arrivals.map((bucket) => series[bucket]!);
		expect(await shares("wfq")).toEqual(arrivals.map((bucket) => part(bucket, bucket, competing)));
	});

	it("gives rules of the database that assign a priority the group of their level, and keeps the policy before", async () => {
		const data = join(folder, "with-rules");
		const said: string[] = [];
		const rule = async (...args: string[]) => {
			said.length = 0;
			const io: CommandIo = {
				env: {},
				out: (text) => said.push(text),
				error: (text) => said.push(text),
				setExitCode: () => {},
			};
			const config = ["--config", file(""), "--data-dir", data, "--json"];
			await ruleCommand(io).parseAsync([...args, ...config], { from: "user" });
			return JSON.parse(said.join("\n"));
		};
		await rule("create", "--name", "Search", "--order", "3", "--match-tag", "search", "--assign-priority", "1");
		await rule(
			"create",
			"--name",
			"Pinned",
			"--order",
			"4",
			"--match-tag",
			"pinned",
			"--assign-priority",
			"1",
			"--assign-queue",
			"bucket:7",
		);
		const queues = async () => {
			const { rules } = await rule("list");
			return Object.fromEntries(rules.map((r: Record<string, unknown>) => [r["rule_name"], r["assign_queue"] ?? null]));
		};
		const before = await queues();
		const path = file(PRIORITY);
		const args = ["--config", path, "--data-dir", data, "--bucket-count", "10"];
		const dry = await migrate(...args, "--dry-run");
		expect(dry.error).toContain('rule "Search": assigned P1, gets assign_queue = group:internal_staging');
		expect(await queues()).toEqual(before);
		const { rules } = JSON.parse((await migrate(...args, "--dry-run", "--json")).out);
		expect(rules).toEqual([
			{ rule_id: expect.any(String), rule_name: "Search", assign_priority: 1, assign_queue: "group:internal_staging" },
		]);
		const done = await migrate(...args);
		expect(done, done.error).toMatchObject({ code: 0 });
		// Default rules need nothing, a queue that was named stays.
		expect(await queues()).toEqual({ ...before, Search: "group:internal_staging" });
		const backup = parse(readFileSync(`${path}.policy.bak.yaml`, "utf8"));
		expect(
			backup.rules.find((r: Record<string, unknown>) => r["rule_name"] === "Search").assign_queue ?? null,
		).toBeNull();
		const other = file(PRIORITY);
		await migrate("--config", other, "--data-dir", data, "--no-policy");
		expect(existsSync(`${other}.policy.bak.yaml`)).toBe(false);
	});

	it("says with a trace how long each level waits before and after, and what is predicted", async () => {
		const trace = fileURLToPath(new URL("../../test/fixtures/traces/azure2023-conv-excerpt.csv", import.meta.url));
		const args = ["--config", file(PRIORITY), "--dry-run", "--base-capacity-rps", "10", "--trace", trace];
		expect((await migrate(...args)).error).toMatch(
			/^P0 critical, \d+ requests: P99 of the wait \d+ ms before, at most \d+ ms predicted, \d+ ms in the simulation/m,
		);
		const { predictions } = JSON.parse((await migrate(...args, "--json")).out);
		expect(predictions[0]).toMatchObject({ level: 0, wait_p99_ms: { before: expect.any(Number) } });
	});

	it("speaks JSON", async () => {
		const { out } = await migrate("--config", file(PRIORITY), "--dry-run", "--json", "--base-capacity-tps", "900");
		expect(JSON.parse(out)).toMatchObject({
			written: false,
			base: { value: 900, unit: "tps", assumed: false },
			levels: [{ level: 0, first_bucket: 0, last_bucket: 1 }, {}, {}, {}, { level: 4, first_bucket: 9 }],
		});
	});
});
