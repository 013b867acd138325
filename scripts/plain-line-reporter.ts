// Prints `N passed, N failed` alone on the last line, the form that any CI can read.
export default class PlainLineReporter {
	onTestRunEnd(
		modules: ReadonlyArray<{
			children: { allTests(): Iterable<{ result(): { state: string } }> };
			errors(): unknown[];
		}>,
	): void {
		let passed = 0;
		let failed = 0;
		let skipped = 0;
		for (const module of modules) {
			if (module.errors().length > 0) failed++;
			for (const test of module.children.allTests()) {
				const state = test.result().state;
				if (state === "passed") passed++;
				else if (state === "failed") failed++;
				else skipped++;
			}
		}
		process.on("exit", () =>
			process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`),
		);
	}
}
