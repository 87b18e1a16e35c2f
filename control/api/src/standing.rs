//! How trunks, groups and limits stand now: what the engine tells, in the form in which it is shown.

use base::Wall;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// Whether a trunk is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrunkStatus {
    /// Name of the trunk.
    pub trunk: String,
    /// `up`, `down` (by probe), `open` (its breaker), `half-open` (the breaker lets a few calls through) or `disabled`.
    pub state: &'static str,
    /// Since when; absent while nothing has happened.
    #[serde(serialize_with = "text", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub since: Option<Wall>,
    /// Until when, where that is known.
    #[serde(serialize_with = "text", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub until: Option<Wall>,
}

/// How the members of a group stand.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GroupStatus {
    /// Name of the group.
    pub group: String,
    /// How a member is picked.
    pub pick: String,
    /// Members in the order of the file.
    pub members: Vec<MemberStatus>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MemberStatus {
    /// Name of the trunk or group.
    pub name: String,
    /// `trunk` or `group`.
    pub kind: &'static str,
    /// Its share, where the pick looks at it.
    pub weight: u32,
    /// State of the trunk; of a group, `up` while any of its trunks is.
    pub state: &'static str,
    /// Calls on it now, of a group on all its trunks.
    pub calls: u32,
    /// Named resources and how full they are.
    pub resources: Vec<ResourceStatus>,
}

/// One resource of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResourceStatus {
    /// Its name.
    pub resource: String,
    /// In use.
    pub used: u32,
    /// At most.
    pub max: u32,
}

/// How full a limit is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct LimitStatus {
    /// Its name.
    pub limit: String,
    /// Calls that hold a place.
    pub used: u64,
    /// Places; absent where calls are only counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Places of these that only priority and emergency calls may take.
    pub reserved: u32,
    /// A lower ceiling that a fraud policy has set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lowered: Option<u32>,
    /// Calls a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Calls that may come at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Limits that count by caller, callee or source: keys that have calls now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// Calls that it refused since the start.
    pub refused: Refusals,
}

/// Refusals of a limit, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refusals {
    /// No place was left.
    pub full: u64,
    /// They came too fast.
    pub fast: u64,
    /// There was no room to count another key.
    pub crowded: u64,
}

#[expect(clippy::ref_option, reason = "serde hands out references to fields")]
fn text<S: Serializer>(wall: &Option<Wall>, serializer: S) -> Result<S::Ok, S::Error> {
    match wall {
        Some(wall) => serializer.collect_str(wall),
        None => serializer.serialize_none(),
    }
}
