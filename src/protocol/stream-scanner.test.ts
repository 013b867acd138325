import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concatBytes, decodeUtf8 } from "./bytes.ts";
import type { Dialect } from "./dialect.ts";
import { anthropicDialect, openaiDialect } from "./dialects.ts";
import { sglang } from "./engines/sglang.ts";
import { tgi } from "./engines/tgi.ts";
import { SseSplitter } from "./sse.ts";
import { StreamScanner, type StreamScannerOptions } from "./stream-scanner.ts";

const encoder = new TextEncoder();

function scan(text: string | Uint8Array, options: Partial<StreamScannerOptions> = {}, cuts: readonly number[] = []) {
	const bytes = typeof text === "string" ? encoder.encode(text) : text;
	const scanner = new StreamScanner({ dialect: openaiDialect, removeUsageEvent: false, ...options });
	const out: Uint8Array[] = [];
	let at = 0;
	for (const cut of [...cuts, bytes.length]) {
		out.push(...scanner.push(bytes.slice(at, cut)));
		at = cut;
	}
	const rest = decodeUtf8(scanner.end());
	return { scanner, out: decodeUtf8(concatBytes(out)), rest };
}

/** Everything that a user of the scanner can see. */
function seen({ scanner, out, rest }: ReturnType<typeof scan>) {
	const { events, tokenEvents, error, terminated, succeeded } = scanner;
	return { events, tokenEvents, error, terminated, succeeded, usage: scanner.usage(), out, rest };
}

const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const delta = (content: string) => data({ id: "c", choices: [{ index: 0, delta: { content } }], usage: null });
const role = data({ choices: [{ delta: { role: "assistant", content: "" } }] });
const finish = data({ choices: [{ delta: {}, finish_reason: "stop" }] });
const usageEvent = data({
	choices: [],
	usage: { prompt_tokens: 10, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 8 }, reasoning_tokens: 2 },
});
const done = "data: [DONE]\n\n";
const openai = `${role}: ping\n\n${delta("hé")}${delta('say "usage": {"error": 1}')}${finish}${usageEvent}${done}`;

const named = (name: string, value: object) => `event: ${name}\n${data({ type: name, ...value })}`;
const anthropic = [
	named("message_start", { message: { usage: { input_tokens: 100, output_tokens: 1 } } }),
	named("ping", {}),
	named("content_block_start", { index: 0 }),
	named("content_block_delta", { delta: { type: "text_delta", text: "a" } }),
	named("content_block_delta", { delta: { type: "text_delta", text: "b" } }),
	named("message_delta", { usage: { input_tokens: 30, cache_read_input_tokens: 70, output_tokens: 2 } }),
	named("message_stop", {}),
].join("");

describe("StreamScanner on the OpenAI form", () => {
	it("follows a stream to its end and leaves the bytes alone", () => {
		const { scanner, out } = scan(openai);
		expect(out).toBe(openai);
		expect(scanner).toMatchObject({ terminated: true, succeeded: true, error: undefined, events: 6 });
		expect(scanner.usage()).toEqual({ promptTokens: 10, completionTokens: 4, cachedTokens: 8, source: "measured" });
	});

	it("removes the usage event, and only that", () => {
		const { scanner, out } = scan(openai, { removeUsageEvent: true });
		expect(out).toBe(openai.replace(usageEvent, ""));
		expect(scanner.usage()?.completionTokens).toBe(4);
		const inFinish = data({
			choices: [{ text: "x", finish_reason: "stop" }],
			usage: { prompt_tokens: 1, completion_tokens: 1 },
		});
		expect(scan(inFinish, { removeUsageEvent: true }).out).toBe(inFinish);
	});

	it("counts no token before the first text", () => {
		expect(scan(role).scanner.tokenEvents).toBe(0);
		expect(scan(role + delta("x")).scanner.tokenEvents).toBe(1);
		expect(scan(data({ choices: [{ delta: { tool_calls: [{}] } }] })).scanner.tokenEvents).toBe(1);
		expect(scan(data({ choices: [{ delta: { reasoning_content: "x" } }] })).scanner.tokenEvents).toBe(1);
	});

	it("sees overload inside a 200", () => {
		const busy = data({
			error: { object: "error", message: "The request queue is full.", type: "SERVICE_UNAVAILABLE", code: 503 },
		});
		const { scanner } = scan(busy + done, { engine: sglang });
		expect(scanner.error).toMatchObject({ kind: "busy", retryable: true });
		expect(scanner).toMatchObject({ tokenEvents: 0, events: 2, succeeded: false });
		const full = data({ error: { message: "Model is overloaded", http_status_code: 422 } });
		expect(scan(full, { engine: tgi }).scanner.error?.kind).toBe("busy");
		const wrong = data({
			error: { message: "`inputs` tokens + `max_new_tokens` must be <= 4096", http_status_code: 422 },
		});
		expect(scan(wrong, { engine: tgi }).scanner.error?.kind).toBe("context");
	});

	it("sees an error in mid-stream, and a stream without its end", () => {
		const failed = scan(role + delta("x") + data({ error: { message: "boom", code: 500 } }) + done).scanner;
		expect(failed.error).toMatchObject({ kind: "server", message: "boom" });
		expect(failed.succeeded).toBe(false);
		expect(scan(role + delta("x") + data({})).scanner.terminated).toBe(false);
	});

	it("takes the largest of repeated usage and marks what cannot be right", () => {
		const report = (completion_tokens: number) => data({ choices: [], usage: { prompt_tokens: 3, completion_tokens } });
		expect(scan(report(0) + report(9) + report(0)).scanner.usage()?.completionTokens).toBe(9);
		const twice = delta("x").repeat(40) + report(20) + done;
		expect(scan(twice, { sequences: 2 }).scanner.usage()).toMatchObject({ completionTokens: 40, source: "estimated" });
	});

	it("follows responses", () => {
		const stream = [
			named("response.created", { response: { usage: null, error: null } }),
			named("response.output_text.delta", { delta: "x" }),
			named("response.completed", { response: { usage: { input_tokens: 5, output_tokens: 1 }, error: null } }),
		].join("");
		const { scanner } = scan(stream);
		expect(scanner).toMatchObject({ succeeded: true, tokenEvents: 1 });
		expect(scanner.usage()).toMatchObject({ promptTokens: 5, completionTokens: 1 });
		const failed = named("response.failed", { response: { error: { code: "server_error", message: "no" } } });
		expect(scan(failed).scanner.error?.message).toBe("no");
	});
});

describe("StreamScanner on the Anthropic form", () => {
	it("replaces totals part by part (vLLM counts net of cache at the end)", () => {
		const { scanner, out } = scan(anthropic, { dialect: anthropicDialect });
		expect(out).toBe(anthropic);
		expect(scanner).toMatchObject({ succeeded: true, tokenEvents: 2 });
		expect(scanner.usage()).toEqual({ promptTokens: 100, completionTokens: 2, cachedTokens: 70, source: "measured" });
	});

	it.each([
		["the envelope", { type: "error", error: { type: "overloaded_error", message: "m" } }, "busy"],
		["vLLM", { type: "error", error: { type: "internal_error", message: "m" } }, "server"],
		["llama.cpp, nested", { error: { code: 400, message: "m", type: "invalid_request_error" } }, "client"],
		["llama.cpp, bare", { code: 500, message: "m", type: "server_error" }, "server"],
	])("reads an error event: %s", (_name, payload, kind) => {
		const { scanner } = scan(`event: error\n${data(payload)}${named("message_stop", {})}`, {
			dialect: anthropicDialect,
		});
		expect(scanner.error).toMatchObject({ kind, message: "m" });
		expect(scanner.succeeded).toBe(false);
	});
});

describe("chunking", () => {
	const streams: readonly (readonly [string, Dialect])[] = [
		[openai, openaiDialect],
		[anthropic, anthropicDialect],
		[
			`${delta("x")}data: {"choices":[],\ndata: "usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n${done}tail`,
			openaiDialect,
		],
		[`\ufeff${usageEvent}\n\n${usageEvent}`, openaiDialect],
	];
	const ends = ["\n", "\r\n", "\r"];

	it("does not matter, wherever it cuts and however lines end", () => {
		fc.assert(
			fc.property(
				fc.constantFrom(...streams),
				fc.constantFrom(...ends),
				fc.array(fc.nat(2000), { maxLength: 30 }),
				fc.boolean(),
				([stream, dialect], lineEnd, cuts, removeUsageEvent) => {
					const bytes = encoder.encode(stream.replaceAll("\n", lineEnd));
					const sorted = cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b);
					const options = { dialect, removeUsageEvent };
					expect(seen(scan(bytes, options, sorted))).toEqual(seen(scan(bytes, options)));
				},
			),
			{ numRuns: 300 },
		);
	});

	it("does not matter byte by byte", () => {
		for (const [stream, dialect] of streams)
			for (const lineEnd of ends) {
				const bytes = encoder.encode(stream.replaceAll("\n", lineEnd));
				const options = { dialect, removeUsageEvent: true };
				const every = Array.from(bytes, (_byte, index) => index);
				const whole = seen(scan(bytes, options));
				expect(seen(scan(bytes, options, every))).toEqual(whole);
				expect(whole.out).not.toContain('"choices":[]');
				// Line ends change nothing but themselves.
				const plain = seen(scan(stream, options));
				expect({ ...whole, out: whole.out.replaceAll(lineEnd, "\n"), rest: "" }).toEqual({ ...plain, rest: "" });
			}
	});

	it("passes on whole events only, as views of the chunk", () => {
		const scanner = new StreamScanner({ dialect: openaiDialect, removeUsageEvent: true });
		const chunk = encoder.encode(`${delta("x")}data: {"cho`);
		const [first, ...more] = scanner.push(chunk);
		expect(more).toEqual([]);
		expect(first?.buffer).toBe(chunk.buffer);
		expect(decodeUtf8(first ?? chunk)).toBe(delta("x"));
		expect(decodeUtf8(scanner.end())).toBe('data: {"cho');
	});

	it("never throws on noise, and loses or changes no byte", () => {
		const piece = fc.oneof(
			fc.uint8Array({ maxLength: 40 }),
			fc
				.constantFrom(
					"\n",
					"\r",
					"\r\n",
					"\n\n",
					"data",
					"data:",
					"event: error\n",
					'data: {"error":',
					'"usage"',
					": x\n",
					"[DONE]",
				)
				.map((text) => encoder.encode(text)),
		);
		fc.assert(
			fc.property(
				fc.array(piece, { maxLength: 40 }),
				fc.constantFrom(openaiDialect, anthropicDialect),
				(pieces, dialect) => {
					const scanner = new StreamScanner({ dialect, removeUsageEvent: false });
					const out = pieces.flatMap((bytes) => scanner.push(bytes));
					out.push(scanner.end());
					expect([...concatBytes(out)]).toEqual([...concatBytes(pieces)]);
				},
			),
		);
	});
});

describe("SseSplitter", () => {
	it("does not hold an endless event, whatever the chunks", () => {
		const run = (step: number) => {
			const events: string[] = [];
			const sink = {
				event(bytes: Uint8Array, start: number, end: number) {
					events.push(decodeUtf8(bytes.subarray(start, end)));
					return false;
				},
			};
			const splitter = new SseSplitter(sink, 10);
			const bytes = encoder.encode(`data: 1\n\ndata: ${"x".repeat(50)}\n\ndata: 2\n\n`);
			const out: Uint8Array[] = [];
			for (let at = 0; at < bytes.length; at += step) {
				out.push(...splitter.push(bytes.slice(at, at + step)));
				expect(splitter.heldBytes).toBeLessThanOrEqual(10);
			}
			return { events, out: decodeUtf8(concatBytes(out)) };
		};
		const expected = { events: ["data: 1\n\n", "data: 2\n\n"], out: `data: ${"x".repeat(50)}\n\n` };
		for (const step of [1, 2, 3, 7, 11, 1000]) expect(run(step)).toEqual(expected);
	});
});
