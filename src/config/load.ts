/**
 * From file, environment and flags to a configuration, or to everything that is wrong with them at once. Flags win over the environment, the
 * environment over the file, the file over the defaults. User errors are values; nothing here throws for them.
 */
import { readFileSync } from "node:fs";
import { Assignments } from "./assignments.ts";
import { checkConfig } from "./checks.ts";
import { buildConfig, type GatewayConfig } from "./gateway-config.ts";
import { MAX_INI_LENGTH, parseIni } from "./ini.ts";
import { sectionForTopLevel } from "./old-spellings.ts";
import type { ConfigProblem, Origin } from "./problem.ts";
import type { EffectiveValue } from "./values.ts";

const DEFAULT_FILE = "config/gateway.ini";
/** Where vLLM listens. */
const DEFAULT_UPSTREAM = "http://127.0.0.1:8000";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Flags with names of their own; everything else is `--set section.key=value`. */
export interface ConfigFlags {
	readonly upstream?: string;
	readonly dataDir?: string;
	/** Port of the data plane; its host stays. */
	readonly port?: string;
	readonly adminPort?: string;
}

export interface ConfigRequest {
	/** `--config`. */
	readonly path?: string;
	/** The text of the file, when it is at hand; `path` is then its name in messages. */
	readonly text?: string;
	readonly env?: Environment;
	readonly flags?: ConfigFlags;
	/** `section.key=value`. */
	readonly sets?: readonly string[];
}

interface Outcome {
	/** The file that was read, if there was one. */
	readonly file: string | undefined;
	/** Warnings and notes. */
	readonly warnings: readonly ConfigProblem[];
	/** `TOKLIGENCE_*` variables that mean nothing here: worth a debug line. */
	readonly ignoredVariables: readonly string[];
}

export type LoadResult =
	| (Outcome & { readonly ok: true; readonly config: GatewayConfig; readonly effective: readonly EffectiveValue[] })
	| (Outcome & { readonly ok: false; readonly errors: readonly ConfigProblem[] });

export function loadConfig(request: ConfigRequest): LoadResult {
	const { env = {}, flags = {}, sets = [] } = request;
	const source = readSource(request, env);
	if ("problem" in source)
		return { ok: false, file: source.file, errors: [source.problem], warnings: [], ignoredVariables: [] };
	const assignments = new Assignments();
	assignments.addFile(source.file ?? "built-in defaults", parseIni(source.text));
	addEnvironment(assignments, env);
	for (const set of sets) assignments.addSet(set, { kind: "set", text: "--set" });
	addFlags(assignments, flags);
	addUpstream(assignments, flags, env);

	const { config, values } = buildConfig(assignments, { dataDir: defaultDataDir(env), upstream: DEFAULT_UPSTREAM });
	const problems = [...assignments.problems];
	// Values that were refused stand at their defaults here: what follows from them would only confuse.
	const refused = new Set(
		problems.filter(({ severity }) => severity === "error").map(({ section, key }) => `${section}.${key}`),
	);
	for (const problem of checkConfig(config, assignments))
		if (!refused.has(`${problem.section}.${problem.key}`)) problems.push(problem);

	problems.sort(byPlace);
	const errors = problems.filter(({ severity }) => severity === "error");
	const warnings = problems.filter(({ severity }) => severity !== "error");
	const outcome = { file: source.file, warnings, ignoredVariables: assignments.ignoredVariables };
	return errors.length > 0
		? { ok: false, errors, ...outcome }
		: { ok: true, config, effective: values.effective(), ...outcome };
}

/** `$XDG_DATA_HOME/tokligence`, or what stands in for it. */
export function defaultDataDir(env: Environment): string {
	const home =
		env["XDG_DATA_HOME"] || env["LOCALAPPDATA"] || `${env["HOME"] || env["USERPROFILE"] || "."}/.local/share`;
	return `${home}/tokligence`;
}

type Source =
	| { readonly file: string | undefined; readonly text: string }
	| { readonly file: string; readonly problem: ConfigProblem };

function readSource({ path, text }: ConfigRequest, env: Environment): Source {
	if (text !== undefined) return checkSource(path ?? "gateway.ini", text);
	const named = path ?? (env["TOKLIGENCE_CONFIG"] || undefined);
	const file = named ?? DEFAULT_FILE;
	let bytes: Buffer;
	try {
		bytes = readFileSync(file);
	} catch (error) {
		const code = (error as NodeJS.ErrnoException).code;
		if (named === undefined && code === "ENOENT") return { file: undefined, text: "" };
		const reasons = new Map([
			["ENOENT", "there is no such file"],
			["EISDIR", "it is a folder"],
			["EACCES", "this user may not read it"],
		]);
		return refuse(file, `cannot be read: ${reasons.get(code ?? "") ?? code ?? "unknown reason"}`);
	}
	const decoded = decodeText(bytes);
	return decoded === undefined
		? refuse(file, "is not a UTF-8 text file; the gateway reads INI files in UTF-8")
		: checkSource(file, decoded);
}

/** Text of a file; single bytes that are no UTF-8 are left to the reader, which names their line. */
function decodeText(bytes: Buffer): string | undefined {
	const wide = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
	if (wide) return undefined;
	try {
		return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
	} catch {
		return undefined;
	}
}

function checkSource(file: string, text: string): Source {
	if (text.length > MAX_INI_LENGTH)
		return refuse(file, `has ${text.length} characters, at most ${MAX_INI_LENGTH} are read`);
	const language = foreignLanguage(file, text);
	return language === undefined ? { file, text } : refuse(file, foreignSentence(language, text));
}

function refuse(file: string, message: string): Source {
	return { file, problem: { severity: "error", where: file, message } };
}

function foreignLanguage(file: string, text: string): "YAML" | "JSON" | undefined {
	const first = text
		.split(/\r?\n/, 200)
		.find((line) => line.trim() !== "" && !/^\s*[#;]/.test(line))
		?.replace("\uFEFF", "");
	if (
		/\.ya?ml$/i.test(file) ||
		(first !== undefined && /^(---\s*$|[A-Za-z_][\w-]*:(\s|$))/.test(first) && !first.includes("="))
	)
		return "YAML";
	return /\.json$/i.test(file) || first?.trimStart().startsWith("{") === true ? "JSON" : undefined;
}

function foreignSentence(language: string, text: string): string {
	const names = [...text.slice(0, 100_000).matchAll(/^\s{0,2}"?([a-z_]{1,40})"?\s*:/gm)].map((match) => match[1] ?? "");
	const sections = new Map(
		names.flatMap((name): [string, string][] => {
			const section = sectionForTopLevel(name);
			return section === undefined ? [] : [[name, section]];
		}),
	);
	const places = [...sections].slice(0, 8).map(([name, section]) => `[${section}] takes the place of \`${name}\``);
	const sentence = `is ${language}, but the gateway reads INI`;
	return places.length === 0
		? `${sentence}, with sections like [request_scheduler], [allocator.bucket] and [provider.NAME]`
		: `${sentence}: ${places.join(", ")}`;
}

function addEnvironment(assignments: Assignments, env: Environment): void {
	const handled = new Set(["TOKLIGENCE_CONFIG", "TOKLIGENCE_SET", "TOKLIGENCE_UPSTREAM"]);
	for (const [name, text] of Object.entries(env))
		if (name.startsWith("TOKLIGENCE_") && !handled.has(name) && text !== undefined) assignments.addVariable(name, text);
	for (const line of (env["TOKLIGENCE_SET"] ?? "").split(/\r?\n/))
		if (line.trim() !== "") assignments.addSet(line.trim(), { kind: "environment", text: "TOKLIGENCE_SET" });
}

function addFlags(assignments: Assignments, { dataDir, port, adminPort }: ConfigFlags): void {
	if (dataDir !== undefined) assignments.addPath("storage.data_dir", dataDir, { kind: "flag", text: "--data-dir" });
	for (const [flag, section, number, fallback] of [
		["--port", "gateway", port, "127.0.0.1:8081"],
		["--admin-port", "admin", adminPort, "127.0.0.1:8080"],
	] as const) {
		if (number === undefined) continue;
		const address = assignments.get(`${section}.listen`)?.text ?? fallback;
		assignments.addPath(`${section}.listen`, `${address.slice(0, address.lastIndexOf(":"))}:${number}`, {
			kind: "flag",
			text: flag,
		});
	}
}

/**
 * `--upstream` is the endpoint of the only provider, also over the file, as flags win; with several providers it would be a guess. The variable
 * gives way to the file: it is the default of a machine.
 */
function addUpstream(assignments: Assignments, flags: ConfigFlags, env: Environment): void {
	const flagged = flags.upstream !== undefined;
	const text = flags.upstream ?? (env["TOKLIGENCE_UPSTREAM"] || undefined);
	if (text === undefined) return;
	const origin: Origin = flagged
		? { kind: "flag", text: "--upstream" }
		: { kind: "environment", text: "TOKLIGENCE_UPSTREAM" };
	const providers = new Set<string>();
	for (const { found } of assignments.all())
		if (found.section.name.startsWith("provider.")) providers.add(found.parameters[0] ?? "");
	if (providers.size > 1) {
		const message = `there are several providers (${[...providers].join(", ")}): set their endpoints in the file or with --set provider.NAME.endpoint=…`;
		assignments.problems.push({ severity: flagged ? "error" : "warning", where: origin.text, message });
		return;
	}
	const path = `provider.${[...providers][0] ?? "default"}.endpoint`;
	if (flagged || assignments.get(path) === undefined) assignments.addPath(path, text, origin);
}

/** By line where there is one; the order of the sources otherwise. */
function byPlace(a: ConfigProblem, b: ConfigProblem): number {
	return lineOf(a) - lineOf(b);
}

function lineOf({ where }: ConfigProblem): number {
	const line = /:(\d+)$/.exec(where)?.[1];
	return line === undefined ? Number.MAX_SAFE_INTEGER : Number(line);
}
