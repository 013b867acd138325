/** The log on standard error: JSON lines for machines, one form of line throughout; sentences where a person watches (a terminal). */
import { type Logger, pino } from "pino";

const LEVELS: Readonly<Record<number, string>> = { 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal" };
/** What every line has, and a person does not need. */
const OWN_FIELDS = new Set(["level", "time", "pid", "hostname", "msg"]);

export function openLog(level: string): Logger {
	if (!process.stderr.isTTY) return pino({ level }, pino.destination({ fd: 2, sync: false }));
	return pino({ level }, { write: (line) => void process.stderr.write(readableLine(line)) });
}

/** `19:04:55 warn   endpoint is down  pool=default endpoint=0`, from a line of JSON. */
export function readableLine(json: string): string {
	const line = JSON.parse(json) as Readonly<Record<string, unknown>>;
	const at = new Date(line["time"] as number).toTimeString().slice(0, 8);
	const fields = Object.entries(line)
		.filter(([name]) => !OWN_FIELDS.has(name))
		.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
	const text = [String(line["msg"] ?? ""), fields.join(" ")].filter((part) => part !== "").join("  ");
	const level = LEVELS[line["level"] as number] ?? String(line["level"]);
	// names come from outside: nothing of theirs steers the terminal
	return `${at} ${level.padEnd(5)}  ${text.replaceAll(/\p{Cc}/gu, " ")}\n`;
}
