#!/usr/bin/env node
// Plain JavaScript that any Node can parse, so that one too old gets a sentence instead of a syntax error.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
	console.error(
		`tokligence needs Node 22.18 or newer, this is ${process.versions.node} (${process.execPath}). ` +
			"Run it through npx or npm (they use the Node that was installed beside it), or install a newer Node.",
	);
	process.exit(1);
}
await import("../dist/cli/main.js");
