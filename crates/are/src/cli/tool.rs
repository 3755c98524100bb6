//! `are tool …`

mod tried;

use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use super::args::Tool;
use super::exit::{Exit, Failure, Outcome};
use super::output::one_line;
use super::place::{segment, text};
use super::run::workspace;
use super::served::Served;
use super::{Env, place};
use crate::config::files;
use crate::wiring::Need;

pub(super) async fn run(env: &Env, verb: Tool) -> Outcome {
    if let Tool::Test { file } = &verb {
        return tried::run(env, file).await;
    }
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = tell(env, &served, verb).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, served: &Served, verb: Tool) -> Outcome {
    match verb {
        Tool::List => list(env, served).await,
        Tool::Show { name } => show(env, served, &name).await,
        Tool::Add { file, manifest, replace } => add(env, served, &file, manifest.as_deref(), replace).await,
        Tool::Remove { name } => remove(env, served, &name).await,
        Tool::Call { name, args, session } => call(env, served, &name, &args, session).await,
        // Answered without a server.
        Tool::Test { .. } => Ok(Exit::Done),
    }
}

async fn list(env: &Env, served: &Served) -> Outcome {
    let out = env.out;
    let found = served.client().get("/api/tools").await?;
    if out.is_json {
        out.json(&found)?;
        return Ok(Exit::Done);
    }
    let row = |tool: &Value| {
        let file = if tool["file"].is_null() { "-".to_owned() } else { place::text(tool, "file") };
        let mut row = ["name", "effect", "retry"].map(|key| place::text(tool, key)).to_vec();
        row.extend([file, place::text(tool, "description")]);
        row
    };
    let rows: Vec<_> = found["tools"].as_array().into_iter().flatten().map(row).collect();
    out.table(&["NAME", "EFFECT", "RETRY", "FILE", "WHAT IT DOES"], &rows)?;
    for problem in found["problems"].as_array().into_iter().flatten() {
        let (file, why, help) = (text(problem, "file"), text(problem, "why"), text(problem, "help"));
        out.warn(&one_line(&format!("`{file}` is not served: {why}; {help}")));
    }
    Ok(Exit::Done)
}

async fn show(env: &Env, served: &Served, name: &str) -> Outcome {
    let out = env.out;
    let found = served.client().get(&format!("/api/tools/{}", segment(name))).await?;
    if out.is_json {
        out.json(&found)?;
        return Ok(Exit::Done);
    }
    let manifest = &found["manifest"];
    for (key, _) in manifest.as_object().into_iter().flatten() {
        out.line(&format!("{key}: {}", text(manifest, key)))?;
    }
    if !found["file"].is_null() {
        out.line(&format!("file: {}", text(&found, "file")))?;
    }
    out.line(&format!("digest: {}", text(&found, "digest")))?;
    Ok(Exit::Done)
}

/// A file with the manifest that is named, or that lies beside it.
struct Handed {
    name: String,
    bytes: Vec<u8>,
    manifest: Option<String>,
}

impl Handed {
    fn read(env: &Env, file: &Path, manifest: Option<&Path>) -> Result<Self, Fault> {
        let path = env.surroundings.absolute(file);
        let bytes = files::read_tool(&path)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = path.with_extension("toml");
        let manifest = match manifest {
            Some(manifest) => Some(env.surroundings.absolute(manifest)),
            None => (beside != path && files::exists(&beside)).then_some(beside),
        };
        let manifest = manifest.map(|path| text_of(&path)).transpose()?;
        Ok(Self { name, bytes, manifest })
    }
}

fn text_of(path: &Path) -> Result<String, Fault> {
    String::from_utf8(files::read_tool(path)?).map_err(|_| {
        let what = format!("`{}` is not UTF-8", path.display());
        Fault::new(Code::MANIFEST_INVALID, what, "write the manifest as a text in UTF-8")
    })
}

async fn add(env: &Env, served: &Served, file: &Path, manifest: Option<&Path>, replace: bool) -> Outcome {
    let handed = Handed::read(env, file, manifest)?;
    let body = json!({
        "name": handed.name,
        "content": STANDARD.encode(&handed.bytes),
        "manifest": handed.manifest,
        "replace": replace,
    });
    let added = served.client().send(Method::POST, "/api/tools", Some(&body)).await?;
    if env.out.is_json {
        env.out.json(&added)?;
        return Ok(Exit::Done);
    }
    if added["is_new"] == false {
        env.out.say("it is there already, exactly like this");
    }
    for tool in added["tools"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        env.out.line(tool)?;
        let found = served.client().get(&format!("/api/tools/{}", segment(tool))).await?;
        secrets_of(env, tool, &found["manifest"]["capabilities"]);
    }
    Ok(Exit::Done)
}

/// Says which secrets a tool uses, and which values it is given if their owners agree.
fn secrets_of(env: &Env, tool: &str, capabilities: &Value) {
    let names = capabilities["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in names {
        env.out.say(&format!("`{tool}` uses the secret `{name}`"));
    }
    for (variable, value) in capabilities["env"].as_object().into_iter().flatten() {
        if let Some(name) = value.as_str().and_then(|value| value.strip_prefix(are_policy::secrets::IN_ENV)) {
            env.out.say(&format!("`{tool}` is given the secret `{name}` as `{variable}`, if its owner agrees"));
        }
    }
}

async fn remove(env: &Env, served: &Served, name: &str) -> Outcome {
    let removed = served.client().send(Method::DELETE, &format!("/api/tools/{}", segment(name)), None).await?;
    if env.out.is_json {
        env.out.json(&removed)?;
    } else {
        env.out.say(&format!("removed {}", text(&removed, "file")));
    }
    Ok(Exit::Done)
}

async fn call(env: &Env, served: &Served, name: &str, args: &str, session: Option<String>) -> Outcome {
    let args: Value = serde_json::from_str(args).ok().filter(Value::is_object).ok_or_else(|| {
        let help = "write it in single quotes: `are tool call NAME '{\"key\": \"value\"}'`";
        Fault::new(Code::REQUEST_INVALID, "the arguments are not a JSON object", help)
    })?;
    let mut body = json!({ "args": args });
    match session {
        Some(session) => body["session"] = session.into(),
        None => body["workspace"] = workspace(env, served).into(),
    }
    let path = format!("/api/tools/{}/call", segment(name));
    let called = served.client().send(Method::POST, &path, Some(&body)).await?;
    if env.out.is_json {
        env.out.json(&called)?;
        return Ok(Exit::Done);
    }
    match &called["result"] {
        Value::String(text) => env.out.line(text)?,
        other => {
            let pretty = serde_json::to_string_pretty(other).map_err(std::io::Error::other).map_err(Failure::Output)?;
            env.out.line(&pretty)?;
        }
    }
    Ok(Exit::Done)
}

/// The file that a word means: itself, or the one of the data directory that the tool of that name comes from.
fn file_of(env: &Env, word: &str) -> Result<PathBuf, Fault> {
    let path = env.surroundings.absolute(word.as_ref());
    if files::exists(&path) {
        return Ok(path);
    }
    let file = crate::wiring::tool_file(&env.config, word)?.ok_or_else(|| {
        let help = "name a file that exists, or a tool that comes from a file: `are tool list`";
        Fault::new(Code::TOOL_UNKNOWN, format!("there is no file and no tool of a file `{word}`"), help)
    })?;
    Ok(env.config.data_dir.value.join("tools").join(file))
}
