//! What a server declares, asked for page by page within bounds.

use are_core::canonical::to_canonical;
use are_core::digest::Digest;
use are_core::error::Fault;
use rmcp::Peer;
use rmcp::model::{PaginatedRequestParams, Prompt, ServerPeerInfo, Tool};
use rmcp::service::RoleClient;
use serde_json::json;

use super::link::failure;
use super::wire::broken;

/// Tools of one server; a model could not choose among more.
const TOOLS_MAX: usize = 256;
/// Prompts of one server.
const PROMPTS_MAX: usize = 256;
/// Pages of one list; a server that has more of them never ends.
const PAGES_MAX: usize = 32;

/// All that a server declares.
pub(crate) struct Declaration {
    /// Name and version that it gives itself.
    pub(super) says: String,
    /// Revision of the protocol.
    pub(super) revision: String,
    pub(super) tools: Vec<Tool>,
    pub(super) has_resources: bool,
    pub(super) prompts: Vec<Prompt>,
}

impl Declaration {
    /// Asks for all of it.
    pub(super) async fn ask(peer: &Peer<RoleClient>) -> Result<Self, Fault> {
        let info = peer.peer_info().ok_or_else(|| broken("it said nothing about itself"))?;
        let prompts = if info.capabilities.prompts.is_some() { prompts(peer).await? } else { Vec::new() };
        Ok(Self {
            says: says(&info),
            revision: info.protocol_version.as_str().to_owned(),
            tools: tools(peer).await?,
            has_resources: info.capabilities.resources.is_some(),
            prompts,
        })
    }
}

fn says(info: &ServerPeerInfo) -> String {
    info.server_info.as_ref().map(|server| format!("{} {}", server.name, server.version)).unwrap_or_default()
}

/// The tools, all of them or none.
pub(super) async fn tools(peer: &Peer<RoleClient>) -> Result<Vec<Tool>, Fault> {
    let has_tools = peer.peer_info().is_some_and(|info| info.capabilities.tools.is_some());
    let mut tools = Vec::new();
    let mut cursor = None;
    // A server without tools need not know the question.
    let pages = if has_tools { PAGES_MAX } else { 0 };
    for _ in 0..pages {
        let page = peer.list_tools(paged(cursor)).await.map_err(|error| failure(&error))?;
        tools.extend(page.tools);
        cursor = page.next_cursor;
        if tools.len() > TOOLS_MAX || cursor.is_none() {
            break;
        }
    }
    if tools.len() > TOOLS_MAX || cursor.is_some() {
        return Err(broken(&format!("its list of tools does not end within {TOOLS_MAX} tools and {PAGES_MAX} pages")));
    }
    Ok(tools)
}

async fn prompts(peer: &Peer<RoleClient>) -> Result<Vec<Prompt>, Fault> {
    let mut prompts = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let page = peer.list_prompts(paged(cursor)).await.map_err(|error| failure(&error))?;
        prompts.extend(page.prompts);
        cursor = page.next_cursor;
        if prompts.len() >= PROMPTS_MAX || cursor.is_none() {
            break;
        }
    }
    // They are only told: what is left out can be fetched by its name all the same.
    prompts.truncate(PROMPTS_MAX);
    Ok(prompts)
}

fn paged(cursor: Option<String>) -> Option<PaginatedRequestParams> {
    cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)))
}

/// Digest of a tool's declaration: all that somebody could have believed when they consented to it.
pub(super) fn digest(tool: &Tool) -> Digest {
    let whole = json!({
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "annotations": tool.annotations,
    });
    // What has no canonical form has one digest for all such, and is refused when its schema is read.
    Digest::of(&[to_canonical(&whole).unwrap_or_default().as_bytes()])
}
