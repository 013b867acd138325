/** Checks of what is reached: own ports, the running gateway, providers with their models and their clock. */
import { createServer } from "node:net";
import { Agent, fetch as undiciFetch } from "undici";
import type { GatewayConfig, ProviderConfig } from "../config/gateway-config.ts";
import type { Millis } from "../core/model/units.ts";
import { detectEngine } from "../protocol/engines/detect-engine.ts";
import { listedModels } from "../protocol/engines/models-list.ts";
import { stringMember, tryParseJson } from "../protocol/json.ts";
import { readAdminUrl } from "./admin-files.ts";
import { lockHolder } from "./data-folder-lock.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { readTls } from "./tls.ts";

const ANSWER_TIMEOUT_MS: Millis = 5000;
const TOLERATED_SKEW_MS: Millis = 30_000;
const SHOWN_MODELS = 5;

type Environment = Readonly<Record<string, string | undefined>>;

/** A gateway that runs on the data folder, or the two ports free for one. */
export async function checkPorts({ gateway, admin, storage }: GatewayConfig): Promise<readonly Finding[]> {
	const pid = lockHolder(storage.dataDir);
	const url = pid === undefined ? undefined : readAdminUrl(storage.dataDir);
	if (pid !== undefined) return [await checkRunning(pid, url, admin)];
	return [
		await checkPort("data port", gateway.listen, "[gateway] listen or --port"),
		await checkPort("admin port", admin.listen, "[admin] listen or --admin-port"),
	];
}

async function checkRunning(pid: number, url: string | undefined, admin: GatewayConfig["admin"]): Promise<Finding> {
	const check = "gateway";
	if (url === undefined)
		return warn(check, `process ${pid} holds the data folder and does not listen`, "it may still be starting");
	const agent = new Agent({ connect: trustOf(admin) });
	try {
		const response = await undiciFetch(`${url}/readyz`, {
			dispatcher: agent,
			signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
		});
		const text = await response.text();
		if (response.ok) return ok(check, `process ${pid} runs, admin plane ${url}`);
		return warn(
			check,
			`process ${pid} runs and is not ready: ${text.slice(0, 200)}`,
			"see the providers below, and its log",
		);
	} catch (error) {
		return fail(check, `process ${pid} does not answer at ${url} (${causeOf(error)})`, "see its log; restart it");
	} finally {
		await agent.destroy();
	}
}

/** The gateway's own certificate is trusted as it is, whoever signed it and whatever host it names: it is the one of the configuration. */
function trustOf(admin: GatewayConfig["admin"]): { ca?: Buffer; checkServerIdentity?: () => undefined } {
	try {
		const pair = readTls(admin, "admin");
		return pair === undefined ? {} : { ca: pair.cert, checkServerIdentity: () => undefined };
	} catch {
		// said by the check of certificates
		return {};
	}
}

function checkPort(
	check: string,
	{ host, port }: { readonly host: string; readonly port: number },
	where: string,
): Promise<Finding> {
	return new Promise((resolve) => {
		const server = createServer();
		server.once("error", (error: NodeJS.ErrnoException) => {
			const address = `${host}:${port}`;
			if (error.code === "EADDRINUSE") {
				resolve(fail(check, `${address} is taken by another program`, `stop that program, or change ${where}`));
			} else if (error.code === "EACCES") {
				resolve(fail(check, `${address} may not be used by this user`, `use a port above 1023: ${where}`));
			} else resolve(fail(check, `${address}: ${error.message}`, `change ${where}`));
		});
		server.listen(port, host, () =>
			server.close(() => resolve(ok(check, port === 0 ? "any free one" : `${host}:${port}`))),
		);
	});
}

export async function checkProviders(config: GatewayConfig, env: Environment): Promise<readonly Finding[]> {
	const findings: Finding[] = [];
	for (const provider of config.providers) {
		const check = `provider ${provider.name}`;
		const { apiKeyEnv, capacity } = provider;
		if (apiKeyEnv !== undefined && (env[apiKeyEnv] ?? "") === "") {
			findings.push(
				fail(check, `api_key_env names ${apiKeyEnv}, which is not set`, `set ${apiKeyEnv} where the gateway starts`),
			);
		}
		findings.push(
			...(await Promise.all(provider.endpoints.map((url) => checkEndpoint(check, url, provider, env)))).flat(),
		);
		const isOpen = capacity.maxConcurrent === undefined && capacity.maxInflightTokens === undefined;
		if (isOpen && capacity.mode === "engine" && config.requestScheduler.enabled) {
			const advice = "`tokligence benchmark` measures what it can do, --apply writes it";
			findings.push(
				warn(check, "no capacity is set, max_concurrent = 64 is assumed where the engine does not say", advice),
			);
		}
	}
	return findings;
}

async function checkEndpoint(
	check: string,
	url: string,
	{ type, apiKeyEnv, models }: ProviderConfig,
	env: Environment,
): Promise<readonly Finding[]> {
	const key = apiKeyEnv === undefined ? undefined : env[apiKeyEnv];
	const headers = keyHeaders(type, key);
	const before = Date.now();
	let response: Response;
	let text: string;
	try {
		response = await fetch(`${url}/v1/models`, { headers, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
		text = await response.text();
	} catch (error) {
		const advice = "start the inference server, or correct its endpoint; the gateway answers 502 until it is there";
		return [fail(check, `${url} does not answer (${causeOf(error)})`, advice)];
	}
	const tookMs = Date.now() - before;
	if (response.status === 401 || response.status === 403) {
		return [
			fail(check, `${url} refuses the key (status ${response.status})`, "correct the key that api_key_env names"),
		];
	}
	if (response.status === 503) return [warn(check, `${url} is loading (status 503)`, "wait until the model is loaded")];
	if (response.status >= 500) return [fail(check, `${url} answers with status ${response.status}`, "see its log")];
	const answer = tryParseJson(text);
	const names = listedModels(answer).flatMap((entry) => stringMember(entry, "id") ?? []);
	const findings = [clockFinding(url, response.headers.get("date"), before, tookMs)].filter((one) => one !== undefined);
	const engine = detectEngine(answer, Object.fromEntries(response.headers)).name;
	if (names.length === 0) {
		const advice = "without a list, `models` of the provider says what it serves";
		return [...findings, warn(check, `${url} answers and lists no models (status ${response.status})`, advice)];
	}
	const more = names.length > SHOWN_MODELS ? ` and ${names.length - SHOWN_MODELS} more` : "";
	findings.unshift(
		ok(check, `${url} (${engine}, ${tookMs} ms) serves ${names.slice(0, SHOWN_MODELS).join(", ")}${more}`),
	);
	const missing = models.filter((model) => !model.includes("*") && !names.includes(model));
	if (missing.length > 0) {
		findings.push(
			warn(check, `${url} does not list ${missing.join(", ")}`, "correct `models`, or load the model there"),
		);
	}
	return findings;
}

function keyHeaders(type: string, key: string | undefined): Record<string, string> {
	if (key === undefined) return {};
	return type === "anthropic"
		? { "x-api-key": key, "anthropic-version": "2023-06-01" }
		: { authorization: `Bearer ${key}` };
}

/** The provider's clock beside ours: a difference means that one of them is wrong. */
function clockFinding(url: string, date: string | null, before: number, tookMs: Millis): Finding | undefined {
	const theirs = date === null ? Number.NaN : Date.parse(date);
	if (Number.isNaN(theirs)) return undefined;
	const skewMs = before + tookMs / 2 - theirs;
	if (Math.abs(skewMs) <= TOLERATED_SKEW_MS) return ok("clock", `agrees with ${url}`);
	const message = `differs from that of ${url} by ${Math.round(Math.abs(skewMs) / 1000)} s`;
	return warn("clock", message, "synchronise both with NTP: expiry of tokens and days of usage follow this clock");
}

function causeOf(error: unknown): string {
	const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
	return cause?.code ?? cause?.message ?? message;
}
