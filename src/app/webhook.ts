/**
 * Sends events to one URL: signed, retried with growing pauses, never followed elsewhere. At most `MOST_WAITING` wait; one delivery at a time, in
 * order, so that a receiver sees 80 before 90.
 *
 * `X-Tokligence-Signature: t=<seconds>,v1=<hex>`, the HMAC-SHA256 of `<seconds>.<body>` under the shared key. `X-Tokligence-Delivery` is the same in
 * every attempt of an event: receivers drop what they have seen.
 */
import { createHmac, randomUUID } from "node:crypto";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Millis } from "../core/model/units.ts";
import type { Clock, Timers } from "../ports/clock.ts";
import { guardedLookup, refusedHost } from "./address-guard.ts";

const PAUSES_MS: readonly Millis[] = [1000, 5000, 30_000, 120_000, 600_000];
const ATTEMPT_TIMEOUT_MS: Millis = 10_000;
const FAREWELL_MS: Millis = 2000;
const MOST_WAITING = 1000;

export interface WebhookSettings {
	readonly url: string;
	readonly secret: string | undefined;
	readonly allowPrivate: boolean;
}

export interface WebhookDependencies {
	readonly clock: Clock;
	readonly timers: Timers;
	/** An event was given up; `why` never holds the key. */
	readonly onLost: (type: string, why: string) => void;
}

interface Delivery {
	readonly id: string;
	readonly type: string;
	readonly body: string;
	attempts: number;
}

type Outcome = { readonly kind: "done" } | { readonly kind: "again" | "never"; readonly why: string };

export class Webhook {
	readonly #settings: WebhookSettings;
	readonly #to: WebhookDependencies;
	readonly #waiting: Delivery[] = [];
	#running: Promise<void> | undefined;
	#cancelPause: (() => void) | undefined;

	constructor(settings: WebhookSettings, dependencies: WebhookDependencies) {
		this.#settings = settings;
		this.#to = dependencies;
	}

	send(type: string, data: object): void {
		if (this.#waiting.length >= MOST_WAITING) {
			this.#to.onLost(type, `${MOST_WAITING} events wait already`);
			return;
		}
		const id = randomUUID();
		const body = JSON.stringify({ id, type, created_at: new Date(this.#to.clock.epochNow()).toISOString(), data });
		this.#waiting.push({ id, type, body, attempts: 0 });
		if (this.#cancelPause === undefined) this.#run();
	}

	/** One last attempt for what waits, for a short while. */
	async close(): Promise<void> {
		this.#wake();
		const patience = new Promise<void>((resolve) => this.#to.timers.after(FAREWELL_MS, resolve));
		await Promise.race([this.#running, patience]);
		this.#stopPause();
		for (const { type } of this.#waiting.splice(0)) this.#to.onLost(type, "the gateway stopped");
	}

	#wake(): void {
		this.#stopPause();
		this.#run();
	}

	#stopPause(): void {
		this.#cancelPause?.();
		this.#cancelPause = undefined;
	}

	#run(): void {
		this.#running ??= this.#deliver().finally(() => {
			this.#running = undefined;
		});
	}

	async #deliver(): Promise<void> {
		for (let delivery = this.#waiting[0]; delivery !== undefined; delivery = this.#waiting[0]) {
			const outcome = await this.#attempt(delivery);
			delivery.attempts++;
			const pauseMs = PAUSES_MS[delivery.attempts - 1];
			if (outcome.kind === "again" && pauseMs !== undefined) {
				this.#cancelPause = this.#to.timers.after(pauseMs, () => this.#wake());
				return;
			}
			if (this.#waiting[0] === delivery) this.#waiting.shift();
			if (outcome.kind !== "done") this.#to.onLost(delivery.type, outcome.why);
		}
	}

	#attempt({ id, type, body }: Delivery): Promise<Outcome> {
		const { secret, allowPrivate } = this.#settings;
		const url = new URL(this.#settings.url);
		const refused = refusedHost(url.hostname, allowPrivate);
		if (refused !== undefined) return Promise.resolve({ kind: "never", why: refused });
		const seconds = Math.floor(this.#to.clock.epochNow() / 1000);
		const signature = secret === undefined ? undefined : createHmac("sha256", secret).update(`${seconds}.${body}`);
		const headers = {
			"content-type": "application/json",
			"content-length": String(Buffer.byteLength(body)),
			"user-agent": "tokligence-gateway",
			"x-tokligence-event": type,
			"x-tokligence-delivery": id,
			...(signature === undefined ? {} : { "x-tokligence-signature": `t=${seconds},v1=${signature.digest("hex")}` }),
		};
		const send = url.protocol === "https:" ? httpsRequest : httpRequest;
		return new Promise((resolve) => {
			const request = send(
				url,
				{ method: "POST", headers, agent: false, lookup: guardedLookup(allowPrivate), timeout: ATTEMPT_TIMEOUT_MS },
				(response) => {
					// The answer's body is of no interest, however long it is.
					response.destroy();
					resolve(outcomeOf(response.statusCode ?? 0));
				},
			);
			request.on("timeout", () => request.destroy(new Error(`no answer within ${ATTEMPT_TIMEOUT_MS} ms`)));
			request.on("error", (error) => resolve({ kind: "again", why: error.message }));
			request.end(body);
		});
	}
}

function outcomeOf(status: number): Outcome {
	if (status >= 200 && status < 300) return { kind: "done" };
	const why = `the receiver answered ${status}`;
	if (status >= 300 && status < 400) return { kind: "never", why: `${why}; redirects are not followed` };
	return { kind: status >= 500 || status === 408 || status === 429 ? "again" : "never", why };
}
