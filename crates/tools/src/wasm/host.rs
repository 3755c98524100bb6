//! `are:host`: commands, secrets, variables, memory and log lines, each as the builtin tool of that kind.

use are_core::error::{Code, Fault};
use are_core::ids::SecretName;
use are_policy::secrets::MARK;
use serde_json::{Value, json};

use super::bindings::are::host::{command, log, memory, secret, types, variable};
use super::calls::Calls;
use super::guest::Guest;

impl types::Host for Guest {}

fn told(fault: &Fault) -> types::Error {
    types::Error { code: fault.code.to_string(), message: fault.message.clone() }
}

impl command::Host for Guest {
    async fn run(
        &mut self,
        argv: Vec<String>,
        stdin: Option<String>,
    ) -> wasmtime::Result<Result<command::Output, types::Error>> {
        if let Some(declared) = self.calls.capabilities()
            && !declared.commands.iter().any(|pattern| covers(pattern, &argv))
        {
            return Ok(Err(told(&undeclared("the command"))));
        }
        Ok(process(&self.calls, json!({"argv": argv}), stdin).await)
    }

    async fn shell(
        &mut self,
        line: String,
        stdin: Option<String>,
    ) -> wasmtime::Result<Result<command::Output, types::Error>> {
        // A shell line is never matched, here as in `allow`.
        if self.calls.capabilities().is_some() {
            return Ok(Err(told(&undeclared("a shell line"))));
        }
        Ok(process(&self.calls, json!({"shell": line}), stdin).await)
    }
}

async fn process(calls: &Calls, mut args: Value, stdin: Option<String>) -> Result<command::Output, types::Error> {
    if let Some(stdin) = stdin {
        args["stdin"] = stdin.into();
    }
    let answer = calls.act("process_run", args).await.map_err(|fault| told(&fault))?;
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    Ok(command::Output {
        exit_code: answer["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok()),
        signal: text("signal"),
        stdout: text("stdout").unwrap_or_default(),
        stderr: text("stderr").unwrap_or_default(),
    })
}

/// Whether a declared command line matches: element by element, a last `*` any further ones.
fn covers(pattern: &str, argv: &[String]) -> bool {
    let mut pattern: Vec<&str> = pattern.split_whitespace().collect();
    let is_open = pattern.last() == Some(&"*");
    if is_open {
        pattern.pop();
    }
    let is_length = if is_open { argv.len() >= pattern.len() } else { argv.len() == pattern.len() };
    // A pattern of nothing but `*` would declare every command, which is what declaring nothing says.
    !pattern.is_empty() && is_length && pattern.iter().zip(argv).all(|(wanted, given)| *wanted == given.as_str())
}

fn undeclared(what: &str) -> Fault {
    Fault::new(Code::DENIED, format!("{what} is not among those that the tool's manifest declares"), "declare it")
}

impl secret::Host for Guest {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, types::Error>> {
        let name = match name.parse::<SecretName>() {
            Ok(name) => name,
            Err(error) => {
                let fault = Fault::new(Code::TOOL_ARGS, error.to_string(), "give the name of a secret");
                return Ok(Err(told(&fault)));
            }
        };
        let is_declared = self.calls.capabilities().is_some_and(|declared| declared.secrets.contains(&name));
        if !is_declared {
            // What stands for it in a request, where it is put in by somebody else.
            return Ok(Ok(format!("{MARK}{name}}}")));
        }
        Ok(self.calls.disclose(&name).await.map(|value| value.expose().to_owned()).map_err(|fault| told(&fault)))
    }
}

impl variable::Host for Guest {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, types::Error>> {
        let answer = self.calls.ask("variable_get", json!({"name": name})).await;
        Ok(answer.map(|answer| answer["value"].to_string()).map_err(|fault| told(&fault)))
    }

    async fn set(&mut self, name: String, value: String) -> wasmtime::Result<Result<(), types::Error>> {
        let Ok(value) = serde_json::from_str::<Value>(&value) else {
            let fault = Fault::new(Code::TOOL_ARGS, "the value is not JSON", "give a JSON text");
            return Ok(Err(told(&fault)));
        };
        let answer = self.calls.act("variable_set", json!({"name": name, "value": value})).await;
        Ok(answer.map(|_| ()).map_err(|fault| told(&fault)))
    }

    async fn delete(&mut self, name: String) -> wasmtime::Result<Result<(), types::Error>> {
        let answer = self.calls.act("variable_delete", json!({"name": name})).await;
        Ok(answer.map(|_| ()).map_err(|fault| told(&fault)))
    }
}

impl memory::Host for Guest {
    async fn add(&mut self, text: String) -> wasmtime::Result<Result<(), types::Error>> {
        let answer = self.calls.act("memory_add", json!({"text": text})).await;
        Ok(answer.map(|_| ()).map_err(|fault| told(&fault)))
    }

    async fn search(&mut self, query: String, limit: Option<u32>) -> wasmtime::Result<Result<String, types::Error>> {
        let mut args = json!({"query": query});
        if let Some(limit) = limit {
            args["limit"] = limit.into();
        }
        let answer = self.calls.ask("memory_search", args).await;
        Ok(answer.map(|answer| answer.to_string()).map_err(|fault| told(&fault)))
    }
}

impl log::Host for Guest {
    async fn write(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        self.calls.put("log", &format!("{level}: {text}\n"));
        self.calls.hand_on().await;
        Ok(())
    }
}
