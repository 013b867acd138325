/**
 * The first day of an installation, through a pseudo-terminal: the wizard's questions, validate-config, start, benchmark --apply, migrate to buckets,
 * start again. Every step takes what the one before has left.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { hasTerminal, Terminal } from "./terminal.ts";

const ENTER = "\r";
const DOWN = "\u001b[B";
const CONTROL_C = "\u0003";

const possible = hasTerminal();
if (!possible) console.warn("SKIPPED: first-day.test.ts needs `script` of util-linux to make a pseudo-terminal");

test.runIf(possible)(
	"wizard, validate-config, start, benchmark --apply, migrate, start",
	async () => {
		const folder = mkdtempSync(join(tmpdir(), "first-day-"));
		onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
		const mock = await startMockLlm({ speed: 10, models: ["mock-model"] });
		onTestFinished(() => mock.close());
		const file = join(folder, "gateway.ini");
		const run = (...words: string[]) => {
			const terminal = new Terminal(words, folder);
			onTestFinished(() => terminal.kill());
			return terminal;
		};
		const succeeds = async (terminal: Terminal) => {
			expect(await terminal.ends(), terminal.text).toBe(0);
			return terminal.text;
		};

		const wizard = run("scheduler", "configure", "--output", "gateway.ini", "--upstream", mock.url);
		await wizard.sees(/How are tenants told apart/);
		wizard.types(ENTER);
		await wizard.sees(/In which order/);
		// The second of the list: not the default, so that an answer is seen to count.
		await wizard.sees(/atleast/);
		wizard.types(`${DOWN}${ENTER}`);
		await wizard.sees(/How does a request say/);
		wizard.types(ENTER);
		await wizard.sees(/How many priority levels/);
		wizard.types(`4${ENTER}`);
		await succeeds(wizard);
		const written = loadConfig({ path: file, env: {} });
		if (!written.ok) throw new Error("the wizard's file does not load");
		expect(written.config.requestScheduler).toMatchObject({ allocator: "priority", scheduler: "atleast" });
		expect(written.config.allocator.priority.priorityLevels).toBe(4);

		await succeeds(run("validate-config", "gateway.ini"));

		/** Starts the gateway, sends a request through it, answers its queue, and leaves with Ctrl-C. */
		const queueOfRequest = async () => {
			const gateway = run("start", "--config", "gateway.ini", "--port", "0", "--admin-port", "0", "--json");
			const [, url] = await gateway.sees(/"event":"ready","data":"([^"]+)"/);
			const response = await fetch(`${url}/v1/chat/completions`, {
				method: "POST",
				headers: { "content-type": "application/json" },
				body: JSON.stringify({ model: "mock-model", max_tokens: 5, messages: [{ role: "user", content: "hello" }] }),
			});
			expect(response.status, await response.text()).toBe(200);
			gateway.types(CONTROL_C);
			await succeeds(gateway);
			return response.headers.get("x-tgw-queue");
		};
		expect(await queueOfRequest()).toMatch(/^P\d$/);

		const benchmark = run(
			...["benchmark", "--config", "gateway.ini", "--workload-profile", "minimal", "--duration", "4s"],
			...["--ttft-limit", "60s", "--output", "report.json", "--apply"],
		);
		await succeeds(benchmark);
		const report = JSON.parse(readFileSync(join(folder, "report.json"), "utf8"));
		expect(report.model).toBe("mock-model");
		const applied = loadConfig({ path: file, env: {} });
		if (!applied.ok) throw new Error("the file does not load after --apply");
		expect(applied.config.capacity.maxConcurrent).toBe(report.results.recommended_max_concurrent);

		const migration = run(
			"migrate-to-bucket-scheduler",
			"--bucket-count",
			"8",
			"--config",
			"gateway.ini",
			"--report",
			"report.json",
		);
		expect(await succeeds(migration)).toContain("the old text is kept as");
		expect(await succeeds(run("validate-config", "gateway.ini"))).not.toMatch(/error/i);
		const migrated = loadConfig({ path: file, env: {} });
		if (!migrated.ok) throw new Error("the migrated file does not load");
		expect(migrated.config.allocator.bucket.bucketCount).toBe(8);
		expect(migrated.config.capacity.maxConcurrent).toBe(report.results.recommended_max_concurrent);
		expect(await queueOfRequest()).toMatch(/^B\d$/);
	},
	180_000,
);
