//! What the runtime implements itself for components: `are:host` and files; the rest of WASI is wasmtime's.

wasmtime::component::bindgen!({
    path: "wit",
    world: "are:host/runtime",
    imports: {
        "wasi:filesystem/types.[drop]descriptor": async | trappable,
        default: async | trappable,
    },
    trappable_error_type: {
        "wasi:filesystem/types.error-code" => super::files::Error,
    },
    with: {
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
        "wasi:filesystem/types.descriptor": super::files::Node,
        "wasi:filesystem/types.directory-entry-stream": super::files::Entries,
    },
});
