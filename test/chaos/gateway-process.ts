/** A gateway as a process of its own, which tests may kill, starve of disk and read every line of. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export interface GatewayProcessOptions {
	readonly dataDir: string;
	/** Absent when `set` names providers. */
	readonly upstream?: string;
	/** Further `--set section.key=value`. */
	readonly set?: readonly string[];
	/** Command and arguments in front of the gateway's own, such as `unshare …`. */
	readonly wrapper?: readonly string[];
	readonly env?: Readonly<Record<string, string>>;
	/** Kills it so long after its spawn, ready or not. */
	readonly killAfterMs?: number;
	/** Runs as this user. */
	readonly uid?: number;
}

export interface GatewayProcess {
	readonly pid: number;
	readonly dataUrl: string;
	readonly adminUrl: string;
	readonly child: ChildProcess;
	/** Everything it wrote so far, both outputs. */
	output(): string;
	/** Resolves when it is gone. */
	kill(signal: NodeJS.Signals): Promise<void>;
}

/** What a process that could not start left behind. */
export class StartFailure extends Error {
	readonly code: number | null;

	constructor(code: number | null, output: string) {
		super(output);
		this.code = code;
	}
}

export async function spawnGateway(options: GatewayProcessOptions): Promise<GatewayProcess> {
	const { dataDir, upstream, set = [], wrapper = [], env = {}, uid, killAfterMs } = options;
	const own = ["start", "--data-dir", dataDir, "--port", "0", "--admin-port", "0", "--json"];
	if (upstream !== undefined) own.push("--upstream", upstream);
	const words = [...wrapper, process.execPath, MAIN, ...own, ...set.flatMap((value) => ["--set", value])];
	const child = spawn(words[0]!, words.slice(1), {
		// the folder of the tests has no configuration file of its own
		cwd: "/",
		env: { PATH: process.env["PATH"], ...env },
		stdio: ["ignore", "pipe", "pipe"],
		...(uid === undefined ? {} : { uid, gid: uid }),
	});
	const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
	child.once("exit", () => clearTimeout(timer));
	let output = "";
	const ready = new Promise<{ data: string; admin: string }>((resolve, reject) => {
		child.stdout!.on("data", (chunk: Buffer) => {
			output += chunk;
			const line = /^\{"event":"ready".*\}$/m.exec(output)?.[0];
			if (line !== undefined) resolve(JSON.parse(line));
		});
		child.stderr!.on("data", (chunk: Buffer) => {
			output += chunk;
		});
		child.on("error", reject);
		child.on("close", (code) => reject(new StartFailure(code, output)));
	});
	const gone = once(child, "exit").catch(() => undefined);
	const { data, admin } = await ready;
	return {
		pid: child.pid!,
		dataUrl: data,
		adminUrl: admin,
		child,
		output: () => output,
		kill: async (signal) => {
			if (child.exitCode === null && child.signalCode === null) child.kill(signal);
			await gone;
		},
	};
}

/** Runs a command of the gateway to its end. */
export async function runCommand(
	words: readonly string[],
	options: { readonly wrapper?: readonly string[]; readonly uid?: number; readonly env?: Record<string, string> } = {},
): Promise<{ readonly code: number | null; readonly out: string; readonly error: string }> {
	const all = [...(options.wrapper ?? []), process.execPath, MAIN, ...words];
	const child = spawn(all[0]!, all.slice(1), {
		cwd: "/",
		env: { PATH: process.env["PATH"], ...options.env },
		stdio: ["ignore", "pipe", "pipe"],
		...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
	});
	let out = "";
	let error = "";
	child.stdout.on("data", (chunk) => {
		out += chunk;
	});
	child.stderr.on("data", (chunk) => {
		error += chunk;
	});
	const [code] = await once(child, "close");
	return { code, out, error };
}
