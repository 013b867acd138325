/**
 * How the official clients take every refusal: they see status and code, give up at once where a retry cannot help, and come back neither at once nor never. Their clock is
 * virtual, and what they are sent is what the gateway would send.
 */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ERROR_CODES, type ErrorCode } from "../../src/core/model/error-code.ts";
import { errorAnswer } from "../../src/http/error-response.ts";
import { DIALECTS } from "../../src/protocol/dialects.ts";

const RETRIES = 2;
const MESSAGES = [{ role: "user" as const, content: "hello" }];
const WAITS_MS = [undefined, 10, 1000, 30_000, 3_600_000, 86_400_000];
/** Written to the log only: nobody is there to read it. */
const SENT = ERROR_CODES.filter((code) => code !== "client_closed");

type Fetch = typeof globalThis.fetch;

const CLIENTS = {
	openai: (fetch: Fetch) => {
		const client = new OpenAI({ apiKey: "x", baseURL: "http://gateway/v1", maxRetries: RETRIES, fetch });
		return () => client.chat.completions.create({ model: "mock", messages: MESSAGES });
	},
	anthropic: (fetch: Fetch) => {
		const client = new Anthropic({ apiKey: "x", baseURL: "http://gateway", maxRetries: RETRIES, fetch });
		return () => client.messages.create({ model: "mock", max_tokens: 5, messages: MESSAGES });
	},
} as const;

interface Behaviour {
	readonly status: number;
	readonly error: {
		readonly status?: number;
		readonly error?: { readonly code?: string; readonly error?: { code: string } };
	};
	/** Between one attempt and the next. */
	readonly waitsMs: readonly number[];
}

async function behaviour(
	name: keyof typeof CLIENTS,
	code: ErrorCode,
	retryAfterMs: number | undefined,
): Promise<Behaviour> {
	const at: number[] = [];
	const refusal = { code, message: "no", ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
	let status = 0;
	const call = CLIENTS[name](async () => {
		at.push(Date.now());
		const answer = errorAnswer(DIALECTS[name], refusal, "req_1");
		status = answer.status;
		const headers = new Headers();
		for (let i = 0; i < answer.headers.length; i += 2) headers.append(answer.headers[i]!, answer.headers[i + 1]!);
		return new Response(answer.body, { status, headers });
	});
	let error: Behaviour["error"] | undefined;
	const over = call().then(
		() => expect.fail("it was refused"),
		(reason) => {
			error = reason;
		},
	);
	while (error === undefined) await vi.advanceTimersByTimeAsync(100);
	await over;
	return { status, error, waitsMs: at.slice(1).map((time, i) => time - at[i]!) };
}

beforeEach(() => {
	vi.useFakeTimers();
});
afterEach(() => {
	vi.useRealTimers();
});

describe.each(["openai", "anthropic"] as const)("the %s client", (name) => {
	test.each(SENT)("%s", async (code) => {
		for (const retryAfterMs of WAITS_MS) {
			const { status, error, waitsMs } = await behaviour(name, code, retryAfterMs);
			const said = error.error?.error?.code ?? error.error?.code;
			expect([error.status, said]).toEqual([status, code]);
			const canHelp = status >= 500 || status === 408 || status === 429;
			const tooLong = [429, 503, 529].includes(status) && (retryAfterMs ?? 0) > 60_000;
			expect(waitsMs).toHaveLength(canHelp && !tooLong ? RETRIES : 0);
			for (const waitMs of waitsMs) {
				// Its own backoff is half a second less a quarter, ours a second or more.
				expect(waitMs).toBeGreaterThanOrEqual([429, 503, 529].includes(status) ? 1000 : 375);
				expect(waitMs).toBeLessThanOrEqual(60_100);
			}
		}
	});
});
