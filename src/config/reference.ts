/**
 * The configuration reference (`docs/configuration.md`), written from the schema: the page cannot say anything that the program does not do.
 */
import { isKeyAvailable, isSectionAvailable } from "./availability.ts";
import { SECTIONS, variableName, variableNames } from "./schema.ts";
import { hasPlaceholder, type Key, type Section } from "./schema-key.ts";

const INTRODUCTION = `# Configuration

<!-- Generated from the schema by scripts/generate-config-reference.ts; edit the schema, not this page. -->

The gateway reads one INI file: \`--config FILE\`, else the variable \`TOKLIGENCE_CONFIG\`, else \`config/gateway.ini\` in the working directory, else the
defaults below (classifier \`hybrid\`, allocator \`priority\`, scheduler \`hybrid\`). \`tokligence validate-config\` checks it and reports every problem at
once; \`tokligence config show\` prints what holds and where each value comes from.

**Precedence**: flags, then the environment, then the file, then the defaults. Every key has a variable, named in its row; an empty variable counts as
not set, an unknown one is ignored. Sections whose names hold a placeholder are reached with \`--set section.key=value\` (repeatable) or with
\`TOKLIGENCE_SET\`, one \`section.key=value\` per line. Short forms: SHORT_FORMS.

**Writing**: comments begin with \`#\` or \`;\`, at the start of a line or after a space. Lists are \`a,b\` or \`[a, b]\`. Durations are seconds (\`300\`) or carry a
unit (\`100ms\`, \`30s\`, \`5m\`, \`1h\`); sizes are bytes or carry one (\`512KB\`, \`20MB\`, \`1GB\`, powers of 1024); fractions go from 0 to 1. Put a value that
holds \`#\` or \`;\` behind a space into double quotes. A dotted key names a sub-section: \`internal_production.mode\` in
\`[allocator.bucket.tier_mappings]\` is \`mode\` in \`[allocator.bucket.tier_mappings.internal_production]\`.

Without a \`[provider.NAME]\` section there is one provider \`default\` at \`--upstream URL\`, else \`TOKLIGENCE_UPSTREAM\`, else \`http://127.0.0.1:8000\`.
What is marked *not available in this version* is refused when it is set.
`;

export function configReference(): string {
	const short = variableNames().filter((name) => !SECTIONS.some((section) => hasVariable(section, name)));
	const introduction = INTRODUCTION.replace("SHORT_FORMS", short.map((name) => `\`${name}\``).join(", "));
	return [introduction, ...SECTIONS.map(sectionText)].join("\n");
}

function hasVariable(section: Section, name: string): boolean {
	return Object.values(section.keys).some((key) => variableName(section.name, key.spelling) === name);
}

function sectionText(section: Section): string {
	const available = isSectionAvailable(section.name);
	const lines = [`## \`[${section.name}]\``, "", section.doc, ""];
	if (!available) lines.push("*Not available in this version.*", "");
	const rows = Object.values(section.keys).map((key) => keyRow(section, key, available));
	const { open } = section;
	if (open !== undefined)
		rows.push(row([`\`${open.spelling}\``, allowedText(open.type.allowed, open.unit), "", open.doc]));
	if (rows.length > 0) lines.push(row(["key", "value", "default", "meaning"]), "|---|---|---|---|", ...rows, "");
	return lines.join("\n");
}

function keyRow(section: Section, key: Key<unknown>, sectionAvailable: boolean): string {
	const unset = key.defaultNote ?? "none";
	const fallback = key.defaultText === undefined ? unset : key.defaultText === "" ? "empty" : `\`${key.defaultText}\``;
	const unavailable = sectionAvailable && !isKeyAvailable(`${section.name}.${key.spelling}`);
	const variable = hasPlaceholder(section.name) ? "" : ` \`${variableName(section.name, key.spelling)}\``;
	const meaning = `${key.doc}${unavailable ? " *Not available in this version.*" : ""}${variable}`;
	return row([`\`${key.spelling}\``, allowedText(key.type.allowed, key.unit), fallback, meaning]);
}

function allowedText(allowed: string, unit: string | undefined): string {
	return unit === undefined ? allowed : `${allowed} (${unit})`;
}

function row(cells: readonly string[]): string {
	return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}
