import { describe, expect, it } from "vitest";
import { parseFault } from "./mock-fault.ts";

describe("parseFault", () => {
	it.each([
		["error:500", { status: 500 }],
		["429", { status: 429 }],
		["stall:after=3", { stallAfter: 3 }],
		["cut:after=0", { cutAfter: 0 }],
		["slow-first-byte:250", { firstByteDelayMs: 250 }],
		["overload-200", { overload200: "sglang" }],
		["overload-200:tgi", { overload200: "tgi" }],
		["no-usage; no-done", { noUsage: true, noDone: true }],
	])("reads %s", (text, fault) => expect(parseFault(text)).toEqual(fault));

	it.each([
		"",
		"error",
		"error:200",
		"error:abc",
		"stall",
		"cut:after=-1",
		"garbage:1",
		"404",
		"no-usage,no-done",
		"x;429",
	])("refuses %j and says what is allowed", (text) =>
		expect(parseFault(text)).toMatch(/^fault ".*" is unknown; allowed are error:STATUS/),
	);
});
