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
