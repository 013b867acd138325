import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import { loadConfig } from "../config/load.ts";
import { chartsOf } from "./chart-data.ts";
import { chartSvg } from "./chart-svg.ts";
import { chartView } from "./chart-view.ts";
import type { CommandIo } from "./config-options.ts";
import { migrateCommand } from "./migrate.ts";
import { bucketSchedulerCommand, schedulerCommand } from "./scheduler.ts";
import type { Questions } from "./scheduler-questions.ts";
import { validateConfigCommand } from "./validate-config.ts";

const folder = mkdtempSync(join(tmpdir(), "tokligence-scheduler-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function runAsking(questions: Questions | undefined, ...args: string[]) {
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
	const program = new Command()
		.exitOverride()
		.addCommand(schedulerCommand(io, questions))
		.addCommand(bucketSchedulerCommand(io, questions))
		.addCommand(migrateCommand(io))
		.addCommand(validateConfigCommand(io));
	await program.parseAsync(args, { from: "user" });
	return result;
}
const run = (...args: string[]) => runAsking(undefined, ...args);

/** Balance of tags, quoting and escapes: what a strict reader of XML would stumble over. */
function expectWellFormed(xml: string): void {
	const open: string[] = [];
	const tag = /<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g;
	let at = 0;
	for (const match of xml.matchAll(tag)) {
		expect(xml.slice(at, match.index)).not.toMatch(/[<>]|&(?!(amp|lt|gt|quot);)/);
		at = match.index + match[0].length;
		const [, closing, name = "", , empty] = match;
		if (closing === "/") expect(open.pop()).toBe(name);
		else if (empty !== "/") open.push(name);
	}
	expect(open).toEqual([]);
	expect(xml.slice(at).trim()).toBe("");
}

describe("the way from nothing to buckets", () => {
	it("configures, validates, migrates, validates and shows", async () => {
		const path = join(folder, "chain.ini");
		expect(await run("scheduler", "configure", "--priority-levels", "5", "--output", path)).toMatchObject({ code: 0 });
		expect(await run("validate-config", path)).toMatchObject({ code: 0, out: `${path}: no problems\n` });
		const levels = await run("bucket-scheduler", "visualize", "--config", path);
		expect(levels.out).toMatch(/P0 █+ weight 10 .*Internal Production/);
		expect(
			await run("migrate-to-bucket-scheduler", "--bucket-count", "10", "--config", path, "--base-capacity-rps", "80"),
		).toMatchObject({ code: 0 });
		expect(await run("validate-config", path)).toMatchObject({ code: 0, out: `${path}: no problems\n` });
		const chart = await run("bucket-scheduler", "visualize", "--config", path);
		expect(chart).toMatchObject({ code: 0, error: "" });
		expect(chart.out.split("\n").filter((line) => /^B\d /.test(line))).toHaveLength(10);
		expect(chart.out).toMatch(/^external_standard +·+──●· B6-B8, atleast$/m);
	});
});

describe("scheduler configure", () => {
	it("passes validate-config without a word for every combination", async () => {
		const path = join(folder, "all.ini");
		for (const scheduler of ["strict", "wfq", "drr", "hybrid", "atleast"])
			for (const rest of [
				["--allocator", "priority", "--priority-levels", "7"],
				["--allocator", "bucket", "--bucket-count", "5", "--base-capacity-tps", "5000"],
				["--bucket-count", "100", "--base-capacity-rps", "900", "--priority-levels", "3"],
			]) {
				const args = ["--scheduler", scheduler, "--classifier", "token", ...rest, "--output", path, "--force", "--yes"];
				expect(await run("scheduler", "configure", ...args), args.join(" ")).toMatchObject({ code: 0, error: "" });
				expect((await run("validate-config", path)).out, args.join(" ")).toBe(`${path}: no problems\n`);
			}
	});

	it("takes rate and concurrency from a report, and the engine and peers from flags", async () => {
		const report = join(folder, "report.json");
		const results = { recommended_safe_rps: 12.5, recommended_safe_tps: 4000, recommended_max_concurrent: 24.9 };
		writeFileSync(report, JSON.stringify({ results }));
		const path = join(folder, "new", "reported.ini");
		const args = ["--report", report, "--upstream", "http://10.0.0.9:8000", "--trusted-cidrs", "10.0.0.0/8"];
		expect(await run("bucket-scheduler", "configure", ...args, "--output", path)).toMatchObject({ code: 0, error: "" });
		const text = readFileSync(path, "utf8");
		expect(text).toContain("base_capacity_rps = 12.5\n");
		expect(text).toContain("max_concurrent = 24\n");
		expect(text).toContain("endpoint = http://10.0.0.9:8000\n");
		expect(await run("validate-config", path)).toMatchObject({ code: 0, out: `${path}: no problems\n` });
	});

	it("never replaces a file unasked, and keeps what it replaces", async () => {
		const path = join(folder, "mine.ini");
		writeFileSync(path, "# mine\n");
		expect(await run("scheduler", "configure", "--yes", "--output", path)).toMatchObject({
			code: 1,
			error: expect.stringContaining("--force"),
		});
		expect(readFileSync(path, "utf8")).toBe("# mine\n");
		expect(await run("scheduler", "configure", "--yes", "--force", "--output", path)).toMatchObject({ code: 0 });
		expect(readFileSync(`${path}.bak`, "utf8")).toBe("# mine\n");
	});

	it("asks only for what no flag says, and before it replaces", async () => {
		const path = join(folder, "asked.ini");
		writeFileSync(path, "# mine\n");
		const asked: string[] = [];
		const person = (yes: boolean): Questions => ({
			choose: async (message, choices, fallback) => {
				asked.push(message);
				return "bucket" in choices ? ("bucket" as typeof fallback) : fallback;
			},
			number: async (message, fallback) => {
				asked.push(message);
				return fallback * 2;
			},
			confirm: async (message) => {
				asked.push(message);
				return yes;
			},
		});
		const args = ["scheduler", "configure", "--scheduler", "wfq", "--output", path];
		expect(await runAsking(person(false), ...args)).toMatchObject({ code: 1 });
		expect(readFileSync(path, "utf8")).toBe("# mine\n");
		asked.length = 0;
		expect(await runAsking(person(true), ...args)).toMatchObject({ code: 0, error: "" });
		expect(asked).toHaveLength(5);
		expect(asked.join()).not.toContain("order");
		const text = readFileSync(path, "utf8");
		expect(text).toMatch(
			/scheduler = wfq .*\n\n\[allocator\.bucket\]\nbucket_count = 20\n.*\nbase_capacity_rps = 200\n/,
		);
	});

	it("refuses what makes no sense, without a trace", async () => {
		const path = join(folder, "none.ini");
		const args = ["scheduler", "configure", "--output", path, "--allocator", "priority", "--bucket-count", "5"];
		expect(await run(...args)).toMatchObject({
			code: 1,
			error: expect.stringMatching(/^error: .*--allocator bucket\n$/),
		});
		const nowhere = ["scheduler", "configure", "--output", path, "--upstream", "nowhere"];
		expect(await run(...nowhere)).toMatchObject({ code: 78, error: expect.stringContaining("nothing is written") });
	});
});

describe("bucket-scheduler visualize", () => {
	const SEED = new URL("../../config/gateway.ini", import.meta.url).pathname;

	it("says in JSON what the design's example says: of ten buckets only the first is assured", async () => {
		const { out } = await run("bucket-scheduler", "visualize", "--config", SEED, "--json");
		const chart = JSON.parse(out);
		expect(chart).toMatchObject({ allocator: "bucket", unit: "rps", pool_capacity: 100 });
		expect(chart.queues.map((queue: { guarantee: number }) => queue.guarantee)).toEqual([100, ...Array(9).fill(0)]);
		expect(chart.queues[3]).toMatchObject({ bucket: 3, ceiling: expect.closeTo(34.3, 9), groups: ["internal_dev"] });
		expect(chart.mappings).toHaveLength(6);
	});

	it("draws well-formed SVG with its figures as text", async () => {
		const svg = join(folder, "chart.svg");
		for (const args of [["--set", "request_scheduler.allocator=priority"], []]) {
			const drawn = await run("bucket-scheduler", "visualize", "--config", SEED, ...args, "--svg", svg);
			expect(drawn, args.join(" ")).toMatchObject({ code: 0, out: `${svg} is written\n` });
			const text = readFileSync(svg, "utf8");
			expectWellFormed(text);
			expect(text).toContain("prefers-color-scheme: dark");
		}
		expect(readFileSync(svg, "utf8")).toContain("at most 34.3 rps");
	});

	it("shows reservations, limits, headroom, guard and preemption", async () => {
		const path = join(folder, "promises.ini");
		writeFileSync(
			path,
			"[request_scheduler]\nallocator = priority\n[capacity]\nmax_concurrent = 32\nmax_tokens_per_sec = 2000\n" +
				"[allocator.priority.level.2]\nreserved_tps = 300\nlendable = false\nlimit_tps = 900\n" +
				"[capacity_guard]\nenabled = true\n[preemption]\nenabled = true\n",
		);
		const { out } = await run("bucket-scheduler", "visualize", "--config", path);
		expect(out).toMatch(/^P2 .*300 tokens\/s reserved, not lent, at most 900 tokens\/s/m);
		expect(out).toContain("pool default: 3 % of its space is kept for P0, P1");
		expect(out).toContain(
			"capacity guard: external, premium, spot are refused while internal work uses 90 % of 2000 tokens/s",
		);
		expect(out).toContain("buffer: 200 tokens/s are kept for P0");
		expect(out).toContain("preemption: P0, P1 may take back work of P3, P4");
		const json = JSON.parse((await run("bucket-scheduler", "visualize", "--config", path, "--json")).out);
		expect(json.queues[2]).toMatchObject({ reserved_tps: 300, lendable: false, limit_tps: 900 });
		expect(json.promises).toHaveLength(4);
	});

	it("escapes names in SVG", () => {
		const loaded = loadConfig({ path: SEED });
		if (!loaded.ok) throw new Error("the seed's file does not load");
		const data = chartsOf(loaded.config)[0]!;
		const mappings = data.mappings.map((mapping) => ({ ...mapping, group: '<"&>' }));
		const svg = chartSvg({ ...chartView(data), mappings });
		expectWellFormed(svg);
		expect(svg).toContain("&lt;&quot;&amp;&gt;");
	});

	it("answers for a broken configuration and a folder that is not there", async () => {
		expect(await run("bucket-scheduler", "visualize", "--config", join(folder, "no.ini"))).toMatchObject({ code: 78 });
		const svg = join(folder, "no", "chart.svg");
		expect(await run("bucket-scheduler", "visualize", "--config", SEED, "--svg", svg)).toMatchObject({ code: 1 });
	});
});
