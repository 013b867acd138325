/**
 * Completion scripts made from the commands themselves: what can follow each path of words. Nothing is asked of the program while
 * somebody types, so completion is as quick as the shell.
 */
import type { Command } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

interface Word {
	readonly text: string;
	readonly doc: string;
	/** An option that is followed by a value. */
	readonly takesValue: boolean;
	/** What the value may be, when that is a closed list. */
	readonly choices: readonly string[];
}

/** One command: the words before it, and those that may follow. */
interface Place {
	/** `` for the program itself, `account create` for a command of a command. */
	readonly path: string;
	readonly commands: readonly Word[];
	readonly options: readonly Word[];
	/** Values of its first argument, when that is a closed list. */
	readonly choices: readonly string[];
}

export function completionScript(shell: Shell, program: string, commands: readonly Command[]): string {
	const places = placesOf(commands);
	if (shell === "bash") return bashScript(program, places);
	return shell === "zsh" ? zshScript(program, places) : fishScript(program, places);
}

function placesOf(commands: readonly Command[]): readonly Place[] {
	const root: Place = {
		path: "",
		commands: commands.map(wordOf),
		options: [word("--help", "what it does"), word("--version", "which version this is")],
		choices: [],
	};
	return [root, ...commands.flatMap((command) => placesBelow(command, ""))];
}

function placesBelow(command: Command, before: string): readonly Place[] {
	const path = before === "" ? command.name() : `${before} ${command.name()}`;
	const options = command.options.flatMap((option) =>
		[option.long, option.short].flatMap((text) =>
			typeof text === "string"
				? [
						{
							text,
							doc: option.description,
							takesValue: option.required || option.optional,
							choices: option.argChoices ?? [],
						},
					]
				: [],
		),
	);
	return [
		{
			path,
			commands: command.commands.map(wordOf),
			options: [...options, word("--help", "what it does, with examples")],
			choices: command.registeredArguments[0]?.argChoices ?? [],
		},
		...command.commands.flatMap((inner) => placesBelow(inner, path)),
	];
}

function wordOf(command: Command): Word {
	return word(command.name(), command.description());
}

function word(text: string, doc: string): Word {
	return { text, doc, takesValue: false, choices: [] };
}

/** The paths as a `case` pattern; the shell's own quoting. */
function pathPattern(places: readonly Place[]): string {
	return places
		.filter(({ path }) => path !== "")
		.map(({ path }) => `"${path}"`)
		.join("|");
}

/** Common to bash and zsh: `$place` is the command so far, `$previous` the word before the one being typed. */
function branches(places: readonly Place[], offer: (words: readonly Word[]) => string, indent: string): string {
	return places
		.map(({ path, commands, options, choices }) => {
			const values = options
				.filter(({ takesValue }) => takesValue)
				.map((option) => {
					const offered = option.choices.map((choice) => word(choice, ""));
					return `${indent}\t\t${option.text}) ${offered.length === 0 ? "return 1" : `${offer(offered)}; return`} ;;`;
				});
			const check = values.length === 0 ? "" : `\n${indent}\tcase $previous in\n${values.join("\n")}\n${indent}\tesac`;
			const follow = [...commands, ...choices.map((choice) => word(choice, "")), ...options];
			return `${indent}"${path}")${check}\n${indent}\t${offer(follow)} ;;`;
		})
		.join("\n");
}

function bashScript(program: string, places: readonly Place[]): string {
	const offer = (words: readonly Word[]) => `words="${words.map(({ text }) => text).join(" ")}"`;
	return `# bash completion of ${program}: source <(${program} completion bash)
_${program}_words() {
	local place="" each next previous="\${COMP_WORDS[COMP_CWORD-1]}"
	for each in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		next="\${place:+$place }$each"
		case $next in ${pathPattern(places)}) place=$next ;; esac
	done
	case $place in
${branches(places, offer, "\t")}
	esac
}
_${program}() {
	local words=""
	COMPREPLY=()
	_${program}_words || return 0
	COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _${program} ${program}
`;
}

function zshScript(program: string, places: readonly Place[]): string {
	const offer = (words: readonly Word[]) =>
		`offered=(${words.map(({ text, doc }) => zshQuoted(doc === "" ? text : `${text.replaceAll(":", "\\:")}:${doc}`)).join(" ")})`;
	return `#compdef ${program}
# zsh completion of ${program}: source <(${program} completion zsh), or as _${program} in a folder of $fpath
_${program}_words() {
	local place="" each next previous="\${words[CURRENT-1]}"
	for each in "\${(@)words[2,CURRENT-1]}"; do
		next="\${place:+$place }$each"
		case $next in ${pathPattern(places)}) place=$next ;; esac
	done
	case $place in
${branches(places, offer, "\t")}
	esac
}
_${program}() {
	local -a offered
	if _${program}_words; then
		_describe -t words '${program}' offered || _files
	else
		_files
	fi
}
if [ "$funcstack[1]" = "_${program}" ]; then _${program} "$@"; else compdef _${program} ${program}; fi
`;
}

function zshQuoted(text: string): string {
	return `'${text.replaceAll("'", "'\\''")}'`;
}

function fishScript(program: string, places: readonly Place[]): string {
	const lines = places.flatMap(({ path, commands, options, choices }) => {
		const when = `-n '__${program}_at "${path}"'`;
		return [
			...[...commands, ...choices.map((choice) => word(choice, ""))].map(
				({ text, doc }) => `complete -c ${program} -f ${when} -a ${fishQuoted(text)}${fishDoc(doc)}`,
			),
			...options.map(({ text, doc, takesValue, choices: values }) => {
				const name = text.startsWith("--") ? `-l ${text.slice(2)}` : `-s ${text.slice(1)}`;
				const value = !takesValue ? "" : values.length > 0 ? ` -x -a ${fishQuoted(values.join(" "))}` : " -r";
				return `complete -c ${program} ${when} ${name}${value}${fishDoc(doc)}`;
			}),
		];
	});
	return `# fish completion of ${program}: ${program} completion fish | source
function __${program}_at
	set -l place ""
	for each in (commandline -opc)[2..-1]
		set -l next (string trim -- "$place $each")
		contains -- "$next" ${places
			.filter(({ path }) => path !== "")
			.map(({ path }) => fishQuoted(path))
			.join(" ")}
		and set place $next
	end
	test "$place" = "$argv[1]"
end
${lines.join("\n")}
`;
}

function fishQuoted(text: string): string {
	return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

function fishDoc(doc: string): string {
	return doc === "" ? "" : ` -d ${fishQuoted(doc)}`;
}
