//! The component index: who owns which names, and what is published under them.
//!
//! The registry has no blobs. Coordinators keep those that are uploaded to them, and a release may
//! say where else its own are; whoever gets them compares them with the hashes here.

use std::ops::Bound;

use adit_ledger::Key;
use adit_ledger::index::{ComponentName, Release, Scope, Version};
use adit_ledger::state::{Releases, latest};
use adit_net::Problem;
use adit_net::http::extract::{Json, Path, Query};
use adit_protocol::{Amount, Code};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;

/// Components of one answer.
const PAGE: usize = 100;
/// Releases that are looked at for one answer: a search must not hold up the next block for long.
const LOOKED_AT_MAX: usize = 20_000;
/// Longest text that is searched for, in bytes.
const QUERY_MAX: usize = 64;
/// What stands in place of a version for the one that a name alone means.
const LATEST: &str = "latest";

/// A component.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ComponentView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: ComponentName,
    /// Who owns the name.
    #[schema(value_type = String)]
    pub owner: Key,
    /// The version that the name alone means: the highest that is not yanked, and a pre-release only
    /// if there is nothing else. None if all are yanked.
    pub latest: Option<VersionView>,
    /// How many versions it has, yanked ones included.
    pub versions: usize,
}

/// A version of a component, in short.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VersionView {
    /// The version.
    #[schema(value_type = String)]
    pub version: Version,
    /// Hash of the component.
    #[schema(value_type = String)]
    pub component: adit_protocol::Hash,
    /// The world that it implements.
    #[schema(value_type = String)]
    pub world: &'static str,
    /// What it does.
    pub description: Option<String>,
    /// Whether its owner advises against it.
    pub yanked: bool,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: u64,
}

/// A component with all its versions.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VersionsView {
    /// The component.
    #[serde(flatten)]
    pub component: ComponentView,
    /// Its versions, the highest first.
    pub items: Vec<VersionView>,
}

/// A version of a component, with all that is known of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReleaseView {
    /// The component's name.
    #[schema(value_type = String)]
    pub name: ComponentName,
    /// The version.
    #[schema(value_type = String)]
    pub version: Version,
    /// Who owns the name.
    #[schema(value_type = String)]
    pub owner: Key,
    /// What was published.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub release: Release,
}

/// A page of components.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ComponentsView {
    /// Components, ascending by name. A search may find none on one page and some on the next.
    pub items: Vec<ComponentView>,
    /// What to ask for as `after` next; none at the end.
    #[schema(value_type = Option<String>)]
    pub next: Option<ComponentName>,
}

/// A scope: what the names of an owner have in common.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ScopeView {
    /// The scope.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// Who owns it, and so all names in it; none if whoever publishes first will.
    #[schema(value_type = Option<String>)]
    pub owner: Option<Key>,
    /// The least fee of publishing in it now, in 10^-12 token.
    #[schema(value_type = String)]
    pub fee: Amount,
}

fn version(version: &Version, release: &Release) -> VersionView {
    VersionView {
        version: version.clone(),
        component: release.component,
        world: adit_ledger::index::world_name(release.world),
        description: release.description.clone(),
        yanked: release.yanked,
        published_ms: release.published_ms,
    }
}

fn component(
    state: &adit_ledger::State,
    name: &ComponentName,
    releases: &Releases,
) -> ComponentView {
    ComponentView {
        name: name.clone(),
        // Every name of the index has one.
        owner: state.scope_owner(&name.scope()).unwrap_or(Key::NONE),
        latest: latest(releases).map(|(of, release)| version(of, release)),
        versions: releases.len(),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Search {
    /// Only components with this in their name or in the description of their latest version,
    /// whatever the case of its letters; at most 64 bytes.
    q: Option<String>,
    /// Only components after this name.
    after: Option<String>,
}

/// Components, 100 at most.
#[utoipa::path(get, path = "/v1/components", tag = "components", params(Search), responses((status = 200, body = ComponentsView)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(Search { q, after }): Query<Search>,
) -> Result<Json<ComponentsView>, Problem> {
    let wanted = q.unwrap_or_default().to_lowercase();
    if wanted.len() > QUERY_MAX {
        return Err(Problem::new(
            Code::InvalidRequest,
            format!("at most {QUERY_MAX} bytes are searched for"),
        )
        .hint("search for less"));
    }
    let after = after.map(|text| name(&text)).transpose()?;
    let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
    let page = app.look(move |live| {
        let mut view = ComponentsView {
            items: Vec::new(),
            next: None,
        };
        let mut looked_at = 0usize;
        let mut last: Option<&ComponentName> = None;
        for (name, releases) in live.state.names_from(begin) {
            if view.items.len() >= PAGE || looked_at >= LOOKED_AT_MAX {
                view.next = last.cloned();
                break;
            }
            looked_at = looked_at.saturating_add(releases.len());
            let found = component(&live.state, name, releases);
            if fits(&found, &wanted) {
                view.items.push(found);
            }
            last = Some(name);
        }
        view
    });
    Ok(Json(page.await?))
}

fn fits(component: &ComponentView, wanted: &str) -> bool {
    let latest = component.latest.as_ref();
    let description = latest.and_then(|latest| latest.description.as_ref());
    component.name.as_str().contains(wanted)
        || description.is_some_and(|text| text.to_lowercase().contains(wanted))
}

/// A component with all its versions.
#[utoipa::path(get, path = "/v1/components/{name}", operation_id = "component", tag = "components",
    params(("name" = String, Path, description = "its name; `/` in it is written `%2F`")),
    responses((status = 200, body = VersionsView), (status = 404, description = "nothing is published under that name")))]
pub(super) async fn show(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<VersionsView>, Problem> {
    let name = name(&text)?;
    let wanted = name.clone();
    let found = app.look(move |live| {
        let releases = live.state.releases(&wanted)?;
        let all = releases.iter().rev();
        Some(VersionsView {
            component: component(&live.state, &wanted, releases),
            items: all.map(|(of, release)| version(of, release)).collect(),
        })
    });
    found.await?.map(Json).ok_or_else(|| unknown(&name))
}

/// A version of a component; `latest` is that which the name alone means.
#[utoipa::path(get, path = "/v1/components/{name}/{version}", operation_id = "release", tag = "components",
    params(("name" = String, Path, description = "its name; `/` in it is written `%2F`"),
        ("version" = String, Path, description = "the version, or `latest`")),
    responses((status = 200, body = ReleaseView), (status = 404, description = "there is no such version, or all are yanked")))]
pub(super) async fn release(
    State(app): State<App>,
    Path((text, version)): Path<(String, String)>,
) -> Result<Json<ReleaseView>, Problem> {
    let name = name(&text)?;
    let version: Option<Version> = match version.as_str() {
        LATEST => None,
        text => Some(
            text.parse()
                .map_err(|error| Problem::new(Code::InvalidRequest, error))?,
        ),
    };
    let (wanted, of) = (name.clone(), version.clone());
    let found = app.look(move |live| {
        let releases = live.state.releases(&wanted)?;
        let found = match &of {
            Some(version) => releases.get_key_value(version),
            None => latest(releases),
        };
        Some(found.map(|(version, release)| ReleaseView {
            owner: (live.state.scope_owner(&wanted.scope())).unwrap_or(Key::NONE),
            name: wanted.clone(),
            version: version.clone(),
            release: release.clone(),
        }))
    });
    match (found.await?, version) {
        (Some(Some(found)), _) => Ok(Json(found)),
        (None, _) => Err(unknown(&name)),
        (Some(None), None) => Err(Problem::new(
            Code::NotFound,
            format!("all versions of {name} are yanked"),
        )
        .hint("name one, if you know what is wrong with it")),
        (Some(None), Some(version)) => Err(Problem::new(
            Code::NotFound,
            format!("{name} has no version {version}"),
        )
        .hint(format!("`adit component show {name}` lists them"))),
    }
}

/// Who owns a scope, and what it costs to publish in it.
#[utoipa::path(get, path = "/v1/scopes/{scope}", operation_id = "scope", tag = "components",
    params(("scope" = String, Path, description = "the part of a name before `/`, or all of it")),
    responses((status = 200, body = ScopeView)))]
pub(super) async fn scope(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<ScopeView>, Problem> {
    let scope: Scope = text
        .parse()
        .map_err(|error| Problem::new(Code::InvalidRequest, error))?;
    let view = app.look(move |live| ScopeView {
        owner: live.state.scope_owner(&scope),
        fee: live.state.publishing_fee(&scope),
        scope,
    });
    Ok(Json(view.await?))
}

/// Reads a name in a path or a parameter.
fn name(text: &str) -> Result<ComponentName, Problem> {
    text.parse()
        .map_err(|error| Problem::new(Code::InvalidRequest, error))
}

fn unknown(name: &ComponentName) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("nothing is published as {name}; hint: `adit component list` finds names"),
    )
}
