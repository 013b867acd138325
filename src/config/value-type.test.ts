import { describe, expect, it } from "vitest";
import * as types from "./value-type.ts";

describe("value types", () => {
	it.each<[string, types.ValueType<unknown>, string, unknown]>([
		["bare seconds", types.duration(), "300", 300_000],
		["milliseconds", types.duration(), "100ms", 100],
		["minutes", types.duration(), "5m", 300_000],
		["hours", types.duration(), "1h", 3_600_000],
		["size", types.size, "20MB", 20 * 1024 * 1024],
		["size in GiB", types.size, "1GiB", 1024 ** 3],
		["toggle", types.toggle, "Yes", true],
		["list in brackets", types.listOf(types.decimal()), "[0, 0.2]", [0, 0.2]],
		["list", types.listOf(types.integer()), "0,1", [0, 1]],
		["empty list", types.listOf(types.integer()), "", []],
		["range", types.inclusiveRange, "0-19", [0, 19]],
		["range in brackets", types.inclusiveRange, "[20, 99]", [20, 99]],
		["alias", types.oneOf(["wfq"], { weighted_fair: "wfq" }), "weighted_fair", "wfq"],
		["address", types.listenAddress, "[::1]:80", { host: "::1", port: 80 }],
		["every address", types.listenAddress, ":80", { host: "0.0.0.0", port: 80 }],
		["block", types.cidr, "10.0.0.0/8", "10.0.0.0/8"],
		["single address", types.cidr, "::1", "::1/128"],
		["url", types.httpUrl, "http://host:8000/", "http://host:8000"],
		["off", types.orOff(types.duration()), "off", undefined],
		["word", types.orWord(types.integer(), "auto"), "AUTO", "auto"],
	])("%s", (_name, type, text, value) => {
		expect(type.parse(text)).toEqual({ value });
	});

	it.each<[types.ValueType<unknown>, string]>([
		[types.decimal({ above: 0, below: 1 }), "1"],
		[types.decimal(), "0x10"],
		[types.decimal(), "Infinity"],
		[types.integer(), "1.5"],
		[types.integer(), "99999999999999999999"],
		[types.duration(), "0"],
		[types.duration(), "5 parsecs"],
		[types.duration(), "90d"],
		[types.size, "12"],
		[types.listOf(types.integer()), "[1, 2"],
		[types.listOf(types.integer()), "1,,2"],
		[types.inclusiveRange, "[5, 2]"],
		[types.fractionRange, "[0.5, 0.5]"],
		[types.fractionRange, "[0, 1.2]"],
		[types.listenAddress, "host"],
		[types.listenAddress, "host:70000"],
		[types.cidr, "10.0.0.0/33"],
		[types.cidr, "10.0.0/8"],
		[types.httpUrl, "ftp://host"],
		[types.httpUrl, "http://"],
		[types.environmentVariable, "sk-123"],
		[types.oneOf(["a"]), "__proto__"],
		[types.oneOf(["a"]), "constructor"],
	])("refuses for $0.name: %j", (type, text) => {
		expect(type.parse(text)).toBeUndefined();
	});

	it("describes ranges", () => {
		expect(types.integer({ min: 2, max: 100 }).allowed).toBe("a whole number from 2 to 100");
		expect(types.decimal({ above: 0, below: 1 }).allowed).toBe("a number greater than 0 and less than 1");
		expect(types.decimal({ above: 0, max: 5 }).allowed).toBe("a number greater than 0 and up to 5");
		expect(types.decimal({ min: 0, below: 1 }).allowed).toBe("a number from 0 and less than 1");
	});
});
