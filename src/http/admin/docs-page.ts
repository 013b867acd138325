/** The OpenAPI document as one page to read, with nothing to load from elsewhere. */

import { ADMIN_PREFIX } from "./admin-plane.ts";
import type { Operation } from "./operation.ts";

interface Documented {
	readonly summary: string;
	readonly parameters?: readonly {
		readonly name: string;
		readonly in: string;
		readonly schema: { readonly description?: string };
	}[];
	readonly requestBody?: { readonly content: { readonly "application/json": { readonly schema: unknown } } };
	readonly responses: Readonly<
		Record<string, { readonly content: { readonly "application/json": { readonly schema: unknown } } }>
	>;
}

const STYLE = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;padding:.75rem;border:1px solid #8886;border-radius:.4rem}
summary{cursor:pointer;padding:.4rem 0}summary code{font-weight:600}h2{margin-top:2rem}li{margin:.2rem 0}`;

export function docsPage(operations: readonly Operation[], document: Readonly<Record<string, unknown>>): string {
	const paths = document["paths"] as Record<string, Record<string, Documented>>;
	const groups = [...new Set(operations.map(({ path }) => path.split("/")[1]!))];
	const sections = groups.map((group) => {
		const own = operations.filter(({ path }) => path.split("/")[1] === group);
		const entries = own.map((operation) => {
			const path = `${ADMIN_PREFIX}${operation.path}`;
			return entry(operation.method, path, paths[path]![operation.method.toLowerCase()]!);
		});
		return `<section><h2 id="${escapeHtml(group)}">${escapeHtml(group)}</h2>${entries.join("")}</section>`;
	});
	const links = groups.map((group) => `<li><a href="#${escapeHtml(group)}">${escapeHtml(group)}</a></li>`).join("");
	return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Tokligence Gateway admin API</title><style>${STYLE}</style>
<h1>Admin API</h1><p>Send <code>Authorization: Bearer ADMIN_TOKEN</code> with every call. The same as a document for tools: <a href="openapi.json"><code>openapi.json</code></a>.</p>
<nav aria-label="Groups"><ul>${links}</ul></nav><main>${sections.join("")}</main></html>`;
}

function entry(method: string, path: string, documented: Documented): string {
	const parameters = (documented.parameters ?? []).map(
		({ name, in: place, schema }) =>
			`<li><code>${escapeHtml(name)}</code> (${place})${schema.description === undefined ? "" : `: ${escapeHtml(schema.description)}`}</li>`,
	);
	const body = documented.requestBody?.content["application/json"].schema;
	const [[status, response] = ["", undefined]] = Object.entries(documented.responses);
	return `<details><summary><code>${method} ${escapeHtml(path)}</code> ${escapeHtml(documented.summary)}</summary>
${parameters.length === 0 ? "" : `<ul>${parameters.join("")}</ul>`}
${body === undefined ? "" : `<h3>Body</h3>${pretty(body)}`}
<h3>Answer ${escapeHtml(status)}</h3>${pretty(response?.content["application/json"].schema)}</details>`;
}

function pretty(schema: unknown): string {
	return `<pre tabindex="0">${escapeHtml(JSON.stringify(schema, undefined, 2) ?? "")}</pre>`;
}

function escapeHtml(text: string): string {
	return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
