/** `bucket-scheduler visualize --live` before a running gateway: what runs and what waits is what it draws. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { CommandIo } from "../../src/cli/config-options.ts";
import { type VisualizeParts, visualizeCommand } from "../../src/cli/visualize.ts";
import { OPEN, openTestBed, until } from "./running-gateway.ts";

async function run(args: readonly string[], parts?: VisualizeParts) {
	const said = { out: [] as string[], error: "", code: 0 };
	const io: CommandIo = {
		env: {},
		out: (text) => said.out.push(text),
		error: (text) => {
			said.error += text;
		},
		setExitCode: (code) => {
			said.code = code;
		},
	};
	await visualizeCommand(io, parts).parseAsync(args, { from: "user" });
	return said;
}

test("draws what runs and waits: once in a pipe, as JSON, as SVG, and anew in a terminal until the reader leaves", async () => {
	const bed = await openTestBed(`${OPEN}[capacity]\nmax_concurrent = 2\nheadroom = 0\n`, { speed: 0.01 });
	const leave = new AbortController();
	onTestFinished(() => bed.close());
	onTestFinished(() => leave.abort());
	for (let n = 0; n < 5; n++) {
		const body = JSON.stringify({ model: "m", max_tokens: 50, messages: [{ role: "user", content: `${n}` }] });
		const init = { method: "POST", body, headers: { "content-type": "application/json" }, signal: leave.signal };
		void fetch(`${bed.gateway.dataUrl}/v1/chat/completions`, init).catch(() => {});
	}
	await until("five requests are there", () => bed.gateway.plane.engine.size === 5);
	const flags = ["--live", "--data-dir", bed.folder];
	const text = await run(flags, { isTerminal: false, pause: () => Promise.reject(new Error("draws once")) });
	expect(text.code, text.error).toBe(0);
	expect(text.out.join("\n")).toMatch(/^P4 batch +█+░+ +2 running, 3 waiting/m);
	expect(text.out.join("\n")).toMatch(/^P0 critical +0 running, 0 waiting/m);
	const json = JSON.parse((await run([...flags, "--json"])).out.join("\n"));
	expect(json.queues[4]).toMatchObject({ level: 4, current_depth: 3, in_flight: 2 });
	const svg = join(bed.folder, "live.svg");
	await run([...flags, "--svg", svg]);
	expect(readFileSync(svg, "utf8")).toContain("2 running, 3 waiting");
	let pauses = 0;
	const terminal = await run(flags, { isTerminal: true, pause: async () => ++pauses < 3 });
	expect(terminal.out.filter((line) => line.startsWith("pool default"))).toHaveLength(3);
});

test("without a gateway says so", async () => {
	const said = await run(["--live", "--data-dir", "/nonexistent"]);
	expect(said.code).toBe(1);
	expect(said.error).toContain("no gateway runs");
});
