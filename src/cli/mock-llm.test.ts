import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it } from "vitest";

const command = path.join(import.meta.dirname, "mock-llm.ts");
const program = `import { mockLlmCommand } from ${JSON.stringify(command)}; await mockLlmCommand().parseAsync(process.argv.slice(1), { from: "user" });`;

function start(...flags: string[]) {
	return spawn(process.execPath, ["--input-type=module", "-e", program, "--", ...flags], {
		stdio: ["ignore", "pipe", "pipe"],
	});
}

describe("tokligence mock-llm", () => {
	it("says where it listens, serves, and closes cleanly on SIGTERM with a stream open", async () => {
		const child = start("--port", "0", "--json", "--profile", "a10g-7b", "--seed", "3", "--speed", "10");
		const [line] = (await once(createInterface(child.stdout), "line")) as [string];
		const ready = JSON.parse(line) as { event: string; data: string };
		expect(ready).toMatchObject({ event: "ready", data: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) });
		const response = await fetch(`${ready.data}/v1/completions`, {
			method: "POST",
			body: JSON.stringify({ model: "m", prompt: "hello", max_tokens: 5000, ignore_eos: true, stream: true }),
		});
		expect(response.status).toBe(200);
		child.kill("SIGTERM");
		const [code] = (await once(child, "exit")) as [number];
		expect(code).toBe(0);
		await expect(response.text()).rejects.toThrow();
	});

	it.each([
		[["--profile", "tpu"], "allowed are a10g-7b, a100-8b, h100-70b, a10g-7b-vtc"],
		[["--port", "70000"], "not a port from 0 to 65535"],
		[["--speed", "0"], "not a number above 0"],
		[["--fault", "gremlins"], "allowed are error:STATUS"],
	])("refuses %j", async (flags, words) => {
		const child = start(...flags);
		let errors = "";
		child.stderr.on("data", (chunk: Buffer) => {
			errors += chunk.toString();
		});
		const [code] = (await once(child, "close")) as [number];
		expect(code).toBe(1);
		expect(errors).toContain(words);
	});
});
