/**
 * Messages as the Anthropic API streams them: message_start, content_block_start, ping, content_block_delta …, content_block_stop,
 * message_delta with cumulative usage, message_stop.
 */
import type { Answer, Wire } from "./mock-wire.ts";
import { fragment, outputTokensOf, sequenceAt, wholeText } from "./mock-wire.ts";

export function anthropicWire(answer: Answer): Wire {
	const { request } = answer;
	const id = `msg_${answer.requestId}`;
	const tool = request.toolCall;
	const block = tool !== undefined && { type: "tool_use", id: `toolu_${answer.requestId}`, name: tool.name };
	const stopReason = tool !== undefined ? "tool_use" : sequenceAt(request, 0).truncated ? "max_tokens" : "end_turn";
	const usage = { input_tokens: request.promptTokens, output_tokens: outputTokensOf(request) };
	const message = (content: readonly object[], reason: string | null, used: object): object => ({
		id,
		type: "message",
		role: "assistant",
		model: request.model,
		content,
		stop_reason: reason,
		stop_sequence: null,
		...(answer.withUsage && { usage: used }),
	});
	return {
		start() {
			const used = { input_tokens: request.promptTokens, output_tokens: 1 };
			return (
				event({ type: "message_start", message: message([], null, used) }) +
				event({
					type: "content_block_start",
					index: 0,
					content_block: block === false ? { type: "text", text: "" } : { ...block, input: {} },
				}) +
				event({ type: "ping" })
			);
		},
		tokens(sequence, from, to) {
			const delta = tool === undefined ? '"type":"text_delta","text"' : '"type":"input_json_delta","partial_json"';
			let text = "";
			for (let index = from; index < to; index++) {
				const value = JSON.stringify(fragment(request, sequence, index));
				text += `event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{${delta}:${value}}}\n\n`;
			}
			return text;
		},
		finish: () => event({ type: "content_block_stop", index: 0 }),
		end() {
			const delta = event({
				type: "message_delta",
				delta: { stop_reason: stopReason, stop_sequence: null },
				...(answer.withUsage && { usage }),
			});
			return delta + (answer.withTerminator ? event({ type: "message_stop" }) : "");
		},
		complete() {
			const text = wholeText(request, 0);
			const content = block === false ? { type: "text", text } : { ...block, input: JSON.parse(text) };
			return JSON.stringify(message([content], stopReason, usage));
		},
	};
}

function event(data: { readonly type: string; readonly [field: string]: unknown }): string {
	return `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
}
