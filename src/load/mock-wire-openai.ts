/**
 * Chat completions, completions and embeddings as vLLM answers them: usage only in the last chunk and only when asked, then `[DONE]`.
 */

import { embeddingOf } from "./mock-text.ts";
import type { Answer, Wire } from "./mock-wire.ts";
import { fragment, outputTokensOf, sequenceAt, wholeText } from "./mock-wire.ts";

export function openaiWire(answer: Answer): Wire {
	const { request } = answer;
	if (request.operation === "embedding") return embeddingWire(answer);
	const chat = request.operation === "chat";
	const id = `${chat ? "chatcmpl" : "cmpl"}-${answer.requestId}`;
	const object = chat ? (request.stream ? "chat.completion.chunk" : "chat.completion") : "text_completion";
	const head = `{"id":${JSON.stringify(id)},"object":"${object}","created":${answer.createdSeconds},"model":${JSON.stringify(request.model)}`;
	const finishReason = (sequence: number): string => {
		if (request.toolCall !== undefined && chat) return "tool_calls";
		return sequenceAt(request, sequence).truncated ? "length" : "stop";
	};
	const chunk = (sequence: number, delta: string, reason: string | null): string => {
		const ending = `"logprobs":null,"finish_reason":${JSON.stringify(reason)}}]}\n\n`;
		return `data: ${head},"choices":[{"index":${sequence},${delta},${ending}`;
	};
	const callId = (sequence: number): string => `call_${answer.requestId}_${sequence}`;
	const delta = (sequence: number, index: number): string => {
		const text = JSON.stringify(fragment(request, sequence, index));
		if (!chat) return `"text":${text}`;
		if (request.toolCall === undefined) return `"delta":{"content":${text}}`;
		return `"delta":{"tool_calls":[{"index":0,"function":{"arguments":${text}}}]}`;
	};
	const message = (sequence: number): object => {
		const text = wholeText(request, sequence);
		if (request.toolCall === undefined) return { role: "assistant", content: text, tool_calls: [] };
		const call = { id: callId(sequence), type: "function", function: { name: request.toolCall.name, arguments: text } };
		return { role: "assistant", content: null, tool_calls: [call] };
	};
	return {
		start() {
			if (!chat) return "";
			let text = "";
			for (let sequence = 0; sequence < request.sequences.length; sequence++) {
				text += chunk(sequence, '"delta":{"role":"assistant","content":""}', null);
				if (request.toolCall === undefined) continue;
				const call = {
					index: 0,
					id: callId(sequence),
					type: "function",
					function: { name: request.toolCall.name, arguments: "" },
				};
				text += chunk(sequence, `"delta":{"tool_calls":[${JSON.stringify(call)}]}`, null);
			}
			return text;
		},
		tokens(sequence, from, to) {
			let text = "";
			for (let index = from; index < to; index++) text += chunk(sequence, delta(sequence, index), null);
			return text;
		},
		finish: (sequence) => chunk(sequence, chat ? '"delta":{}' : '"text":""', finishReason(sequence)),
		end() {
			const usage =
				answer.withUsage && request.includeUsage
					? `data: ${head},"choices":[],"usage":${JSON.stringify(usageOf(answer))}}\n\n`
					: "";
			return usage + (answer.withTerminator ? "data: [DONE]\n\n" : "");
		},
		complete() {
			const choices = request.sequences.map((_, index) => ({
				index,
				...(chat ? { message: message(index) } : { text: wholeText(request, index) }),
				logprobs: null,
				finish_reason: finishReason(index),
			}));
			const usage = answer.withUsage ? `,"usage":${JSON.stringify(usageOf(answer))}` : "";
			return `${head},"choices":${JSON.stringify(choices)}${usage}}`;
		},
	};
}

function embeddingWire(answer: Answer): Wire {
	const { request } = answer;
	const nothing = (): string => "";
	return {
		start: nothing,
		tokens: nothing,
		finish: nothing,
		end: nothing,
		complete() {
			const data = request.sequences.map(({ seed }, index) => {
				const vector = embeddingOf(seed, request.dimensions);
				const embedding = request.base64 ? Buffer.from(vector.buffer).toString("base64") : [...vector];
				return { object: "embedding", index, embedding };
			});
			return JSON.stringify({
				id: `embd-${answer.requestId}`,
				object: "list",
				created: answer.createdSeconds,
				model: request.model,
				data,
				...(answer.withUsage && { usage: usageOf(answer) }),
			});
		},
	};
}

function usageOf({ request }: Answer): object {
	const output = outputTokensOf(request);
	return {
		prompt_tokens: request.promptTokens,
		total_tokens: request.promptTokens + output,
		completion_tokens: output,
	};
}
