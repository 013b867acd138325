/** `status`, `top`, `tail`, `queue`, `request`, `explain --live`, `config reload`: on a gateway that runs, with a request that waits. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { expect, onTestFinished, test } from "vitest";
import { startGateway } from "../app/gateway.ts";
import { loadConfig } from "../config/load.ts";
import { startMockLlm } from "../load/mock-llm-server.ts";
import { configCommand } from "./config.ts";
import type { CommandIo } from "./config-options.ts";
import { explainCommand } from "./explain.ts";
import { queueCommand } from "./queue.ts";
import { requestCommand } from "./request.ts";
import { statusCommand } from "./status.ts";
import { tailCommand } from "./tail.ts";
import { type Screen, topCommand } from "./top.ts";

const INI =
	"[classifier.default]\nenabled = true\n[capacity]\nmax_concurrent = 1\n[gateway]\ndrain_timeout = 1s\n[observability]\nlog_level = silent\n";

interface Run {
	readonly out: string;
	readonly error: string;
	readonly exitCode: number;
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	readonly json: any;
}

interface Live {
	readonly folder: string;
	readonly adminUrl: string;
	readonly token: string;
	run(make: (io: CommandIo) => Command, words: readonly string[], env?: Record<string, string>): Promise<Run>;
	/** A request that runs until it is cancelled, or waits behind it. */
	ask(): Promise<number>;
	/** Resolves when so many wait or run. */
	until(alive: number): Promise<void>;
}

async function live(): Promise<Live> {
	const folder = mkdtempSync(join(tmpdir(), "cli-live-"));
	const file = join(folder, "gateway.ini");
	writeFileSync(file, INI);
	const mock = await startMockLlm({ speed: 50, seed: 1 });
	const load = () =>
		loadConfig({ path: file, flags: { upstream: mock.url, dataDir: folder, port: "0", adminPort: "0" } });
	const loaded = load();
	if (!loaded.ok) throw new Error("the configuration of the test is wrong");
	const gateway = await startGateway(loaded.config, { file, effective: loaded.effective, load });
	onTestFinished(async () => {
		await gateway.close();
		await mock.close();
		rmSync(folder, { recursive: true, force: true });
	});
	return {
		folder,
		adminUrl: gateway.adminUrl,
		token: readFileSync(join(folder, "admin-token"), "utf8").trim(),
		run: async (make, words, env = {}) => {
			const out: string[] = [];
			const errors: string[] = [];
			let exitCode = 0;
			const io: CommandIo = {
				env: { TOKLIGENCE_CONFIG: file, TOKLIGENCE_DATA_DIR: folder, ...env },
				out: (text) => out.push(text),
				error: (text) => errors.push(text),
				setExitCode: (code) => {
					exitCode = code;
				},
			};
			await make(io).parseAsync([...words], { from: "user" });
			const text = out.join("\n");
			const json = words.includes("--json") && text !== "" ? JSON.parse(text) : undefined;
			return { out: text, error: errors.join("\n"), exitCode, json };
		},
		ask: async () => {
			const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
				method: "POST",
				headers: { "x-mock-output-tokens": "100000" },
				body: JSON.stringify({ model: "mock", max_tokens: 100_000, messages: [{ role: "user", content: "hi" }] }),
			});
			await response.arrayBuffer();
			return response.status;
		},
		until: async (alive) => {
			while (gateway.plane.engine.size !== alive || gateway.plane.engine.core.requestCount !== alive) {
				await new Promise((resolve) => setTimeout(resolve, 5));
			}
		},
	};
}

test("what waits and runs: seen, steered, explained and cancelled", async () => {
	const { run, ask, until } = await live();
	const asked = [ask()];
	await until(1);
	asked.push(ask());
	await until(2);

	const status = await run(statusCommand, ["--json"]);
	expect(status.json.queues[4]).toMatchObject({ current_depth: 1, in_flight: 1 });
	expect((await run(statusCommand, [])).out).toMatch(/P4 +batch +1 +1 /);
	expect((await run(statusCommand, ["--pool", "huge"])).error).toContain("pools are default");

	const paused = await run(queueCommand, ["pause", "batch"]);
	expect(paused.out).toBe("queue P4: paused, 1 waiting");
	const set = await run(queueCommand, ["set", "P4", "--max-depth", "7", "--limit-tps", "50", "--json"]);
	expect(set.json).toMatchObject({ max_depth: 7, limit_tps: 50, paused: true });
	expect((await run(queueCommand, ["set", "P4", "--limit-tps", "none", "--json"])).json.limit_tps).toBeNull();
	const wrong = await run(queueCommand, ["set", "P4", "--weight", "heavy"]);
	expect([wrong.exitCode, wrong.error]).toEqual([1, expect.stringContaining('weight "heavy" is not allowed')]);
	expect((await run(queueCommand, ["list", "--json"])).json.queues).toHaveLength(5);

	const explained = await run(explainCommand, ["--live", "--model", "mock"]);
	expect(explained.out).toContain("the queue is paused");
	expect((await run(explainCommand, ["--live", "--json"])).json.outcome).toBe("wait");
	expect((await run(explainCommand, ["--live", "--token", "tok_none"])).error).toContain("does not exist");
	expect((await run(explainCommand, ["--token", "tok_none"])).error).toContain("--live");

	const { requests } = (await run(requestCommand, ["list", "--state", "waiting", "--json"])).json;
	const id: string = requests[0].request_id;
	expect((await run(requestCommand, ["list"])).out).toContain(id);
	expect((await run(requestCommand, ["show", id])).out).toMatch(/wait +P4 +default +space/);
	expect((await run(requestCommand, ["cancel", id])).out).toBe(`request ${id} was cancelled`);
	expect((await run(requestCommand, ["cancel", id])).exitCode).toBe(1);
	expect((await run(queueCommand, ["resume", "4"])).out).toBe("queue P4: open, 0 waiting");
	const left = (await run(requestCommand, ["list", "--json"])).json.requests;
	await run(requestCommand, ["cancel", left[0].request_id]);
	expect((await Promise.all(asked)).sort()).toEqual([503, 503]);

	const past = await run(tailCommand, ["--no-follow", "--ends", "--lines", "5"]);
	expect(past.out.split("\n")).toHaveLength(2);
	expect(past.out).toContain("cancelled (cancelled_by_operator)");
	const one = await run(tailCommand, ["--no-follow", "--request", id, "--json", "--lines", "1"]);
	expect(one.json).toMatchObject({ request_id: id, event: "end" });
});

test("tail goes on with what comes, until it is ended", async () => {
	const { run, ask, until } = await live();
	let questions = 0;
	let asked: Promise<number> | undefined;
	const control = {
		goesOn: () => {
			asked ??= ask();
			return ++questions <= 1;
		},
	};
	const followed = run((io) => tailCommand(io, control), ["--lines", "0", "--event", "dispatch", "--json"]);
	expect((await followed).json).toMatchObject({ event: "dispatch", queue: "P4", account_id: "default" });
	await until(1);
	const { requests } = (await run(requestCommand, ["list", "--json"])).json;
	await run(requestCommand, ["cancel", requests[0].request_id]);
	await asked;
});

test("top draws until it is left; without a terminal it prints once", async () => {
	const { run, ask, until } = await live();
	const asked = ask();
	await until(1);
	const drawn: string[] = [];
	let leave = () => {};
	let restored = false;
	const screen: Screen = {
		isTerminal: true,
		rows: () => 8,
		columns: () => 40,
		write: (text) => {
			drawn.push(text);
			if (text.includes("P0")) leave();
		},
		left: new Promise<void>((resolve) => {
			leave = resolve;
		}),
		restore: () => {
			restored = true;
		},
	};
	await run((io) => topCommand(io, () => screen), []);
	expect(restored).toBe(true);
	const view = drawn.find((text) => text.includes("P0"))!;
	expect(view.split("\r\n")).toHaveLength(7);
	expect(view.split("\r\n").every((line) => line.replace("\x1b[H\x1b[2J", "").length <= 40)).toBe(true);
	const plain = await run((io) => topCommand(io, () => ({ ...screen, isTerminal: false })), []);
	expect(plain.out).toMatch(/default +0 +1 /);
	const { json } = await run((io) => topCommand(io, () => screen), ["--once", "--json"]);
	expect(json.pools[0].pool).toBe("default");
	expect(json.accounts[0]).toMatchObject({ account_id: "default", running: 1, waiting: 0 });
	const { requests } = (await run(requestCommand, ["list", "--json"])).json;
	await run(requestCommand, ["cancel", requests[0].request_id]);
	await asked;
});

test("config reload: what changed, or every error", async () => {
	const { run, folder } = await live();
	const file = join(folder, "gateway.ini");
	writeFileSync(file, INI.replace("max_concurrent = 1", "max_concurrent = 3\n[models]\nold = mock"));
	const done = await run(configCommand, ["reload"]);
	expect(done.out).toContain("in force now: ");
	expect(done.out).toContain("capacity.max_concurrent");
	expect((await run(configCommand, ["reload", "--json"])).json).toMatchObject({ changed: [], needs_restart: [] });
	writeFileSync(file, "[capacity]\nmax_concurrent = many\n");
	const refused = await run(configCommand, ["reload"]);
	expect([refused.exitCode, refused.error]).toEqual([
		78,
		expect.stringContaining("gateway.ini:2: [capacity] max_concurrent"),
	]);
});

test("--url reaches a gateway elsewhere, with its token", async () => {
	const { run, adminUrl, token, folder } = await live();
	const elsewhere = { TOKLIGENCE_DATA_DIR: join(folder, "none"), TOKLIGENCE_ADMIN_TOKEN: token };
	const words = ["--url", `${adminUrl}/`, "--json"];
	expect((await run(statusCommand, words, elsewhere)).json.pool).toBe("default");
	const without = await run(statusCommand, words, { TOKLIGENCE_ADMIN_TOKEN: "" });
	expect([without.exitCode, without.error]).toEqual([1, expect.stringContaining("TOKLIGENCE_ADMIN_TOKEN")]);
	const stranger = await run(statusCommand, words, { TOKLIGENCE_ADMIN_TOKEN: "wrong" });
	expect(stranger.error).toContain("this is not the admin token");
	const nowhere = await run(statusCommand, ["--url", "http://127.0.0.1:1"], elsewhere);
	expect(nowhere.error).toContain("no admin plane answers at http://127.0.0.1:1");
	expect((await run(statusCommand, [], elsewhere)).error).toContain("no gateway runs");
});
