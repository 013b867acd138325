/**
 * The admin API as commands call it: over HTTP while a gateway holds the data folder, else in this process over the store. Both answer
 * alike, so that no command knows which it is.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Agent, type Dispatcher, fetch } from "undici";

export type Method = "GET" | "POST" | "PATCH" | "DELETE";

export interface AdminAnswer {
	readonly status: number;
	readonly text: string;
}

export interface AdminClient {
	call(method: Method, path: string, body?: unknown): Promise<AdminAnswer>;
	close(): Promise<void>;
}

/** A refusal of the admin API, or no answer at all; the message is for people. */
export class AdminCallError extends Error {
	override readonly name = "AdminCallError";
}

const ANSWER_TIMEOUT_MS = 30_000;
/** A gateway that starts holds the folder before it listens. */
const START_PATIENCE_MS = 5000;
const RETRY_MS = 100;

export interface RunningAdmin {
	readonly pid: number;
	readonly dataDir: string;
	/** Read again for each try. */
	url(): string | undefined;
	token(): string | undefined;
	/** Its certificate (PEM) when it speaks TLS: trusted as it is, whoever signed it and whatever host it names. */
	readonly certificate?: Buffer | undefined;
}

/** Rejects with `AdminCallError` when the process does not answer in time. */
export async function httpAdminClient(running: RunningAdmin, actor: string): Promise<AdminClient> {
	const { certificate } = running;
	const agent = new Agent({
		...(certificate === undefined ? {} : { connect: { ca: certificate, checkServerIdentity: () => undefined } }),
	});
	const { url, token } = await reach(running, agent);
	return clientOf(agent, url, token, actor);
}

/** A gateway that is not on this machine, or not of this data folder. Rejects with `AdminCallError` when nothing answers. */
export async function remoteAdminClient(url: string, token: string, actor: string): Promise<AdminClient> {
	const base = url.replace(/\/+$/, "").replace(/\/v1\/admin$/, "");
	if (!/^https?:\/\/[^/]+/.test(base)) {
		throw new AdminCallError(`--url ${JSON.stringify(url)} is not an address like http://127.0.0.1:8080`);
	}
	const agent = new Agent();
	if (!(await answers(agent, base))) throw new AdminCallError(`no admin plane answers at ${base}`);
	return clientOf(agent, base, token, actor);
}

function clientOf(agent: Agent, url: string, token: string, actor: string): AdminClient {
	return {
		call: async (method, path, body) => {
			try {
				return await send(agent, `${url}/v1/admin${path}`, method, token, actor, body);
			} catch (error) {
				throw new AdminCallError(`the gateway at ${url} does not answer: ${causeOf(error)}`);
			}
		},
		close: () => agent.destroy(),
	};
}

async function reach(
	running: RunningAdmin,
	agent: Dispatcher,
): Promise<{ readonly url: string; readonly token: string }> {
	const attempts = START_PATIENCE_MS / RETRY_MS;
	for (let attempt = 0; attempt < attempts; attempt++) {
		const url = running.url();
		const token = running.token();
		if (url !== undefined && token !== undefined && (await answers(agent, url))) return { url, token };
		await delay(RETRY_MS);
	}
	const where = running.url() === undefined ? "" : ` at ${running.url()}`;
	throw new AdminCallError(
		`process ${running.pid} holds the data folder ${running.dataDir}, but no admin plane answers${where}`,
	);
}

async function answers(agent: Dispatcher, url: string): Promise<boolean> {
	try {
		const response = await fetch(`${url}/healthz`, {
			dispatcher: agent,
			signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
		});
		await response.arrayBuffer();
		return response.ok;
	} catch {
		return false;
	}
}

async function send(
	agent: Dispatcher,
	url: string,
	method: Method,
	token: string,
	actor: string,
	body: unknown,
): Promise<AdminAnswer> {
	const response = await fetch(url, {
		dispatcher: agent,
		method,
		headers: { authorization: `Bearer ${token}`, "x-tokligence-actor": actor },
		...(body === undefined ? {} : { body: JSON.stringify(body) }),
		signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
	});
	return { status: response.status, text: await response.text() };
}

function causeOf(error: unknown): string {
	const { message, cause } = error as Error;
	return cause instanceof Error ? cause.message : message;
}

/** The answer's JSON; throws `AdminCallError` with the refusal's own words. */
export async function callJson<T>(client: AdminClient, method: Method, path: string, body?: unknown): Promise<T> {
	return parse(accepted(await client.call(method, path, body))) as T;
}

/** The same for an answer that is not JSON. */
export async function callText(client: AdminClient, path: string): Promise<string> {
	return accepted(await client.call("GET", path));
}

function accepted({ status, text }: AdminAnswer): string {
	if (status < 400) return text;
	const refusal = (parse(text) as { readonly error?: { readonly message?: string } } | undefined)?.error?.message;
	throw new AdminCallError(refusal ?? `the admin plane answered with status ${status}`);
}

function parse(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

/** `?a=1&b=2` of what is given; empty without any. */
export function queryOf(fields: Readonly<Record<string, string | number | undefined>>): string {
	const query = new URLSearchParams();
	for (const [name, value] of Object.entries(fields)) if (value !== undefined) query.set(name, String(value));
	return query.size === 0 ? "" : `?${query}`;
}
