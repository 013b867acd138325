/** Protection before scheduling through the whole gateway: rates of the gateway and of models, and the longest context. */
import { expect, onTestFinished, test } from "vitest";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

async function open(ini: string): Promise<TestBed> {
	const bed = await openTestBed(OPEN + ini);
	onTestFinished(() => bed.close());
	return bed;
}

function ask(bed: TestBed, body: object = {}): Promise<Response> {
	return fetch(`${bed.gateway.dataUrl}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", "x-mock-output-tokens": "5" },
		body: JSON.stringify({
			model: "mock",
			max_tokens: 5,
			messages: [{ role: "user", content: "hello there" }],
			...body,
		}),
	});
}

const errorOf = async (response: Response) =>
	((await response.json()) as { error: { code: string; message: string } }).error;

test("requests above the gateway's rate are refused with 429 and the rate, and leave nothing behind", async () => {
	const bed = await open("[protection.rate_limit]\nmax_rps = 0.5\n");
	expect((await ask(bed)).status).toBe(200);
	const refused = await ask(bed);
	expect(refused.status).toBe(429);
	expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
	expect(await errorOf(refused)).toMatchObject({
		code: "rate_limited",
		message: expect.stringContaining("this gateway allows 0.5 requests per second"),
	});
	await until("all is given back", () => atRest(bed));
});

test("a model has limits of its own, others go on", async () => {
	const bed = await open("[models]\nalias = mock\n[protection.rate_limit]\nmodel_max_tps = mo*:1\n");
	expect((await ask(bed, { model: "alias" })).status).toBe(200);
	const refused = await ask(bed);
	expect(refused.status).toBe(429);
	expect((await errorOf(refused)).message).toContain("model mo* allows 1 tokens per second");
	expect((await ask(bed, { model: "other" })).status).not.toBe(429);
});

test("a request beyond the model's context is refused, a shorter one is not", async () => {
	const bed = await open("[protection.context_length]\ndefault_limit = 100000\nmodel_limits = mock:200\n");
	expect((await ask(bed)).status).toBe(200);
	const content = "word ".repeat(1000);
	const refused = await ask(bed, { messages: [{ role: "user", content }] });
	expect(refused.status).toBe(400);
	expect(await errorOf(refused)).toMatchObject({
		code: "context_length_exceeded",
		message: expect.stringContaining("exceed the context of 200 tokens"),
	});
	expect((await ask(bed, { max_tokens: 300 })).status).toBe(400);
	expect((await ask(bed, { model: "other", messages: [{ role: "user", content }] })).status).not.toBe(400);
});
