import { expect, test } from "vitest";
import { readableLine } from "./log.ts";

test("a line for people: time, level, sentence, fields; nothing that steers a terminal", () => {
	const line = { level: 40, time: 1, pid: 1, hostname: "h", pool: "a\u001b[31m", endpoint: 0, msg: "endpoint is down" };
	expect(readableLine(JSON.stringify(line))).toMatch(
		/^\d\d:\d\d:\d\d warn {3}endpoint is down {2}pool=a \[31m endpoint=0\n$/,
	);
	expect(readableLine('{"level":30,"time":1,"msg":"no more than a sentence"}')).toMatch(
		/info {3}no more than a sentence\n$/,
	);
});
