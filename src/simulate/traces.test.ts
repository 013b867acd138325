import { existsSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { openTrace, parseTrace, TraceError } from "./traces.ts";

const root = path.resolve(import.meta.dirname, "../..");
const fixture = (name: string) => path.join(root, "test/fixtures/traces", name);
const dataFolder = process.env["TOKLIGENCE_DATA"] ?? path.join(root, "../shared/data");

function summary(file: string) {
	const trace = openTrace(file);
	const requests = [...trace.requests()];
	return {
		format: trace.format,
		hasArrivals: trace.hasArrivals,
		count: requests.length,
		first: requests[0],
		last: requests.at(-1),
	};
}

describe("openTrace reads", () => {
	it("Azure, times from the first row", () => {
		const trace = summary(fixture("azure2023-conv-excerpt.csv"));
		expect(trace).toMatchObject({ format: "azure", hasArrivals: true, count: 200 });
		expect(trace.first).toEqual({ arrivalMs: 0, promptTokens: 374, outputTokens: 44 });
		const second = [...openTrace(fixture("azure2023-conv-excerpt.csv")).requests()][1];
		expect(second?.arrivalMs).toBeGreaterThan(0);
	});

	it("Mooncake", () => {
		const trace = summary(fixture("mooncake-synthetic-excerpt.jsonl"));
		expect(trace).toMatchObject({ format: "mooncake", hasArrivals: true, count: 20 });
		expect(trace.first).toEqual({ arrivalMs: 0, promptTokens: 40160, outputTokens: 6 });
	});

	it("ServeGen, gzipped", () => {
		const trace = summary(fixture("servegen-r1-day-excerpt.csv.gz"));
		expect(trace).toMatchObject({ format: "servegen", hasArrivals: true, count: 100 });
		expect(trace.first).toEqual({ arrivalMs: 0, client: "k66", promptTokens: 51, outputTokens: 4995 });
	});

	it("VTC with what was measured", () => {
		const trace = summary(fixture("vtc-fcfs-overload-excerpt.csv"));
		expect(trace).toMatchObject({ format: "vtc", hasArrivals: true, count: 400 });
		expect(trace.first).toMatchObject({ client: "c1", promptTokens: 256, outputTokens: 256 });
		expect(trace.first?.arrivalMs).toBeCloseTo(650.238, 6);
		expect(trace.first?.measuredFirstTokenMs).toBeCloseTo(935.133, 6);
		expect(trace.first?.measuredTotalMs).toBeCloseTo(12505.443, 6);
	});

	it("lengths without times, from both projects", () => {
		expect(summary(fixture("sharegpt-lengths-excerpt.csv"))).toMatchObject({
			format: "lengths",
			hasArrivals: false,
			count: 100,
			first: { arrivalMs: 0, promptTokens: 74, outputTokens: 918 },
		});
		expect(summary(fixture("arxiv-lengths-excerpt.csv"))).toMatchObject({
			format: "lengths",
			count: 50,
			first: { promptTokens: 3772, outputTokens: 54 },
		});
	});
});

describe("openTrace names file and line", () => {
	const header = "arrival_s,client,input_tokens,output_tokens";
	const read = (text: string) => () => [...parseTrace("t.csv", text).requests()];
	it.each([
		["an unknown header", "a,b\n1,2", "t.csv:1: unknown trace format"],
		["an empty file", "", "t.csv:1: unknown trace format"],
		["a missing field", `${header}\n1,c,2,3\n1,c,2`, "t.csv:3: has 3 fields"],
		["a word for a number", `${header}\nsoon,c,2,3`, 't.csv:2: arrival_s is "soon"'],
		["nothing for a number", `${header}\n,c,2,3`, 't.csv:2: arrival_s is ""'],
		["half a token", `${header}\n1,c,2.5,3`, 't.csv:2: input_tokens is "2.5"'],
		["a negative count", `${header}\n1,c,2,-3`, 't.csv:2: output_tokens is "-3"'],
		["time running back", `${header}\n2,c,2,3\n1,c,2,3`, "t.csv:3: arrives at 1000 ms, before"],
		["a broken JSON line", '{"timestamp":0,"input_length":1,"output_length":1}\n{"timestamp":', "t.csv:2: is not JSON"],
		["a JSON line of another kind", '{"timestamp":0,"input_length":1}', 't.csv:1: output_length is "undefined"'],
		["a bad timestamp", "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2", 't.csv:2: TIMESTAMP "yesterday"'],
	])("for %s", (_what, text, message) => {
		expect(read(text)).toThrow(TraceError);
		expect(read(text)).toThrow(message);
	});

	it("and says which file is not there", () => {
		expect(() => openTrace("/nonexistent/trace.csv")).toThrow(/^\/nonexistent\/trace\.csv: cannot be read/);
	});

	it("accepts CRLF, a byte-order mark and empty lines", () => {
		const requests = [...parseTrace("t.csv", `\uFEFF${header}\r\n1,c,2,3\r\n\r\n`).requests()];
		expect(requests).toEqual([{ arrivalMs: 1000, client: "c", promptTokens: 2, outputTokens: 3 }]);
	});
});

/** Reading the whole Azure trace right is what makes the exact busy periods of one server come out (Lindley's recursion). */
describe("the whole Azure trace", () => {
	const file = path.join(dataFolder, "azure2023_conv/AzureLLMInferenceTrace_conv.csv");
	it.skipIf(!existsSync(file)).each([
		{ rate: 9690.2, busyPeriods: 1470, lastFinishSeconds: 3501.8 },
		{ rate: 7928.4, busyPeriods: 117, lastFinishSeconds: 3891.4 },
	])("has $busyPeriods busy periods at $rate cost/s", ({ rate, busyPeriods, lastFinishSeconds }) => {
		let finish = Number.NEGATIVE_INFINITY;
		let periods = 0;
		for (const request of openTrace(file).requests()) {
			if (request.arrivalMs >= finish) periods++;
			const service = ((request.promptTokens + 2 * request.outputTokens) / rate) * 1000;
			finish = Math.max(finish, request.arrivalMs) + service;
		}
		expect(periods).toBe(busyPeriods);
		expect(finish / 1000).toBeCloseTo(lastFinishSeconds, 1);
	});
});
