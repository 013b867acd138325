/** Clients of every kind, by seed: both protocols, whole and streamed, patient and not, to an engine that has every fault. */
import { request as httpRequest } from "node:http";
import type { Random } from "../../src/simulate/random.ts";

const PATHS = [
	"/v1/chat/completions",
	"/v1/messages",
	"/v1/completions",
	"/v1/embeddings",
	"/v1/messages/count_tokens",
];
const FAULTS = [
	"error:500",
	"error:400",
	"429",
	"503",
	"cut:after=0",
	"cut:after=3",
	"overload-200",
	"overload-200:tgi",
	"garbage",
	"no-usage",
	"no-done",
	"stall:after=0",
	"stall:after=2",
	"slow-first-byte:20",
	"slow-first-byte:400",
];

/** When a client leaves. */
export type Leave =
	| { readonly kind: "never" }
	/** With half of its body sent. */
	| { readonly kind: "sending" }
	/** So long after its body is sent: while it waits, or before any header, or in the middle. */
	| { readonly kind: "after"; readonly ms: number }
	| { readonly kind: "bytes"; readonly count: number }
	/** As its last byte comes. */
	| { readonly kind: "end" };

export interface Plan {
	readonly path: string;
	readonly model: string;
	readonly stream: boolean;
	readonly outputTokens: number;
	readonly maxTokens: number;
	readonly fault: string | undefined;
	readonly leave: Leave;
	/** By reset instead of in good order. */
	readonly resets: boolean;
	/** Takes its time between chunks. */
	readonly isSlow: boolean;
	readonly headers: Readonly<Record<string, string>>;
}

export interface Seen {
	readonly plan: Plan;
	/** 0 when there was no answer. */
	readonly status: number;
	readonly requestId: string | undefined;
	readonly whole: boolean;
	readonly code: string | undefined;
}

export function planOf(random: Random, identities: readonly Readonly<Record<string, string>>[]): Plan {
	const pick = <T>(from: readonly T[]): T => from[random.integer(0, from.length - 1)]!;
	const path = random.chance(0.9) ? pick(PATHS.slice(0, 2)) : pick(PATHS);
	const outputTokens = random.chance(0.1) ? random.integer(200, 600) : random.integer(1, 40);
	return {
		path,
		model: random.chance(0.3) ? "limited" : "mock",
		stream: random.chance(0.6) && !path.endsWith("count_tokens") && !path.endsWith("embeddings"),
		outputTokens,
		maxTokens: random.chance(0.1) ? 3000 : outputTokens + random.integer(0, 30),
		fault: random.chance(0.25) ? pick(FAULTS) : undefined,
		leave: leaveOf(random),
		resets: random.chance(0.5),
		isSlow: random.chance(0.05),
		headers: {
			...pick(identities),
			...(random.chance(0.1) ? { "x-request-deadline-ms": String(random.integer(1, 300)) } : {}),
			...(random.chance(0.1) ? { "x-request-id": "the same for all" } : {}),
			...(random.chance(0.1) ? { "x-request-class": pick(["batch", "realtime", "spot"]) } : {}),
		},
	};
}

function leaveOf(random: Random): Leave {
	if (random.chance(0.7)) return { kind: "never" };
	const kind = random.integer(0, 9);
	if (kind === 0) return { kind: "sending" };
	if (kind < 6) return { kind: "after", ms: random.integer(0, 120) };
	return kind < 9 ? { kind: "bytes", count: random.integer(0, 3) * 150 } : { kind: "end" };
}

/** Resolves when all is over on the client's side. */
export function play(dataUrl: string, plan: Plan): Promise<Seen> {
	const { leave } = plan;
	const body = JSON.stringify({
		model: plan.model,
		...(plan.path === "/v1/embeddings"
			? { input: "words to be counted" }
			: plan.path === "/v1/completions"
				? { prompt: "words to be counted" }
				: { messages: [{ role: "user", content: "words to be counted" }] }),
		...(plan.path === "/v1/embeddings" || plan.path.endsWith("count_tokens")
			? {}
			: { max_tokens: plan.maxTokens, stream: plan.stream }),
	});
	const headers = {
		"content-type": "application/json",
		"content-length": Buffer.byteLength(body),
		"x-mock-output-tokens": String(plan.outputTokens),
		...(plan.fault === undefined ? {} : { "x-mock-fault": plan.fault }),
		...plan.headers,
	};
	return new Promise((resolve) => {
		let timer: NodeJS.Timeout | undefined;
		const request = httpRequest(dataUrl + plan.path, { method: "POST", headers, agent: false });
		const go = () => {
			if (plan.resets) request.socket?.resetAndDestroy();
			request.destroy();
		};
		const over = (seen: Omit<Seen, "plan">) => {
			clearTimeout(timer);
			resolve({ plan, ...seen });
		};
		request.on("error", () => over({ status: 0, requestId: undefined, whole: false, code: undefined }));
		request.on("response", (response) => {
			let text = "";
			response.on("data", (chunk: Buffer) => {
				text += chunk.toString();
				if (leave.kind === "bytes" && text.length > leave.count) go();
				else if (leave.kind === "end" && isWhole(plan, text)) go();
				else if (plan.isSlow) {
					response.pause();
					setTimeout(() => response.resume(), 20);
				}
			});
			response.on("error", () => {});
			response.on("close", () =>
				over({
					status: response.statusCode!,
					requestId: response.headers["x-request-id"] as string | undefined,
					whole: response.complete && isWhole(plan, text),
					code: /"code":"(\w+)"/.exec(text)?.[1],
				}),
			);
		});
		if (leave.kind === "sending") {
			request.write(body.slice(0, body.length / 2));
			timer = setTimeout(go, 5);
			return;
		}
		request.end(body);
		if (leave.kind === "after") timer = setTimeout(go, leave.ms);
	});
}

function isWhole({ stream }: Plan, text: string): boolean {
	return stream ? text.includes("[DONE]") || text.includes("event: message_stop") : text.endsWith("}");
}
