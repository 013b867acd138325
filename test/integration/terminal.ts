/**
 * A command in a pseudo-terminal, as a person sees it: what it shows is waited for, what is typed goes to it. The terminal is made by `script` of
 * util-linux, which every Debian has.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";

const CLI = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export function hasTerminal(): boolean {
	return spawnSync("script", ["--version"], { encoding: "utf8" }).stdout?.includes("util-linux") === true;
}

export class Terminal {
	readonly #child: ChildProcess;
	readonly #ended: Promise<number | null>;
	#raw = "";
	#text = "";
	/** What has been waited for already. */
	#seen = 0;
	#wake: () => void = () => {};

	/** Runs one of our commands. */
	constructor(words: readonly string[], cwd: string) {
		const quoted = [process.execPath, CLI, ...words].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
		// A new pseudo-terminal has no size: nothing that draws would be readable.
		const command = `stty cols 200 rows 50; exec ${quoted}`;
		this.#child = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
			cwd,
			stdio: ["pipe", "pipe", "inherit"],
			env: { PATH: process.env["PATH"], HOME: cwd, TERM: "xterm", TOKLIGENCE_DATA_DIR: `${cwd}/data` },
		});
		this.#child.stdout!.on("data", (chunk: Buffer) => {
			this.#raw += chunk.toString();
			this.#text = stripVTControlCharacters(this.#raw).replaceAll("\r", "");
			this.#wake();
		});
		this.#ended = new Promise((resolve) => this.#child.once("close", resolve));
		void this.#ended.then(() => this.#wake());
	}

	/** All it has shown so far. */
	get text(): string {
		return this.#text;
	}

	/** Waits until it shows something new that matches; fails when it ends before, or takes longer than `limitMs`. */
	async sees(pattern: RegExp, limitMs = 60_000): Promise<RegExpExecArray> {
		let over = false;
		const stop = () => {
			over = true;
			this.#wake();
		};
		void this.#ended.then(stop);
		const timer = setTimeout(stop, limitMs);
		for (;;) {
			const found = pattern.exec(this.#text.slice(this.#seen));
			if (found !== null) {
				this.#seen += found.index + found[0].length;
				clearTimeout(timer);
				return found;
			}
			if (over) throw new Error(`it never showed ${pattern}:\n${this.#text}`);
			await new Promise<void>((resolve) => {
				this.#wake = resolve;
			});
		}
	}

	types(keys: string): void {
		this.#child.stdin!.write(keys);
	}

	/** Its exit status. */
	async ends(): Promise<number | null> {
		return this.#ended;
	}

	kill(): void {
		this.#child.kill("SIGKILL");
	}
}
