//! Looks at WebAssembly before it is compiled, since compilation cannot be stopped.
//!
//! Costs of compiling grow with what is counted here: functions and their
//! size, imports, types, segments, nested modules, and how often nested
//! components are instantiated, which multiplies from level to level. Counting
//! reads each byte once and stops at the first excess. What passes is
//! validated by the compiler itself; nothing here says that it is valid.

use wasmparser::{Parser, Payload};

/// Bytes of a file. Compilers of large languages give a few megabytes, interpreters ten.
const BYTES_MAX: usize = 48 << 20;
/// Functions with a body, over all modules.
const FUNCTIONS_MAX: u64 = 100_000;
/// Bytes of all bodies.
const CODE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of one body: some steps of compilation grow faster than its size.
const BODY_BYTES_MAX: usize = 512 << 10;
/// Imports, over all modules and components.
const IMPORTS_MAX: u64 = 10_000;
/// Everything else that is declared: types, exports, aliases, globals, tables, memories, segments.
const ITEMS_MAX: u64 = 200_000;
/// Modules inside a component.
const MODULES_MAX: u64 = 64;
/// Components inside a component.
const COMPONENTS_MAX: u64 = 64;
/// Times that components are instantiated inside a component; with the depth it bounds what that multiplies to.
const INSTANCES_MAX: u64 = 64;
/// Levels of components in components.
const DEPTH_MAX: usize = 4;

#[derive(Debug, Default)]
struct Count {
    functions: u64,
    code: u64,
    imports: u64,
    items: u64,
    modules: u64,
    components: u64,
    instances: u64,
}

/// Refuses what would take too long to compile; the error says what there is too much of.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() > BYTES_MAX {
        return Err(format!("it has {} bytes, and {BYTES_MAX} is the most", bytes.len()));
    }
    let mut count = Count::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| format!("it is not WebAssembly: {error}"))?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        count.add(&payload)?;
        // A module stands one level below the component that holds it.
        if depth > DEPTH_MAX + 1 {
            return Err(format!("components are nested deeper than {DEPTH_MAX} levels"));
        }
    }
    Ok(())
}

impl Count {
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::CodeSectionEntry(body) => {
                let bytes = body.as_bytes().len();
                if bytes > BODY_BYTES_MAX {
                    return Err(format!("a function has {bytes} bytes, and {BODY_BYTES_MAX} is the most"));
                }
                at_most(&mut self.code, bytes as u64, CODE_BYTES_MAX, "bytes of code")
            }
            Payload::FunctionSection(section) => {
                at_most(&mut self.functions, section.count().into(), FUNCTIONS_MAX, "functions")
            }
            Payload::ImportSection(section) => {
                at_most(&mut self.imports, section.count().into(), IMPORTS_MAX, "imports")
            }
            Payload::ComponentImportSection(section) => {
                at_most(&mut self.imports, section.count().into(), IMPORTS_MAX, "imports")
            }
            Payload::ModuleSection { .. } => at_most(&mut self.modules, 1, MODULES_MAX, "modules"),
            Payload::ComponentSection { .. } => at_most(&mut self.components, 1, COMPONENTS_MAX, "components"),
            Payload::ComponentInstanceSection(section) => {
                at_most(&mut self.instances, section.count().into(), INSTANCES_MAX, "instances of components")
            }
            other => at_most(&mut self.items, items(other), ITEMS_MAX, "declarations"),
        }
    }
}

fn items(payload: &Payload<'_>) -> u64 {
    let count = match payload {
        Payload::TypeSection(section) => section.count(),
        Payload::TableSection(section) => section.count(),
        Payload::MemorySection(section) => section.count(),
        Payload::TagSection(section) => section.count(),
        Payload::GlobalSection(section) => section.count(),
        Payload::ExportSection(section) => section.count(),
        Payload::ElementSection(section) => section.count(),
        Payload::DataSection(section) => section.count(),
        Payload::InstanceSection(section) => section.count(),
        Payload::CoreTypeSection(section) => section.count(),
        Payload::ComponentAliasSection(section) => section.count(),
        Payload::ComponentTypeSection(section) => section.count(),
        Payload::ComponentCanonicalSection(section) => section.count(),
        Payload::ComponentExportSection(section) => section.count(),
        _ => 1,
    };
    count.into()
}

fn at_most(count: &mut u64, more: u64, most: u64, what: &str) -> Result<(), String> {
    *count += more;
    if *count > most {
        return Err(format!("it has more than {most} {what}"));
    }
    Ok(())
}
