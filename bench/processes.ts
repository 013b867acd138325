/** Processes of a bench: the product's own commands and HAProxy, each ready before it is used and ended with the bench. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const READY_LIMIT_MS = 20_000;
const bin = fileURLToPath(new URL("../bin/tokligence.js", import.meta.url));
const children: ChildProcess[] = [];

export interface Started {
	readonly url: string;
	readonly child?: ChildProcess;
}

export function haproxyBinary(): string | undefined {
	return ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"].find((path) => existsSync(path));
}

/** Fails where the product is not built: a bench measures what is shipped. */
export function needsBuild(): void {
	if (!existsSync(fileURLToPath(new URL("../dist/cli/main.js", import.meta.url))))
		throw new Error("dist is missing: run `npm run build` first");
}

/** A command of the product that prints its address as a JSON line. */
export function startProduct(args: readonly string[]): Promise<Started> {
	const child = spawn(process.execPath, [bin, ...args], { stdio: ["ignore", "pipe", "ignore"] });
	children.push(child);
	return new Promise((resolve, reject) => {
		createInterface({ input: child.stdout }).once("line", (line) => {
			const ready = JSON.parse(line) as { readonly data?: string; readonly url?: string };
			resolve({ url: (ready.data ?? ready.url)!, child });
		});
		child.once("exit", () => reject(new Error(`${args[0]} ended before it was ready`)));
	});
}

/** HAProxy with a configuration file that binds `port`; ready when `path` is answered. */
export async function startHaproxy(binary: string, config: string, port: number, path: string): Promise<Started> {
	const child = spawn(binary, ["-f", config, "-db"], { stdio: ["ignore", "ignore", "inherit"] });
	children.push(child);
	const url = `http://127.0.0.1:${port}`;
	for (const limit = Date.now() + READY_LIMIT_MS; Date.now() < limit; await delay(50)) {
		const ok = await fetch(`${url}${path}`).then(
			(answer) => answer.ok,
			() => false,
		);
		if (ok) return { url, child };
	}
	throw new Error("HAProxy did not start");
}

export function endProcess(child: ChildProcess | undefined): Promise<void> {
	if (child === undefined || child.exitCode !== null || child.signalCode !== null || child.pid === undefined)
		return Promise.resolve();
	return new Promise((resolve) => {
		const force = setTimeout(() => child.kill("SIGKILL"), 3000);
		child.once("exit", () => {
			clearTimeout(force);
			resolve();
		});
		child.kill();
	});
}

export async function endAll(): Promise<void> {
	await Promise.all(children.map(endProcess));
}

export function delay(ms: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, ms));
}
