import { expect, test } from "vitest";
import type { RequestFacts } from "../core/model/request-facts.ts";
import type { UpstreamListener } from "../ports/upstream.ts";
import { openaiDialect } from "../protocol/dialects.ts";
import { ENGINES } from "../protocol/engines/detect-engine.ts";
import { Attempt, type AttemptOwner } from "./attempt.ts";

const FACTS: RequestFacts = {
	operation: "chat",
	model: "m",
	stream: true,
	wantsStreamUsage: true,
	promptChars: 0,
	promptExtraTokens: 10,
	maxTokens: 10,
	sequences: 1,
	hasTools: false,
};
const EVENT = Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n');

function streaming(owner: Partial<AttemptOwner>) {
	const told: string[] = [];
	const attempt: Attempt = new Attempt(
		{
			dialect: openaiDialect,
			engine: ENGINES.generic,
			facts: FACTS,
			assembles: false,
			idleTimeoutMs: undefined,
			firstByteTimeoutMs: undefined,
		},
		{
			produced: () => told.push("produced"),
			deliver: () => told.push("deliver") > 0,
			answered: () => told.push("answered"),
			broke: () => told.push("broke"),
			gaveUp: () => told.push("gaveUp"),
			...owner,
		},
	);
	let upstream: UpstreamListener | undefined;
	attempt.start((listener) => {
		upstream = listener;
		return { reached: true, pause: () => {}, resume: () => {}, abort: () => told.push("aborted") };
	});
	upstream!.response(200, ["content-type", "text/event-stream"]);
	return { attempt, upstream: upstream!, told };
}

test("a run that its own first token ends (a better request takes its place) delivers nothing more", () => {
	const { attempt, upstream, told } = streaming({ produced: () => attempt.abort() });
	upstream.data(EVENT);
	upstream.data(EVENT);
	upstream.end();
	expect(told).toEqual(["aborted"]);
});

test("a run that goes on delivers its events and ends once", () => {
	const { upstream, told } = streaming({});
	upstream.data(EVENT);
	upstream.end();
	upstream.end();
	upstream.failed(new Error("late"), true);
	expect(told).toEqual(["produced", "deliver", "answered"]);
});
