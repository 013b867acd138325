/**
 * Clients that keep a gateway busy until it dies, and remember what they saw finished: the whole body of a plain answer, the terminator of
 * a stream (the next byte may never come).
 */
import { Agent, request } from "node:http";
import type { Random } from "../../src/simulate/random.ts";

export interface ClientLoad {
	/** Ids of the answers that were seen finished. */
	readonly finished: readonly string[];
	/** Resolves when every client has lost its gateway. */
	readonly over: Promise<void>;
}

const TERMINATORS = ["data: [DONE]", "event: message_stop"];

export function keepBusy(dataUrl: string, clients: number, random: Random, onEvent: () => void): ClientLoad {
	const finished: string[] = [];
	const agent = new Agent({ keepAlive: true, maxSockets: clients });
	const client = async () => {
		for (;;) {
			const isStream = random.chance(0.5);
			const path = random.chance(0.5) ? "/v1/chat/completions" : "/v1/messages";
			const maxTokens = 1 + Math.floor(random.next() * 40);
			const leaves = random.chance(0.05);
			const alive = await ask(path, isStream, maxTokens, leaves);
			if (!alive) return;
		}
	};
	/** False when the gateway is gone. */
	const ask = (path: string, isStream: boolean, maxTokens: number, leaves: boolean): Promise<boolean> =>
		new Promise((resolve) => {
			let tail = "";
			const sent = request(`${dataUrl}${path}`, { method: "POST", agent }, (response) => {
				const id = response.headers["x-request-id"] as string;
				const isGood = response.statusCode === 200;
				let isNoted = false;
				const note = () => {
					if (!isNoted && isGood) finished.push(id);
					isNoted = true;
				};
				response.on("data", (chunk: Buffer) => {
					tail = (tail + chunk.toString()).slice(-300);
					if (isStream && TERMINATORS.some((terminator) => tail.includes(terminator))) note();
					onEvent();
					if (leaves) sent.destroy();
				});
				response.on("end", () => {
					if (response.complete && !isStream) note();
					resolve(true);
				});
				response.on("error", () => resolve(leaves));
			});
			sent.on("error", () => resolve(leaves));
			const messages = [{ role: "user", content: "Where is my parcel? ".repeat(1 + Math.floor(random.next() * 5)) }];
			sent.end(JSON.stringify({ model: "mock", max_tokens: maxTokens, stream: isStream, messages }));
		});
	const over = Promise.all(Array.from({ length: clients }, client)).then(() => agent.destroy());
	return { finished, over };
}
