//! Components written as text, loaded, and run with a host whose calls are decided like any other.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use are_core::BoxFuture;
use are_core::error::Fault;
use are_policy::manifest::Manifest;
use are_policy::tools::{Host, Output, Place, ToolOutcome, Tools};
use are_tools::{HttpOptions, Registry};
use serde_json::Value;

use crate::support::World;

/// A world with components.
pub(crate) struct Lab {
    pub(crate) world: Arc<World>,
    host: Arc<Through>,
    said: Arc<Mutex<Vec<Output>>>,
}

/// Sends the calls of running calls through the rules and the registry of their world.
pub(crate) struct Through {
    world: Mutex<Weak<World>>,
    calls: Mutex<Vec<(String, Value)>>,
}

impl Host for Through {
    fn call<'a>(&'a self, tool: &'a str, args: Value) -> BoxFuture<'a, ToolOutcome> {
        let world = self.world.lock().expect("world").upgrade().expect("world");
        self.calls.lock().expect("calls").push((tool.to_owned(), args.clone()));
        Box::pin(async move {
            let place = world.place();
            world.child(tool, &args, place).await
        })
    }
}

impl Lab {
    /// A world with these components: stem, text, and what its manifest declares.
    pub(crate) fn new(files: &[(&str, &str, &str)]) -> Self {
        Self::with(files, World::new())
    }

    pub(crate) fn with(files: &[(&str, &str, &str)], mut world: World) -> Self {
        let tools = world.root.path().join("tools");
        std::fs::create_dir(&tools).expect("folder");
        for (stem, text, declared) in files {
            put(&tools, stem, &wasm(text), declared);
        }
        world.registry = served(world.registry, &tools).expect("components");
        let host = Arc::new(Through { world: Mutex::default(), calls: Mutex::default() });
        let world = Arc::new(world);
        *host.world.lock().expect("world") = Arc::downgrade(&world);
        Self { world, host, said: Arc::default() }
    }

    fn place(&self, timeout_ms: u64) -> Place {
        let said = Arc::clone(&self.said);
        Place {
            timeout_ms,
            host: Arc::clone(&self.host) as Arc<dyn Host>,
            output: Arc::new(move |output| {
                said.lock().expect("output").push(output);
                Box::pin(std::future::ready(()))
            }),
            ..self.world.place()
        }
    }

    pub(crate) async fn run_within(&self, tool: &str, args: Value, timeout_ms: u64) -> ToolOutcome {
        let permit = self.world.permit(tool, &args);
        self.world.registry.run(permit, self.place(timeout_ms)).await
    }

    /// Runs a call that must answer.
    pub(crate) async fn ok(&self, tool: &str, args: Value) -> Value {
        match self.run_within(tool, args.clone(), 20_000).await {
            ToolOutcome::Completed { value, .. } => value,
            other => panic!("{tool} {args}: {other:?}"),
        }
    }

    /// Runs a call that must fail with nothing left unknown.
    pub(crate) async fn fault(&self, tool: &str, args: Value) -> Fault {
        match self.run_within(tool, args.clone(), 20_000).await {
            ToolOutcome::Failed { fault, .. } => fault,
            other => panic!("{tool} {args}: {other:?}"),
        }
    }

    /// What was said on a stream.
    pub(crate) fn said(&self, stream: &str) -> String {
        let said = self.said.lock().expect("output");
        said.iter().filter(|output| output.stream == stream).map(|output| output.text.as_str()).collect()
    }

    /// The calls that running calls made.
    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        self.host.calls.lock().expect("calls").clone()
    }

    pub(crate) fn manifest(&self, tool: &str) -> Manifest {
        self.world.registry.snapshot().get(tool).expect(tool).0.clone()
    }
}

/// Puts a component into a folder of tools, with a manifest where it says something.
pub(crate) fn put(tools: &Path, stem: &str, bytes: &[u8], declared: &str) {
    let path = tools.join(stem);
    std::fs::write(path.with_extension("wasm"), bytes).expect("component");
    if !declared.is_empty() {
        std::fs::write(path.with_extension("toml"), declared).expect("manifest");
    }
}

/// A registry that serves a folder, all of it.
pub(crate) fn served(registry: Registry, tools: &Path) -> Result<Registry, String> {
    let registry = registry.with_folder(tools.to_owned()).expect("folder");
    let problems = registry.shelf().expect("shelf").problems();
    problems.first().map_or(Ok(registry), |problem| Err(problem.why.clone()))
}

/// Why a component cannot be loaded.
pub(crate) fn refusal(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().expect("directory");
    put(dir.path(), "bad", bytes, "");
    let registry = Registry::builtin(HttpOptions::default()).expect("registry");
    served(registry, dir.path()).err().expect("it must not load")
}

/// The binary form.
pub(crate) fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A core module with a memory, an allocator that only goes on, and functions that give back what they take.
pub(crate) const ECHO: &str = r#"
  (core module $echo
    (memory (export "memory") 64)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (local.set $at (global.get $next))
      (global.set $next (i32.add (global.get $next) (local.get 3)))
      (local.get $at))
    (func (export "i32") (param i32) (result i32) (local.get 0))
    (func (export "i64") (param i64) (result i64) (local.get 0))
    (func (export "f32") (param f32) (result f32) (local.get 0))
    (func (export "f64") (param f64) (result f64) (local.get 0))
    (func (export "pair") (param i32 i32) (result i32)
      (i32.store (i32.const 1024) (local.get 0))
      (i32.store (i32.const 1028) (local.get 1))
      (i32.const 1024)))
  (core instance $i (instantiate $echo))
"#;

/// A component whose functions run one core function without parameters.
pub(crate) fn runs(module: &str) -> String {
    format!(
        r#"(component
          (core module $m {module})
          (core instance $i (instantiate $m))
          (func (export "run") (canon lift (core func $i "run"))))"#
    )
}

/// A component that exports `run: func() -> result<_, string>` over a core module that imports `host`'s functions.
///
/// The module finds its memory and `realloc` in `libc`, and leaves an error's text where it likes.
pub(crate) fn guest(imports: &str, lowered: &str, module: &str) -> String {
    format!(
        r#"(component
          {imports}
          (core module $libc
            (memory (export "memory") 64)
            (global $next (mut i32) (i32.const 65536))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
              (local $at i32)
              (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
              (local.set $at (global.get $next))
              (global.set $next (i32.add (global.get $next) (local.get 3)))
              (local.get $at)))
          (core instance $libc (instantiate $libc))
          {lowered}
          (core module $m
            (import "libc" "memory" (memory 64))
            {module})
          (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "host" (instance $host))))
          (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    )
}
