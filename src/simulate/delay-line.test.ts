import { expect, test } from "vitest";
import { DelayLine } from "./delay-line.ts";

test("messages arrive in the order and at the times they were sent for, however many are under way", () => {
	const line = new DelayLine<"a" | "b">();
	const taken: [number, string, number, number][] = [];
	let put = 0;
	for (let round = 1; round <= 60; round++) {
		for (let n = 0; n < round % 13; n++, put++) line.put(put * 2, put % 2 === 0 ? "a" : "b", put, -put);
		for (let n = 0; n < round % 7 && line.nextAt !== Number.POSITIVE_INFINITY; n++) {
			const at = line.nextAt;
			const { kind, run, tokens } = line.take();
			taken.push([at, kind, run, tokens]);
		}
	}
	for (let at = line.nextAt; at !== Number.POSITIVE_INFINITY; at = line.nextAt) {
		const { kind, run, tokens } = line.take();
		taken.push([at, kind, run, tokens]);
	}
	expect(put).toBeGreaterThan(300);
	expect(taken).toEqual(Array.from({ length: put }, (_, n) => [n * 2, n % 2 === 0 ? "a" : "b", n, -n]));
});
