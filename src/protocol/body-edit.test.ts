import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BodyEdits, editBody } from "./body-edit.ts";
import { decodeUtf8 } from "./bytes.ts";

const encoder = new TextEncoder();

function edited(text: string, edits: BodyEdits): string | undefined {
	const bytes = editBody(encoder.encode(text), edits);
	return bytes === undefined ? undefined : decodeUtf8(bytes);
}

describe("editBody", () => {
	it.each<[string, BodyEdits, string]>([
		['{"model":"a","n":1}', { model: "b" }, '{"model":"b","n":1}'],
		[
			'{"model" :  "a" , "seed":12345678901234567890}',
			{ model: "b" },
			'{"model" :  "b" , "seed":12345678901234567890}',
		],
		['{"a":1}', { model: "é" }, '{"model":"\\u00e9","a":1}'],
		["{}", { stream: true }, '{"stream":true}'],
		[" { } ", { stream: true }, ' {"stream":true } '],
		['{"stream": false}', { stream: true }, '{"stream": true}'],
		['{"a":1}', { includeStreamUsage: true }, '{"stream_options":{"include_usage":true},"a":1}'],
		['{"stream_options":null}', { includeStreamUsage: true }, '{"stream_options":{"include_usage":true}}'],
		['{"stream_options":{}}', { includeStreamUsage: true }, '{"stream_options":{"include_usage":true}}'],
		[
			'{"stream_options":{ "x":[1]}}',
			{ includeStreamUsage: true },
			'{"stream_options":{"include_usage":true, "x":[1]}}',
		],
		[
			'{"stream_options":{"include_usage":false}}',
			{ includeStreamUsage: true },
			'{"stream_options":{"include_usage":true}}',
		],
		['{"priority":-5,"a":1}', { priority: "remove" }, '{"a":1}'],
		['{"a":1,"priority":-5}', { priority: "remove" }, '{"a":1}'],
		['{"a":1 , "priority":-5, "rid":"x" }', { priority: "remove", removeRid: true }, '{"a":1 }'],
		['{"rid":"x","a":1,"priority":1,"b":2,"rid":[{}]}', { priority: "remove", removeRid: true }, '{"a":1,"b":2}'],
		['{"priority":1}', { priority: "remove" }, "{}"],
		['{"priority":1}', { priority: "remove", stream: true }, '{"stream":true}'],
		['{"pri\\u006frity":1,"a":"\\\\\\""}', { priority: "remove" }, '{"a":"\\\\\\""}'],
		['{"priority":1,"priority":2}', { priority: 7 }, '{"priority":7,"priority":7}'],
		['{"a":1}', { priority: 0 }, '{"priority":0,"a":1}'],
		['{"x":{"priority":1,"model":"deep"}}', { priority: "remove" }, '{"x":{"priority":1,"model":"deep"}}'],
	])("%s with %o", (before, edits, after) => {
		expect(edited(before, edits)).toBe(after);
	});

	it("returns the very same array when nothing is to be changed", () => {
		const body = encoder.encode('{"model":"a"}');
		expect(editBody(body, {})).toBe(body);
		expect(editBody(body, { priority: "remove", removeRid: true })).toBe(body);
	});

	it("leaves bytes alone that are no UTF-8", () => {
		const body = Uint8Array.from([...encoder.encode('{"model":"a","x":"'), 0xff, 0xfe, ...encoder.encode('"}')]);
		const expected = Uint8Array.from([...encoder.encode('{"model":"bb","x":"'), 0xff, 0xfe, ...encoder.encode('"}')]);
		expect(editBody(body, { model: "bb" })).toEqual(expected);
	});

	it("answers undefined for what is no object", () => {
		for (const text of ["", "[]", "1", '"x"', '{"a"', '{"a":', '{"a":"', '{"a":1', "{,}", '{"a":1,}'])
			expect(edited(text, { model: "b" }), text).toBeUndefined();
	});

	it("walks a hundred thousand levels without using the stack", () => {
		const deep = `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)},"priority":1}`;
		expect(edited(deep, { priority: "remove" })).toBe(deep.replace(',"priority":1', ""));
	});

	const key = fc.oneof(
		fc.constantFrom("model", "stream", "priority", "rid", "stream_options", "messages", "__proto__", 'q"\\'),
		fc.string(),
	);
	const edits = fc.record(
		{
			model: fc.string(),
			includeStreamUsage: fc.boolean(),
			stream: fc.constant(true),
			priority: fc.oneof(fc.constant("remove" as const), fc.integer()),
			removeRid: fc.boolean(),
		},
		{ requiredKeys: [] },
	);

	it("means the edit and nothing else", () => {
		fc.assert(
			fc.property(
				fc.array(fc.tuple(key, fc.jsonValue({ maxDepth: 3 })), { maxLength: 8 }),
				edits,
				fc.constantFrom(undefined, 1, "\t", " \r\n"),
				(entries, wanted, space) => {
					const object = Object.create(null) as Record<string, unknown>;
					for (const [name, value] of entries) object[name] = value;
					const text = JSON.stringify(object, undefined, space);
					const result = edited(text, wanted);
					const expected = JSON.parse(text) as Record<string, unknown>;
					if (wanted.model !== undefined) expected["model"] = wanted.model;
					if (wanted.stream) expected["stream"] = true;
					if (wanted.priority === "remove") delete expected["priority"];
					else if (wanted.priority !== undefined) expected["priority"] = wanted.priority;
					if (wanted.removeRid) delete expected["rid"];
					if (wanted.includeStreamUsage) {
						const options = expected["stream_options"];
						const isObject = typeof options === "object" && options !== null && !Array.isArray(options);
						expected["stream_options"] = { ...(isObject ? options : {}), include_usage: true };
					}
					const sorted = (value: object) => JSON.stringify(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
					// Key order inside stream_options is free.
					const normal = (value: Record<string, unknown>) => {
						const copy = Object.assign(Object.create(null), value) as Record<string, unknown>;
						const options = copy["stream_options"];
						if (typeof options === "object" && options !== null && !Array.isArray(options))
							copy["stream_options"] = sorted(options);
						return sorted(copy);
					};
					expect(normal(JSON.parse(result ?? "null"))).toBe(normal(expected));
				},
			),
		);
	});

	it("keeps every untouched member's bytes in their order", () => {
		fc.assert(
			fc.property(fc.array(fc.jsonValue({ maxDepth: 2 }), { maxLength: 6 }), edits, (values, wanted) => {
				const kept = values.map((value, index) => `"k${index}" : ${JSON.stringify(value)}`);
				const text = `{${[...kept.slice(0, 3), '"priority":1', ...kept.slice(3), '"rid":2'].join(" ,\n")}}`;
				const result = edited(text, wanted) ?? "";
				let at = 0;
				for (const piece of kept) {
					at = result.indexOf(piece, at);
					expect(at).toBeGreaterThan(0);
					at += piece.length;
				}
			}),
		);
	});

	it("never throws on any bytes", () => {
		const noise = fc.oneof(
			fc.uint8Array({ maxLength: 200 }),
			fc.stringMatching(/^[{}[\]",:\\ a-z0-9]{0,60}$/).map((text) => encoder.encode(`{${text}`)),
		);
		fc.assert(fc.property(noise, edits, (bytes, wanted) => void editBody(bytes, wanted)));
	});
});
