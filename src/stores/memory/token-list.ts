/**
 * The text form of token lists: `sha256,account_id,tier,environment,workload,name`, one a line, for `token import` and
 * `[classifier.token] file`. A heading line, blank lines and lines starting with `#` are skipped; the last three fields may
 * be empty or absent; a name may be quoted and then holds commas. Errors name file and line.
 */
import { isTokenHash } from "../../core/identity/token-form.ts";
import { WORKLOADS } from "../../core/model/routing.ts";
import type { ImportedToken } from "../../ports/token-store.ts";

export type TokenList =
	| { readonly ok: true; readonly rows: readonly ImportedToken[] }
	| { readonly ok: false; readonly errors: readonly string[] };

const HEADING = "sha256,account_id,tier";
const WORD = /^[a-z0-9][a-z0-9_.-]{0,63}$/;

export function parseTokenList(text: string, file: string): TokenList {
	const rows: ImportedToken[] = [];
	const errors: string[] = [];
	const lineOfHash = new Map<string, number>();
	for (const [index, raw] of text.split(/\r?\n/).entries()) {
		const line = raw.trim();
		if (line === "" || line.startsWith("#") || (index === 0 && line.startsWith(HEADING))) continue;
		const parsed = parseLine(line);
		if (typeof parsed === "string") {
			errors.push(`${file}:${index + 1}: ${parsed}`);
			continue;
		}
		const earlier = lineOfHash.get(parsed.sha256);
		if (earlier !== undefined) errors.push(`${file}:${index + 1}: the same token stands in line ${earlier}`);
		lineOfHash.set(parsed.sha256, index + 1);
		rows.push(parsed);
	}
	return errors.length === 0 ? { ok: true, rows } : { ok: false, errors };
}

/** The row, or what is wrong with the line. Never quotes the first field: it may be a token by mistake. */
function parseLine(line: string): ImportedToken | string {
	const fields = splitLine(line);
	if (fields === undefined) return "a quote is not closed";
	if (fields.length < 3 || fields.length > 6) {
		return `${fields.length} fields, allowed are 3 to 6: sha256,account_id,tier,environment,workload,name`;
	}
	const [hash = "", accountId = "", tier = "", environment = "", workload = "", name = ""] = fields;
	const sha256 = hash.toLowerCase();
	if (!isTokenHash(sha256)) return "sha256 is not 64 hex digits: `tokligence token hash` prints a line for a key";
	if (accountId === "") return "account_id is empty";
	if (!WORD.test(tier)) return `tier "${tier}" is not a lower-case word`;
	if (environment !== "" && !WORD.test(environment)) return `environment "${environment}" is not a lower-case word`;
	if (workload !== "" && !(WORKLOADS as readonly string[]).includes(workload)) {
		return `workload "${workload}" is none of ${WORKLOADS.join(", ")}`;
	}
	return {
		sha256,
		accountId,
		tier,
		...(environment === "" ? {} : { environment }),
		...(workload === "" ? {} : { workload }),
		...(name === "" ? {} : { name }),
	};
}

function splitLine(line: string): string[] | undefined {
	const fields: string[] = [];
	let field = "";
	let quoted = false;
	for (let i = 0; i < line.length; i++) {
		const character = line[i]!;
		if (character === '"') {
			if (quoted && line[i + 1] === '"') field += line[++i];
			else quoted = !quoted;
		} else if (character === "," && !quoted) {
			fields.push(field.trim());
			field = "";
		} else field += character;
	}
	fields.push(field.trim());
	return quoted ? undefined : fields;
}
