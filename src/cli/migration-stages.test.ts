/** The stages of the migration, each through the command, on one file. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { afterAll, expect, it } from "vitest";
import { loadConfig } from "../config/load.ts";
import type { CommandIo } from "./config-options.ts";
import { migrateCommand } from "./migrate.ts";

const folder = mkdtempSync(join(tmpdir(), "tokligence-stages-"));
afterAll(() => rmSync(folder, { recursive: true }));

const LEVELS = `# ours
[request_scheduler]
allocator = priority     # five levels
scheduler = atleast
; a comment to keep
[allocator.priority.level.3]
timeout = 90s
[models]
gpt-4o = llama-3.3-70b   # the old name
`;
const TRACE = fileURLToPath(new URL("../../test/fixtures/traces/azure2023-conv-excerpt.csv", import.meta.url));

let files = 0;
function file(text = LEVELS): string {
	const path = join(folder, `${files++}.ini`);
	writeFileSync(path, text);
	return path;
}

async function migrate(...args: string[]) {
	const result = { out: "", error: "", code: 0 };
	const io: CommandIo = {
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

it("goes from levels to buckets in four steps, keeping every other line, what is beside it, and a backup of each", async () => {
	const path = file();
	const base = ["--config", path, "--base-capacity-rps", "20"];
	const backups: string[] = [];
	for (const [stage, weights, how] of [
		["90/10", [90, 10], "with a start"],
		["next", [50, 50], "`tokligence config reload`"],
		["10/90", [10, 90], "`tokligence config reload`"],
	] as const) {
		const before = readFileSync(path, "utf8");
		const { code, out, error } = await migrate(...base, "--stage", stage);
		expect({ code, error: error.includes("error") }, error).toEqual({ code: 0, error: false });
		expect(out).toContain(how);
		const backup = /kept as (\S+\.bak[.\d]*)$/m.exec(out)?.[1] ?? "none";
		expect(readFileSync(backup, "utf8")).toBe(before);
		backups.push(backup);
		const { config } = loaded(path);
		expect(config.requestScheduler.allocator).toBe("weighted_router");
		expect(config.allocator.weightedRouter).toEqual({ priorityWeight: weights[0], bucketWeight: weights[1] });
		if (stage === "90/10") continue;
		// Only the two weights differ from the step before.
		const was = before.split("\n");
		const lines = readFileSync(path, "utf8").split("\n");
		expect(lines.filter((line, at) => line !== was[at])).toHaveLength(2);
	}
	expect(new Set(backups).size).toBe(3);
	expect((await migrate(...base, "--stage", "done")).out).toContain("with a start");
	const text = readFileSync(path, "utf8");
	for (const line of LEVELS.split("\n").filter((line) => !line.startsWith("allocator"))) expect(text).toContain(line);
	expect(text).toMatch(/allocator = bucket\s+# five levels/);
	expect(text).not.toContain("weight");
	// As if it had gone there at once.
	const direct = file();
	await migrate("--config", direct, "--base-capacity-rps", "20");
	expect(loaded(path).config.allocator.bucket).toEqual(loaded(direct).config.allocator.bucket);
	expect(loaded(path).warnings).toEqual(loaded(direct).warnings);
	await expect(migrate(...base, "--stage", "next")).resolves.toMatchObject({ code: 1 });
});

it("keeps what was changed in the buckets on the way, and asks which step comes next", async () => {
	const path = file();
	await migrate("--config", path, "--base-capacity-rps", "20", "--stage", "90/10");
	writeFileSync(
		path,
		readFileSync(path, "utf8").replace("bucket_count = 10", "bucket_count = 10   # we thought about it"),
	);
	const { code, error } = await migrate("--config", path);
	expect([code, error]).toEqual([
		1,
		expect.stringContaining("10 % of the accounts are of the buckets); name the next step: --stage 50/50"),
	]);
	await migrate("--config", path, "--stage", "50/50", "--bucket-count", "40");
	expect(readFileSync(path, "utf8")).toContain("bucket_count = 10   # we thought about it");
});

it("writes nothing with --dry-run, and says with a trace what each level waits at every stage ahead", async () => {
	const path = file();
	const args = ["--config", path, "--base-capacity-rps", "20", "--stage", "90/10", "--dry-run", "--trace", TRACE];
	const dry = await migrate(...args);
	expect(readFileSync(path, "utf8")).toBe(LEVELS);
	expect(existsSync(`${path}.bak`)).toBe(false);
	expect(dry.out).toContain("priority_weight = 90");
	expect(dry.error).toMatch(
		/^P0 critical, \d+ requests, P99 of the wait in the simulation: now \d+ ms.*, 90\/10 \d+ ms.*, 50\/50 \d+ ms.*, 10\/90 \d+ ms.*, done \d+ ms/m,
	);
	const { stage, stages, written, predictions } = JSON.parse((await migrate(...args, "--json")).out);
	expect({ stage, written, predictions }).toEqual({ stage: "90/10", written: false, predictions: [] });
	expect(stages.map((one: { stage: string; bucket_share: number }) => [one.stage, one.bucket_share])).toEqual([
		["now", 0],
		["90/10", expect.closeTo(0.1)],
		["50/50", 0.5],
		["10/90", 0.9],
		["done", 1],
	]);
	// Every stage is another simulation of the same requests, and none of them is lost.
	const counts = stages.map(({ levels }: { levels: { requests: number }[] }) => levels.map(({ requests }) => requests));
	expect(new Set(counts.map(String)).size).toBe(1);
});
