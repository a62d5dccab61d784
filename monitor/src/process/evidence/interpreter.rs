//! Which of its arguments an interpreter takes for a script. Pure.
//!
//! The arguments are what the process shows: it may have changed them since.

/// What is known of an interpreter's options. Those that are not listed take no value.
struct Interpreter {
    /// Its name, or the beginning of it where a version follows.
    name: &'static str,
    /// Options that take the next argument as their value.
    with_value: &'static [&'static str],
    /// Options after which there is no script: code or a module follows.
    with_code: &'static [&'static str],
    /// Letters that are such options in a group of several: `-lc`.
    code_letters: &'static str,
}

const SHELL: Interpreter = Interpreter {
    name: "",
    with_value: &["-o", "+o", "-O", "+O", "--rcfile", "--init-file"],
    with_code: &["-c", "-s"],
    code_letters: "cs",
};

const INTERPRETERS: [Interpreter; 7] = [
    Interpreter {
        name: "python",
        with_value: &["-W", "-X", "--check-hash-based-pycs"],
        with_code: &["-c", "-m"],
        code_letters: "cm",
    },
    Interpreter {
        name: "pypy",
        with_value: &["-W", "-X"],
        with_code: &["-c", "-m"],
        code_letters: "cm",
    },
    Interpreter { name: "perl", with_value: &[], with_code: &["-e", "-E"], code_letters: "eE" },
    Interpreter {
        name: "ruby",
        with_value: &["-I", "-r", "-C", "-E"],
        with_code: &["-e"],
        code_letters: "e",
    },
    Interpreter {
        name: "node",
        with_value: &["-r", "--require", "-C", "--conditions", "--import", "--loader"],
        with_code: &["-e", "--eval", "-p", "--print", "-i", "--interactive", "--run", "--test"],
        code_letters: "",
    },
    Interpreter {
        name: "php",
        with_value: &["-c", "-d", "-z"],
        with_code: &["-r", "-R", "-B", "-E", "-S", "-a"],
        code_letters: "",
    },
    Interpreter { name: "lua", with_value: &["-l"], with_code: &["-e", "-i"], code_letters: "" },
];

const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "rbash", "busybox"];

/// The script that the program at a path was given, as it is written in the arguments; `None` for other
/// programs, for code in the arguments, and for standard input.
pub(super) fn script<'a>(executable: &str, arguments: &'a [String]) -> Option<&'a str> {
    let name = executable.rsplit('/').next()?;
    let (interpreter, mut rest) = if SHELLS.contains(&name) {
        (&SHELL, after_applet(name, arguments)?)
    } else {
        let is_it = |known: &&Interpreter| is_version_of(name, known.name);
        (INTERPRETERS.iter().find(is_it)?, arguments.get(1..)?)
    };
    while let Some((argument, after)) = rest.split_first() {
        let argument = argument.as_str();
        rest = after;
        match argument {
            "-" => return None,
            "--" => return rest.first().map(String::as_str),
            // What `-f` of PHP names.
            "-f" | "-F" if interpreter.name == "php" => return rest.first().map(String::as_str),
            _ if interpreter.with_code.contains(&argument) => return None,
            _ if interpreter.with_value.contains(&argument) => rest = rest.get(1..)?,
            _ if interpreter.has_code(argument) => return None,
            _ if argument.starts_with(['-', '+']) => {}
            "" => return None,
            _ => return Some(argument),
        }
    }
    None
}

impl Interpreter {
    /// Whether one of several letters behind a dash is an option with code. A value may follow a letter
    /// without a space, as in `-Wc`: rather no script than a wrong one.
    fn has_code(&self, argument: &str) -> bool {
        let letters = argument.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        letters.is_some_and(|letters| letters.contains(|l| self.code_letters.contains(l)))
    }
}

/// The arguments of a shell. The first of BusyBox may be the name of what it is.
fn after_applet<'a>(name: &str, arguments: &'a [String]) -> Option<&'a [String]> {
    let (first, rest) = arguments.split_first()?;
    if name != "busybox" {
        return Some(rest);
    }
    let is_shell = |argument: &String| {
        let applet = argument.rsplit('/').next().unwrap_or_default();
        matches!(applet.trim_start_matches('-'), "sh" | "ash" | "hush")
    };
    if is_shell(first) {
        return Some(rest);
    }
    rest.first().filter(|second| is_shell(second)).and(rest.get(1..))
}

/// Whether a program is the interpreter `known`, with a version or without: `python3.13`, `nodejs`.
fn is_version_of(name: &str, known: &str) -> bool {
    name.strip_prefix(known).is_some_and(|rest| {
        rest == "js" || rest.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(executable: &str, line: &str) -> Option<String> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        script(executable, &arguments).map(str::to_owned)
    }

    #[test]
    fn the_first_argument_that_is_no_option_is_the_script() {
        for (executable, line, expected) in [
            ("/usr/bin/python3.13", "python3 /opt/a.py -c x", "/opt/a.py"),
            ("/usr/bin/python3.13", "python3 -u -W ignore -- a.py", "a.py"),
            ("/usr/bin/dash", "sh /usr/local/bin/run 2948", "/usr/local/bin/run"),
            ("/usr/bin/bash", "/bin/bash -eu -o pipefail ./x.sh", "./x.sh"),
            ("/usr/bin/perl", "/usr/bin/perl -w /opt/a.pl", "/opt/a.pl"),
            ("/usr/bin/node", "node --no-warnings -r ts server.js", "server.js"),
            ("/usr/bin/nodejs", "nodejs server.js", "server.js"),
            ("/usr/bin/php8.2", "php8.2 -d a=b -f x.php", "x.php"),
            ("/bin/busybox", "sh /run.sh", "/run.sh"),
            ("/bin/busybox", "busybox ash /run.sh", "/run.sh"),
            ("/usr/bin/lua5.4", "lua5.4 -l socket a.lua", "a.lua"),
            ("/usr/bin/ruby3.1", "ruby3.1 -I lib a.rb", "a.rb"),
        ] {
            assert_eq!(of(executable, line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn code_and_standard_input_are_no_files() {
        for (executable, line) in [
            ("/usr/bin/python3.13", "python3 -c import\u{a0}x"),
            ("/usr/bin/python3.13", "python3 -m http.server 2948"),
            ("/usr/bin/python3.13", "python3 -um http.server 2948"),
            ("/usr/bin/python3.13", "python3 -"),
            ("/usr/bin/python3.13", "python3"),
            ("/usr/bin/bash", "bash -lc x y"),
            ("/usr/bin/perl", "perl -ne print x"),
            ("/usr/bin/node", "node --eval x y"),
            ("/bin/busybox", "busybox nc -l -p 2948"),
            ("/usr/bin/nc", "nc -l 2948"),
            ("/usr/bin/pythonista", "pythonista a.py"),
            ("/usr/bin/php8.2", "php -S 0.0.0.0:80 router.php"),
        ] {
            assert_eq!(of(executable, line), None, "{line}");
        }
    }
}
